import { ErrnoError } from '../errno.ts';
import { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/**
 * Who may access each page of RAM: pKVM's page states, one word a page.
 *
 *      31                             2 1     0
 *      +-------------------------------+-------+
 *      | pins: uses by the hypervisor  | state |
 *      +-------------------------------+-------+
 *
 * Invariant: only a SHARED page has pins, and a pinned page stays SHARED.
 */
const HOST = 0;
/** Owned by the host, borrowed by the hypervisor. */
const SHARED = 1;
/** Donated: out of the host's reach. */
const HYP = 2;
type PageState = typeof HOST | typeof SHARED | typeof HYP;

const STATE_MASK = 3;
const PIN = 4;

const LOCK = 0;
const TABLE = TICKET_LOCK_SIZE;

/**
 * The hypervisor's record of page ownership, and the transitions that a host may ask for. Any
 * pCPU may call; one lock serialises them, as pKVM's host and hyp component locks do.
 */
export class PageOwnership {
  readonly #table: SharedMemory;
  readonly #lock: TicketLock;
  readonly #nrPages: number;

  constructor(memory: SharedArrayBuffer) {
    this.#table = new SharedMemory(memory);
    this.#lock = new TicketLock(this.#table, LOCK);
    this.#nrPages = (memory.byteLength - TABLE) / 4;
  }

  static memorySize(nrPages: number): number {
    return TABLE + 4 * (nrPages + (nrPages % 2)); // Whole doublewords.
  }

  /** __pkvm_host_share_hyp. @throws ErrnoError EPERM when the host does not own it all alone. */
  hostShareHyp(page: number, nrPages: number): void {
    this.#transition(page, nrPages, HOST, SHARED);
  }

  /** __pkvm_host_unshare_hyp. @throws ErrnoError EPERM when not shared; EBUSY when in use. */
  hostUnshareHyp(page: number, nrPages: number): void {
    this.#transition(page, nrPages, SHARED, HOST);
  }

  /** @throws ErrnoError EPERM when the host does not own it all alone. */
  hostDonateHyp(page: number, nrPages: number): void {
    this.#transition(page, nrPages, HOST, HYP);
  }

  hypDonateHost(page: number, nrPages: number): void {
    this.#transition(page, nrPages, HYP, HOST);
  }

  /** Keeps a shared page shared while the hypervisor uses it. @throws ErrnoError EPERM. */
  hypPinShared(page: number): void {
    this.#lock.with(() => {
      this.#expect(page, SHARED);
      this.#set(page, SHARED, this.#pins(page) + 1);
    });
  }

  hypUnpinShared(page: number): void {
    this.#lock.with(() => this.#set(page, SHARED, this.#pins(page) - 1));
  }

  /** How many pages are in each state. */
  count(): { host: number; shared: number; hyp: number; pinned: number } {
    const count = { host: 0, shared: 0, hyp: 0, pinned: 0 };
    this.#lock.with(() => {
      for (let page = 0; page < this.#nrPages; page++) {
        const state = this.#state(page);
        if (state === HOST) count.host++;
        else if (state === SHARED) count.shared++;
        else count.hyp++;
        if (this.#pins(page) > 0) count.pinned++;
      }
    });
    return count;
  }

  /** All pages or none: every check comes before the first change. */
  #transition(first: number, nrPages: number, from: PageState, to: PageState): void {
    if (!Number.isInteger(nrPages) || nrPages < 1 || first + nrPages > this.#nrPages)
      throw new ErrnoError('EINVAL', `no ${nrPages} pages from page ${first} on`);
    this.#lock.lock();
    try {
      for (let page = first; page < first + nrPages; page++) {
        this.#expect(page, from);
        if (this.#pins(page) > 0) throw new ErrnoError('EBUSY', `page ${page} is in use`);
      }
      for (let page = first; page < first + nrPages; page++) this.#set(page, to, 0);
    } finally {
      this.#lock.unlock();
    }
  }

  #expect(page: number, state: PageState): void {
    if (this.#state(page) !== state)
      throw new ErrnoError('EPERM', `page ${page} is in state ${this.#state(page)}, not ${state}`);
  }

  #state(page: number): number {
    return this.#table.load(TABLE + 4 * page) & STATE_MASK;
  }

  #pins(page: number): number {
    return this.#table.load(TABLE + 4 * page) >>> 2;
  }

  #set(page: number, state: PageState, pins: number): void {
    this.#table.store(TABLE + 4 * page, state | (pins * PIN));
  }
}

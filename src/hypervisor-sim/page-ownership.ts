import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import { SharedMemory } from '../ringbuffer/shared-memory.ts';
import {
  HOST_OWNED,
  MAPPED,
  MAX_PINS,
  NOPAGE,
  OWNED,
  type PageState,
  type Party,
  PENDING,
  PIN,
  packGuest,
  packStates,
  pinsOf,
  SHARED_BORROWED,
  SHARED_OWNED,
  type States,
  stateOf,
} from './page-state.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

const LOCK = 0;
const TABLE = TICKET_LOCK_SIZE;
const ENTRY = 8;
const GUEST = 4;

/** Host stage-2 maps a whole block at once where all of it may be mapped: 2 MiB. */
const BLOCK_PAGES = 512;

/** What a host's access to a page of RAM comes to. */
export type HostAccess = 'mapped' | 'mappable' | 'refused';

/**
 * The hypervisor's record of who owns and who borrows each page of RAM, and all transitions that
 * there are: the kernel's nvhe/mem_protect.c. Any pCPU may call; one lock serialises them, as
 * pKVM's component locks do. Each transition changes all of its pages or, throwing, none.
 *
 * Invariant: each page has exactly one owner, OWNED or SHARED_OWNED; SHARED_OWNED by one means
 * SHARED_BORROWED by exactly one other; only what the hypervisor borrows is pinned. A dead
 * guest's page, PENDING, has no owner until the host reclaims it. `ownership-walk.ts` checks.
 */
export class PageOwnership {
  readonly nrPages: number;
  readonly #table: SharedMemory;
  readonly #lock: TicketLock;

  constructor(memory: SharedArrayBuffer) {
    this.#table = new SharedMemory(memory);
    this.#lock = new TicketLock(this.#table, LOCK);
    this.nrPages = (memory.byteLength - TABLE) / ENTRY;
  }

  static allocate(nrPages: number): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(TABLE + ENTRY * nrPages);
    const words = new Uint32Array(buffer);
    for (let page = 0; page < nrPages; page++) words[(TABLE + ENTRY * page) / 4] = HOST_OWNED;
    return buffer;
  }

  /** __pkvm_host_share_hyp. @throws ErrnoError EPERM when the host does not own it all alone. */
  hostShareHyp(page: number, nrPages: number): void {
    this.#transition(page, nrPages, { host: OWNED }, { host: SHARED_OWNED, hyp: SHARED_BORROWED });
  }

  /** __pkvm_host_unshare_hyp. @throws ErrnoError EPERM when not shared; EBUSY when in use. */
  hostUnshareHyp(page: number, nrPages: number): void {
    this.#transition(page, nrPages, { host: SHARED_OWNED, hyp: SHARED_BORROWED }, { host: OWNED });
  }

  /** @throws ErrnoError EPERM when the host does not own it all alone. */
  hostDonateHyp(page: number, nrPages: number): void {
    this.#transition(page, nrPages, { host: OWNED }, { hyp: OWNED });
  }

  hypDonateHost(page: number, nrPages: number): void {
    this.#transition(page, nrPages, { hyp: OWNED }, { host: OWNED }, 0);
  }

  /** For FFA_MEM_SHARE and FFA_MEM_LEND. @throws ErrnoError EPERM as `hostDonateHyp`. */
  hostShareFfa(page: number, nrPages: number): void {
    this.#transition(page, nrPages, { host: OWNED }, { host: SHARED_OWNED, ffa: SHARED_BORROWED });
  }

  hostUnshareFfa(page: number, nrPages: number): void {
    this.#transition(page, nrPages, { host: SHARED_OWNED, ffa: SHARED_BORROWED }, { host: OWNED });
  }

  /** Gives a page to a protected guest. @throws ErrnoError EPERM as `hostDonateHyp`. */
  hostDonateGuest(page: number, slot: number, ipaPage: number): void {
    this.#locked(() => {
      this.#move(page, 1, { host: OWNED }, { guest: OWNED });
      this.#setGuest(page, packGuest(slot, ipaPage));
    });
  }

  /** Lends a page to a guest that is not protected. @throws ErrnoError EPERM as above. */
  hostShareGuest(page: number, slot: number, ipaPage: number): void {
    this.#locked(() => {
      this.#move(page, 1, { host: OWNED }, { host: SHARED_OWNED, guest: SHARED_BORROWED });
      this.#setGuest(page, packGuest(slot, ipaPage));
    });
  }

  /** @throws ErrnoError EPERM when the guest does not borrow it. */
  hostUnshareGuest(page: number): void {
    this.#locked(() => {
      this.#move(page, 1, { host: SHARED_OWNED, guest: SHARED_BORROWED }, { host: OWNED });
      this.#setGuest(page, 0);
    });
  }

  /** @throws ErrnoError EPERM when the guest does not own it all alone. */
  guestShareHost(page: number): void {
    this.#transition(page, 1, { guest: OWNED }, { guest: SHARED_OWNED, host: SHARED_BORROWED });
  }

  /** @throws ErrnoError EPERM when the guest has not shared it. */
  guestUnshareHost(page: number): void {
    this.#transition(page, 1, { guest: SHARED_OWNED, host: SHARED_BORROWED }, { guest: OWNED });
  }

  /**
   * The guest died: what it borrowed is the host's again, what it owned waits to be reclaimed,
   * and then the answer is true.
   */
  releaseGuestPage(page: number): boolean {
    return this.#locked(() => {
      const borrowed = stateOf(this.#word(page), 'guest') === SHARED_BORROWED;
      this.#set(page, borrowed ? HOST_OWNED | MAPPED : packStates({}, PENDING));
      this.#setGuest(page, 0);
      return !borrowed;
    });
  }

  /**
   * __pkvm_host_reclaim_page. `poison` is called before the host sees a dead guest's page.
   * Returns false for a page that is the host's already.
   *
   * @throws ErrnoError EPERM for a page that nobody died of.
   */
  hostReclaim(page: number, poison: () => void): boolean {
    return this.#locked(() => {
      this.#checkRange(page, 1);
      const word = this.#word(page);
      if (stateOf(word, 'host') === OWNED) return false;
      if ((word & PENDING) === 0) throw new ErrnoError('EPERM', `page ${page} is not to reclaim`);
      poison();
      this.#set(page, HOST_OWNED);
      return true;
    });
  }

  /** Keeps a shared page shared while the hypervisor uses it. @throws ErrnoError EPERM. */
  hypPinShared(page: number): void {
    this.#locked(() => {
      this.#checkRange(page, 1);
      this.#expect(page, { host: SHARED_OWNED, hyp: SHARED_BORROWED });
      if (pinsOf(this.#word(page)) === MAX_PINS) throw new ErrnoError('EBUSY', 'too many pins');
      this.#set(page, this.#word(page) + PIN);
    });
  }

  hypUnpinShared(page: number): void {
    this.#locked(() => {
      assert(pinsOf(this.#word(page)) > 0, 'what is unpinned was pinned');
      this.#set(page, this.#word(page) - PIN);
    });
  }

  /** Shares a page with the hypervisor, which uses it at once. @throws ErrnoError EPERM. */
  hostSharePinned(page: number): void {
    this.#locked(() => {
      this.#move(page, 1, { host: OWNED }, { host: SHARED_OWNED, hyp: SHARED_BORROWED });
      this.#set(page, this.#word(page) + PIN);
    });
  }

  /** The opposite, for a page that has no other use. @throws ErrnoError EBUSY when it has. */
  hostUnsharePinned(page: number): void {
    this.#locked(() => {
      if (pinsOf(this.#word(page)) > 1) throw new ErrnoError('EBUSY', `page ${page} is in use`);
      this.#set(page, HOST_OWNED | MAPPED);
    });
  }

  /** What an access of the host to this page does, without a change. */
  hostAccess(page: number): HostAccess {
    const word = this.#word(page);
    if ((word & MAPPED) !== 0) return 'mapped';
    return stateOf(word, 'host') === NOPAGE ? 'refused' : 'mappable';
  }

  /**
   * Maps the page into the host's stage-2: all of its block, if all of that is the host's alone
   * and not mapped yet. Returns the pages that it mapped.
   *
   * @throws ErrnoError EPERM when the page is not the host's; EAGAIN when another CPU was first.
   */
  hostMapOnDemand(page: number): { first: number; nrPages: number } {
    return this.#locked(() => {
      const access = this.hostAccess(page);
      if (access === 'refused') throw new ErrnoError('EPERM', `page ${page} is not the host's`);
      if (access === 'mapped') throw new ErrnoError('EAGAIN', `page ${page} is mapped`);
      const block = page - (page % BLOCK_PAGES);
      const whole =
        block + BLOCK_PAGES <= this.nrPages && this.#all(block, BLOCK_PAGES, HOST_OWNED);
      const [first, nrPages] = whole ? [block, BLOCK_PAGES] : [page, 1];
      for (let at = first; at < first + nrPages; at++) this.#set(at, this.#word(at) | MAPPED);
      return { first, nrPages };
    });
  }

  state(page: number, party: Party): PageState {
    return stateOf(this.#word(page), party);
  }

  /** Calls `visit` with both words of each page, while nothing changes. */
  forEach(visit: (page: number, word: number, guest: number) => void): void {
    this.#locked(() => {
      for (let page = 0; page < this.nrPages; page++)
        visit(page, this.#word(page), this.#guest(page));
    });
  }

  #transition(first: number, nrPages: number, from: States, to: States, flags = MAPPED): void {
    this.#locked(() => this.#move(first, nrPages, from, to, flags));
  }

  /** All pages or none: every check comes before the first change. */
  #move(first: number, nrPages: number, from: States, to: States, flags = MAPPED): void {
    this.#checkRange(first, nrPages);
    for (let page = first; page < first + nrPages; page++) this.#expect(page, from);
    for (let page = first; page < first + nrPages; page++) {
      if (pinsOf(this.#word(page)) > 0) throw new ErrnoError('EBUSY', `page ${page} is in use`);
    }
    const word = packStates(to, to.host === undefined ? 0 : flags);
    for (let page = first; page < first + nrPages; page++) this.#set(page, word);
  }

  #checkRange(first: number, nrPages: number): void {
    const inRam = first >= 0 && first + nrPages <= this.nrPages;
    if (!Number.isInteger(first) || !Number.isInteger(nrPages) || nrPages < 1 || !inRam)
      throw new ErrnoError('EINVAL', `no ${nrPages} pages from page ${first} on`);
  }

  #expect(page: number, states: States): void {
    const word = this.#word(page) & 0xff;
    if (word !== packStates(states))
      throw new ErrnoError('EPERM', `page ${page} is in state 0x${word.toString(16)}`);
  }

  #all(first: number, nrPages: number, word: number): boolean {
    for (let page = first; page < first + nrPages; page++)
      if (this.#word(page) !== word) return false;
    return true;
  }

  #locked<T>(critical: () => T): T {
    return this.#lock.with(critical);
  }

  #word(page: number): number {
    return this.#table.load(TABLE + ENTRY * page) >>> 0;
  }

  #set(page: number, word: number): void {
    this.#table.store(TABLE + ENTRY * page, word | 0);
  }

  #guest(page: number): number {
    return this.#table.load(TABLE + ENTRY * page + GUEST) >>> 0;
  }

  #setGuest(page: number, guest: number): void {
    this.#table.store(TABLE + ENTRY * page + GUEST, guest | 0);
  }
}

import { ErrnoError } from '../errno.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import { getFfaDescriptor } from './ffa-descriptor.ts';
import { ffaError, ffaSuccess, HOST_FFA_ID, type SmcResult } from './firmware.ts';
import type { HypCpu } from './hyp-cpu.ts';
import type { MachineMemory } from './machine-memory.ts';
import { PHYS_BASE, type Ram } from './memory.ts';
import type { PageOwnership } from './page-ownership.ts';
import type { PageRange } from './page-range.ts';
import {
  FFA_RET_DENIED,
  FFA_RET_INVALID_PARAMETERS,
  FFA_RET_NO_MEMORY,
  FFA_RET_NOT_SUPPORTED,
  SMC_FUNCTIONS,
} from './smccc.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/** A lock, and the pages of the host's mailbox, counted from 1; 0 for none. */
const TX = TICKET_LOCK_SIZE;
const RX = TX + 4;
export const FFA_STATE_SIZE = RX + 4;

/** A mailbox is one page each way. */
const MBOX_PAGES = 1;
/** FFA_MEM_SHARE of a descriptor that comes whole, in the mailbox. */
const MAX_DESCRIPTOR = PAGE_SIZE;

/**
 * The hypervisor between the host and the secure world, so that the host can share only what is
 * its own to share: the kernel's nvhe/ffa.c. Calls run one at a time.
 */
export class FfaProxy {
  readonly #ram: Ram;
  readonly #hyp: SharedMemory;
  readonly #ownership: PageOwnership;
  readonly #at: number;
  readonly #lock: TicketLock;

  constructor({ ram, hyp, ownership, layout }: MachineMemory) {
    this.#ram = ram;
    this.#hyp = hyp;
    this.#ownership = ownership;
    this.#at = layout.ffa;
    this.#lock = new TicketLock(hyp, this.#at);
  }

  /** An FF-A call of the host's. Undefined when it goes on to the secure world as it is. */
  call(hyp: HypCpu, id: number, x1: number, x2: number, x3: number): SmcResult | undefined {
    switch (id) {
      case SMC_FUNCTIONS.FFA_RXTX_MAP:
        return this.#serially(hyp, () => this.#mapMailbox(hyp, x1, x2, x3));
      case SMC_FUNCTIONS.FFA_RXTX_UNMAP:
        return this.#serially(hyp, () => this.#unmapMailbox(hyp, x1));
      case SMC_FUNCTIONS.FFA_MEM_SHARE:
      case SMC_FUNCTIONS.FFA_MEM_LEND:
        return this.#serially(hyp, () => this.#shareMemory(hyp, x1, x2));
      case SMC_FUNCTIONS.FFA_MEM_RECLAIM:
        return this.#serially(hyp, () => this.#reclaimMemory(hyp, x1));
      case SMC_FUNCTIONS.FFA_VERSION:
      case SMC_FUNCTIONS.FFA_PARTITION_INFO_GET:
        return hyp.smc(id, x1, x2);
      case SMC_FUNCTIONS.FFA_MEM_DONATE: // What the host gave away for good nobody could police.
      case SMC_FUNCTIONS.FFA_MEM_RETRIEVE_REQ:
        return ffaError(FFA_RET_NOT_SUPPORTED);
      default:
        return undefined;
    }
  }

  #serially(hyp: HypCpu, call: () => SmcResult): SmcResult {
    return this.#lock.with(() => hyp.serially('ffa', call));
  }

  #mapMailbox(hyp: HypCpu, tx: number, rx: number, nrPages: number): SmcResult {
    const aligned = tx % PAGE_SIZE === 0 && rx % PAGE_SIZE === 0;
    if (nrPages !== MBOX_PAGES || !aligned) return ffaError(FFA_RET_INVALID_PARAMETERS);
    if (this.#page(TX) !== undefined) return ffaError(FFA_RET_DENIED);
    const pages = [tx, rx].map((phys) => (phys - PHYS_BASE) / PAGE_SIZE);
    const shared = allOrNone(
      pages,
      (page) => this.#ownership.hostSharePinned(page),
      (page) => this.#ownership.hostUnsharePinned(page),
    );
    if (!shared) return ffaError(FFA_RET_INVALID_PARAMETERS);
    for (const [index, page] of pages.entries())
      this.#hyp.store(this.#at + TX + 4 * index, page + 1);
    return hyp.smc(SMC_FUNCTIONS.FFA_RXTX_MAP);
  }

  #unmapMailbox(hyp: HypCpu, id: number): SmcResult {
    const pages = [this.#page(TX), this.#page(RX)].filter((page) => page !== undefined);
    if (id !== HOST_FFA_ID || pages.length === 0) return ffaError(FFA_RET_INVALID_PARAMETERS);
    const unshared = allOrNone(
      pages,
      (page) => this.#ownership.hostUnsharePinned(page),
      (page) => this.#ownership.hostSharePinned(page),
    );
    if (!unshared) return ffaError(FFA_RET_DENIED);
    this.#hyp.store(this.#at + TX, 0);
    this.#hyp.store(this.#at + RX, 0);
    return hyp.smc(SMC_FUNCTIONS.FFA_RXTX_UNMAP);
  }

  #shareMemory(hyp: HypCpu, length: number, fragment: number): SmcResult {
    const tx = this.#page(TX);
    // Whole descriptors only: nothing here is so large that it comes in fragments.
    if (tx === undefined || length !== fragment || length > MAX_DESCRIPTOR)
      return ffaError(FFA_RET_INVALID_PARAMETERS);
    const descriptor = getFfaDescriptor(this.#ram.view, tx * PAGE_SIZE, length);
    if (descriptor?.sender !== HOST_FFA_ID) return ffaError(FFA_RET_INVALID_PARAMETERS);
    if (!this.#shareAll(descriptor.ranges)) return ffaError(FFA_RET_DENIED);
    const handle = hyp.outside(() => hyp.firmware.secureWorld.share(descriptor.ranges));
    if (handle !== undefined) return ffaSuccess(handle);
    this.#unshareAll(descriptor.ranges);
    return ffaError(FFA_RET_NO_MEMORY);
  }

  #reclaimMemory(hyp: HypCpu, handle: number): SmcResult {
    const ranges = hyp.outside(() => hyp.firmware.secureWorld.retrieve(handle));
    if (!ranges) return ffaError(FFA_RET_INVALID_PARAMETERS);
    const result = hyp.smc(SMC_FUNCTIONS.FFA_MEM_RECLAIM, handle);
    this.#unshareAll(ranges);
    return result;
  }

  #shareAll(ranges: readonly PageRange[]): boolean {
    return allOrNone(
      ranges,
      ({ first, nrPages }) => this.#ownership.hostShareFfa(first, nrPages),
      ({ first, nrPages }) => this.#ownership.hostUnshareFfa(first, nrPages),
    );
  }

  #unshareAll(ranges: readonly PageRange[]): void {
    for (const { first, nrPages } of ranges) this.#ownership.hostUnshareFfa(first, nrPages);
  }

  #page(which: typeof TX | typeof RX): number | undefined {
    const page = this.#hyp.load(this.#at + which);
    return page === 0 ? undefined : page - 1;
  }
}

/** Does `step` to all items; where one fails, undoes those before it and returns false. */
function allOrNone<T>(
  items: readonly T[],
  step: (item: T) => void,
  undo: (item: T) => void,
): boolean {
  let done = 0;
  try {
    for (const item of items) {
      step(item);
      done++;
    }
    return true;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    for (const item of items.slice(0, done)) undo(item);
    return false;
  }
}

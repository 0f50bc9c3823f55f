import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import type { PageRange } from './page-range.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/**
 * The secure world's own memory: what was shared with it, by handle.
 *
 *      0 lock    8 u32 next handle    then MAX_SHARES times
 *        0 u32 handle, or 0   4 u32 nr of ranges   8 (u32 first, u32 nrPages) × MAX_RANGES
 */
const NEXT = TICKET_LOCK_SIZE;
const SHARES = NEXT + 8;
const MAX_SHARES = 32;
export const MAX_RANGES = 8;
const SHARE_SIZE = 8 + 8 * MAX_RANGES;
export const SECURE_WORLD_SIZE = SHARES + MAX_SHARES * SHARE_SIZE;

/** The secure partition manager, as far as a host that shares memory with it can tell. */
export class SecureWorld {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #lock: TicketLock;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
    this.#lock = new TicketLock(memory, at);
  }

  /** Takes note of shared memory; returns its handle, or undefined when there is no room. */
  share(ranges: readonly PageRange[]): number | undefined {
    return this.#lock.with(() => {
      const at = this.#find(0);
      if (at === undefined || ranges.length > MAX_RANGES) return undefined;
      const handle = this.#memory.add(this.#at + NEXT, 1) + 1;
      this.#memory.store(at, handle);
      this.#memory.store(at + 4, ranges.length);
      ranges.forEach(({ first, nrPages }, index) => {
        this.#memory.store(at + 8 + 8 * index, first);
        this.#memory.store(at + 12 + 8 * index, nrPages);
      });
      return handle;
    });
  }

  /** FFA_MEM_RETRIEVE_REQ: what was shared under a handle. */
  retrieve(handle: number): PageRange[] | undefined {
    return this.#lock.with(() => {
      const at = handle === 0 ? undefined : this.#find(handle);
      if (at === undefined) return undefined;
      return Array.from({ length: this.#memory.load(at + 4) }, (_, index) => ({
        first: this.#memory.load(at + 8 + 8 * index),
        nrPages: this.#memory.load(at + 12 + 8 * index),
      }));
    });
  }

  /** FFA_MEM_RECLAIM. False when it has nothing under this handle. */
  reclaim(handle: number): boolean {
    return this.#lock.with(() => {
      const at = handle === 0 ? undefined : this.#find(handle);
      if (at !== undefined) this.#memory.store(at, 0);
      return at !== undefined;
    });
  }

  #find(handle: number): number | undefined {
    for (let share = 0; share < MAX_SHARES; share++) {
      const at = this.#at + SHARES + share * SHARE_SIZE;
      if (this.#memory.load(at) === handle) return at;
    }
    return undefined;
  }
}

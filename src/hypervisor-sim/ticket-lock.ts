import { assert } from '../assert.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';

/**
 * A fair lock between threads, two words of shared memory: the kernel's hyp_spinlock_t.
 *
 *      0 next      the ticket that the next to come draws
 *      4 serving   the ticket whose holder is in; it sleeps on this word until its turn
 *
 * Fair, because a pCPU's own thread takes its lock for each trap, millions of times a second:
 * whoever else wants the pCPU gets it after the current trap.
 */
const NEXT = 0;
const SERVING = 4;
export const TICKET_LOCK_SIZE = 8;

/** About as long as the longest trap; after that the holder has surely been descheduled. */
const SPINS_BEFORE_SLEEP = 200;
/** Nobody holds a lock for this long, unless its thread died of a bug. */
const LIMIT_MS = 10_000;

export class TicketLock {
  readonly #memory: SharedMemory;
  readonly #at: number;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
  }

  lock(): void {
    const ticket = this.#memory.add(this.#at + NEXT, 1);
    for (let spins = 0; ; spins++) {
      const serving = this.#memory.load(this.#at + SERVING);
      if (serving === ticket) return;
      if (spins < SPINS_BEFORE_SLEEP) continue;
      const moved = this.#memory.wait(this.#at + SERVING, serving, LIMIT_MS);
      assert(moved, `a lock is passed on within ${LIMIT_MS} ms`);
    }
  }

  unlock(): void {
    const next = this.#memory.add(this.#at + SERVING, 1) + 1;
    const someoneWaits = this.#memory.load(this.#at + NEXT) !== (next | 0);
    if (someoneWaits) this.#memory.wake(this.#at + SERVING);
  }

  with<T>(critical: () => T): T {
    this.lock();
    try {
      return critical();
    } finally {
      this.unlock();
    }
  }
}

import { assert } from '../assert.ts';
import type { SharedMemory } from './shared-memory.ts';

/** Nobody may write; READY and WRITING only ever alternate while the ring is enabled. */
const UNAVAILABLE = 0;
const READY = 1;
const WRITING = 2;

/** After so many looks at a writer with an open event its thread may have the CPU; at last, it died. */
const SPINS_BEFORE_SLEEP = 1_000;
const SLEEP_MS = 0.05;
const MAX_LOOKS = 200_000;

/** Whether a ring may be written and whether it is, in one word: how its owner keeps its writer out. */
export class RingStatus {
  readonly #memory: SharedMemory;
  readonly #at: number;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
  }

  /** Writer only. False when it may not write. */
  tryOpen(): boolean {
    return this.#memory.compareExchange(this.#at, READY, WRITING);
  }

  /** Writer only, after all that it wrote. */
  close(): void {
    this.#memory.store(this.#at, READY);
  }

  /** Lets the writer in. */
  enable(): void {
    this.#memory.compareExchange(this.#at, UNAVAILABLE, READY);
  }

  /** Keeps the writer out, and waits for an event that it has open. Returns whether it was in. */
  disable(): boolean {
    while (!this.#memory.compareExchange(this.#at, READY, UNAVAILABLE)) {
      if (this.#memory.load(this.#at) === UNAVAILABLE) return false;
      this.waitForWriter();
    }
    return true;
  }

  /** Waits for an event that the writer has open now; it may open the next one at once. */
  waitForWriter(): void {
    for (let looks = 0; this.#memory.load(this.#at) === WRITING; looks++) {
      if (looks > SPINS_BEFORE_SLEEP) this.#memory.wait(this.#at, WRITING, SLEEP_MS);
      assert(looks < MAX_LOOKS, 'an event is written within seconds');
    }
  }
}

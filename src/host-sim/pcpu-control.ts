import { SharedMemory } from '../ringbuffer/shared-memory.ts';

/**
 * How the machine's owner steers the pCPUs' threads:
 *
 *      0 i32 changes, counts what was set here; the threads sleep on it
 *      4 i32 stopped     8 f64 rate, events a second on each pCPU
 */
const CHANGES = 0;
const STOPPED = 4;
const RATE = 8;
const SIZE = 16;

export const allocateControl = (): SharedArrayBuffer => new SharedArrayBuffer(SIZE);

export class PcpuControl {
  readonly #memory: SharedMemory;

  constructor(buffer: SharedArrayBuffer) {
    this.#memory = new SharedMemory(buffer);
  }

  /** Goes up with each change. Read it before what it counts, and no change is slept through. */
  get changes(): number {
    return this.#memory.load(CHANGES);
  }

  get rate(): number {
    return this.#memory.view.getFloat64(RATE, true);
  }

  /** Zero is silence, and infinity as fast as it goes. */
  set rate(eventsPerSecond: number) {
    this.#memory.view.setFloat64(RATE, eventsPerSecond, true);
    this.changed();
  }

  get stopped(): boolean {
    return this.#memory.load(STOPPED) !== 0;
  }

  stop(): void {
    this.#memory.store(STOPPED, 1);
    this.changed();
  }

  /** Sleeps for `ms`, or until there is a change after `seen`. */
  sleep(seen: number, ms: number): void {
    this.#memory.wait(CHANGES, seen, ms);
  }

  /** Wakes the threads for something else that is new. */
  changed(): void {
    this.#memory.add(CHANGES, 1);
    this.#memory.wake(CHANGES);
  }
}

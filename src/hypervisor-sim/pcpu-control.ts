import { SharedMemory } from '../ringbuffer/shared-memory.ts';

/**
 * How the machine's owner steers the pCPUs' threads:
 *
 *      0 i32 stopped     8 f64 rate, events a second on each pCPU
 */
const STOPPED = 0;
const RATE = 8;
const SIZE = 16;

export const allocateControl = (): SharedArrayBuffer => new SharedArrayBuffer(SIZE);

export class PcpuControl {
  readonly #memory: SharedMemory;

  constructor(buffer: SharedArrayBuffer) {
    this.#memory = new SharedMemory(buffer);
  }

  get rate(): number {
    return this.#memory.view.getFloat64(RATE, true);
  }

  /** Zero is silence, and infinity as fast as it goes. */
  set rate(eventsPerSecond: number) {
    this.#memory.view.setFloat64(RATE, eventsPerSecond, true);
    this.#memory.wake(STOPPED);
  }

  get stopped(): boolean {
    return this.#memory.load(STOPPED) !== 0;
  }

  stop(): void {
    this.#memory.store(STOPPED, 1);
    this.#memory.wake(STOPPED);
  }

  /** Sleeps for `ms`, or less when something changes. */
  sleep(ms: number): void {
    this.#memory.wait(STOPPED, 0, ms);
  }
}

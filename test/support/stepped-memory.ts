import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';

/**
 * Shared memory that lets another thread's part run between any two steps of this one's. A step
 * is an access that another thread's part may see: what happens between two of them it cannot.
 */
export class Steps {
  #count = 0;
  #at = Number.POSITIVE_INFINITY;
  #intruder: () => void = () => {};
  #preempted = false;

  /** Runs `body`, and before its `step`-th step, all of `intruder`. */
  preempt<T>(step: number, intruder: () => void, body: () => T): { preempted: boolean; result: T } {
    this.#count = 0;
    this.#at = step;
    this.#intruder = intruder;
    this.#preempted = false;
    try {
      const result = body();
      return { preempted: this.#preempted, result };
    } finally {
      this.#at = Number.POSITIVE_INFINITY;
    }
  }

  /** How many steps `body` takes. */
  count(body: () => void): number {
    this.#count = 0;
    body();
    return this.#count;
  }

  step(): void {
    if (this.#count++ !== this.#at) return;
    this.#at = Number.POSITIVE_INFINITY; // The intruder is not preempted.
    this.#preempted = true;
    this.#intruder();
  }
}

/** The intruder would have to wait for the other side, which stands still while it runs. */
export class WouldWait extends Error {}

export class SteppedMemory extends SharedMemory {
  readonly #steps: Steps;

  constructor(buffer: SharedArrayBuffer, steps: Steps) {
    super(buffer);
    this.#steps = steps;
  }

  override readOnce(at: number): number {
    this.#steps.step();
    return super.readOnce(at);
  }

  override writeOnce(at: number, value: number): void {
    this.#steps.step();
    super.writeOnce(at, value);
  }

  override load(at: number): number {
    this.#steps.step();
    return super.load(at);
  }

  override store(at: number, value: number): void {
    this.#steps.step();
    super.store(at, value);
  }

  override compareExchange(at: number, expected: number, value: number): boolean {
    this.#steps.step();
    return super.compareExchange(at, expected, value);
  }

  override wait(): boolean {
    throw new WouldWait();
  }

  override load64(at: number): bigint {
    this.#steps.step();
    return super.load64(at);
  }

  override store64(at: number, value: bigint): void {
    this.#steps.step();
    super.store64(at, value);
  }
}

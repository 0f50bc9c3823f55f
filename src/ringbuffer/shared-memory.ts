/**
 * Memory that several threads see. Plain accessors (`view`) are for bytes that one side owns for
 * the moment; `load`, `store` and `compareExchange` are sequentially consistent and are the only
 * way in which one side hands the other anything. `readOnce` and `writeOnce` are for a word that
 * nothing else goes with: the kernel's READ_ONCE() and WRITE_ONCE().
 *
 * Every algorithm of this folder goes through them, so that a test can run another thread's part
 * between any two of its steps. Addresses are byte offsets, aligned to what is accessed.
 */
export class SharedMemory {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #words: Int32Array;
  readonly #doublewords: BigUint64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#words = new Int32Array(buffer);
    this.#doublewords = new BigUint64Array(buffer);
  }

  get size(): number {
    return this.buffer.byteLength;
  }

  /**
   * A 32-bit word that no other thread changes now: the caller's own, or one that was settled
   * before the caller got its turn by an atomic access.
   */
  own(at: number): number {
    return this.#words[at >>> 2] as number;
  }

  /**
   * A 32-bit word as it was a moment ago, at a tenth of what a `load` takes: to notice that another
   * thread has changed it, and then to `load` it before anything else is read that goes with it.
   */
  readOnce(at: number): number {
    return this.#words[at >>> 2] as number;
  }

  /**
   * Replaces a 32-bit word that others may `load`, at a tenth of what a `store` takes: they see it
   * by the next `store` at the latest, and what was stored before perhaps after it.
   */
  writeOnce(at: number, value: number): void {
    this.#words[at >>> 2] = value;
  }

  /** A 32-bit word, as a signed number. */
  load(at: number): number {
    return Atomics.load(this.#words, at >>> 2);
  }

  store(at: number, value: number): void {
    Atomics.store(this.#words, at >>> 2, value);
  }

  /** Replaces `expected` by `value`; false, and nothing done, when another value was there. */
  compareExchange(at: number, expected: number, value: number): boolean {
    return Atomics.compareExchange(this.#words, at >>> 2, expected, value) === expected;
  }

  /** Returns the value from before. */
  add(at: number, value: number): number {
    return Atomics.add(this.#words, at >>> 2, value);
  }

  load64(at: number): bigint {
    return Atomics.load(this.#doublewords, at >>> 3);
  }

  store64(at: number, value: bigint): void {
    Atomics.store(this.#doublewords, at >>> 3, value);
  }

  /** Sleeps while the word at `at` is `value`, until a `wake`. False when `timeoutMs` passed. */
  wait(at: number, value: number, timeoutMs: number): boolean {
    return Atomics.wait(this.#words, at >>> 2, value, timeoutMs) !== 'timed-out';
  }

  wake(at: number): void {
    Atomics.notify(this.#words, at >>> 2);
  }

  fill(at: number, size: number, byte = 0): void {
    this.bytes.fill(byte, at, at + size);
  }
}

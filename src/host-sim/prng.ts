/** Reproducible random numbers: mulberry32, one 32-bit word of state. The seed is the trace. */
export class Prng {
  #state: number;

  /** Each `stream` of a seed, such as a CPU's, has numbers of its own. */
  constructor(seed: number, stream = 0) {
    this.#state = (Math.imul(seed | 0, 0x9e37_79b1) + Math.imul(stream, 0x85eb_ca6b)) | 0;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let word = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return Math.floor((((word ^ (word >>> 14)) >>> 0) / 2 ** 32) * limit);
  }
}

import { ErrnoError } from '../errno.ts';

const CHUNK_BITS = 32;
const CHUNK_DIGITS = 8;
const DIGIT_BITS = 4;

/** A set of CPUs as a file shows and takes it: hexadecimal, a comma after every 32 bits. */
export class Cpumask {
  readonly #count: number;
  #bits: bigint;

  /** All of `count` CPUs. */
  constructor(count: number) {
    this.#count = count;
    this.#bits = (1n << BigInt(count)) - 1n;
  }

  has(cpu: number): boolean {
    return ((this.#bits >> BigInt(cpu)) & 1n) === 1n;
  }

  get isFull(): boolean {
    return this.#bits === (1n << BigInt(this.#count)) - 1n;
  }

  /** cpumask_parse_user(). @throws ErrnoError EINVAL, EOVERFLOW with a CPU that there is not. */
  set(text: string): void {
    const chunks = text.split(/[\s,]+/).filter(Boolean);
    if (chunks.length === 0) throw new ErrnoError('EINVAL', 'no CPUs');
    let bits = 0n;
    for (const chunk of chunks) {
      if (!/^[\da-f]+$/i.test(chunk)) throw new ErrnoError('EINVAL', `not hexadecimal: ${chunk}`);
      if (chunk.length > CHUNK_DIGITS) throw new ErrnoError('EOVERFLOW', `too long: ${chunk}`);
      bits = (bits << BigInt(CHUNK_BITS)) | BigInt(`0x${chunk}`);
    }
    const tooMany = chunks.length > Math.ceil(this.#count / CHUNK_BITS);
    if (tooMany || bits >> BigInt(this.#count) !== 0n)
      throw new ErrnoError('EOVERFLOW', `not CPUs: ${text}`);
    this.#bits = bits;
  }

  toString(): string {
    const digits = this.#bits.toString(16).padStart(Math.ceil(this.#count / DIGIT_BITS), '0');
    return digits.replace(/(?<=.)(?=(?:.{8})+$)/g, ',');
  }
}

const ZERO = 0x30;
const SPACE = 0x20;
const MINUS = 0x2d;
const HEX_DIGITS = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
const WORD = 2 ** 32;
const MAX_DIGITS = 20;

/**
 * Text in the making, the kernel's struct trace_seq: what does not fit is not put in, and
 * `overflowed` says so. Digits are written in place, with no string in between.
 */
export class TraceSeq {
  readonly bytes: Uint8Array;
  length = 0;
  overflowed = false;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
  }

  /** Drops everything after `length`, an overflow too. */
  truncate(length: number): void {
    this.length = length;
    this.overflowed = false;
  }

  putByte(byte: number): void {
    if (this.#room(1)) this.bytes[this.length++] = byte;
  }

  put(text: Uint8Array): void {
    if (!this.#room(text.length)) return;
    // A loop: for the few bytes that a word has, set() costs more than it saves.
    for (let i = 0; i < text.length; i++) this.bytes[this.length + i] = text[i] as number;
    this.length += text.length;
  }

  /** A whole number from 0 to 2^53, right-aligned in `width` characters as %*lu does. */
  putUnsigned(value: number, width = 1, pad: typeof ZERO | typeof SPACE = SPACE): void {
    let digits = 1;
    for (let limit = 10; value >= limit; limit *= 10) digits++;
    const size = Math.max(digits, width);
    if (!this.#room(size)) return;
    let rest = value;
    for (let at = this.length + size - 1; at >= this.length; at--) {
      const isDigit = digits-- > 0;
      this.bytes[at] = isDigit ? ZERO + (rest % 10) : pad;
      rest = Math.floor(rest / 10);
    }
    this.length += size;
  }

  /** As `putUnsigned`, filled up with zeros: %0*lu. */
  putZeroPadded(value: number, width: number): void {
    this.putUnsigned(value, width, ZERO);
  }

  putSigned(value: number): void {
    if (value < 0) this.putByte(MINUS);
    this.putUnsigned(Math.abs(value));
  }

  /** A u64 in its two halves: %llu. */
  putUnsigned64(high: number, low: number): void {
    const value = high * WORD + low;
    if (value <= Number.MAX_SAFE_INTEGER) this.putUnsigned(value);
    else this.#putAscii(((BigInt(high) << 32n) | BigInt(low)).toString());
  }

  /** A u64 in its two halves, without leading zeros: %llx. */
  putHex64(high: number, low: number): void {
    let shift = 60;
    while (shift > 0 && nibble(high, low, shift) === 0) shift -= 4;
    if (!this.#room(MAX_DIGITS)) return;
    for (; shift >= 0; shift -= 4)
      this.bytes[this.length++] = HEX_DIGITS[nibble(high, low, shift)] as number;
  }

  #putAscii(text: string): void {
    for (let i = 0; i < text.length; i++) this.putByte(text.charCodeAt(i));
  }

  #room(size: number): boolean {
    if (this.length + size > this.bytes.length) this.overflowed = true;
    return !this.overflowed;
  }
}

function nibble(high: number, low: number, shift: number): number {
  return (shift >= 32 ? high >>> (shift - 32) : low >>> shift) & 0xf;
}

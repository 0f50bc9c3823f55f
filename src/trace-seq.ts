import { assert } from './assert.ts';

const ZERO = 0x30;
const SPACE = 0x20;
const MINUS = 0x2d;
const WORD = 2 ** 32;
/** Up to here a quotient by 10,000, rounded to a double, is right once it is cut off. */
const EXACT_QUOTIENTS = 2 ** 46;
/** Digits are put in by fours. */
export const GROUP = 10_000;
export const GROUP_DIGITS = 4;
const ASCII_BYTES = 8;
const ASCII_MAX = 0x7e;
const HEX_DIGIT_BITS = 4;
const BITS_OF_WORD = 32;

/**
 * ASCII text that is put in again and again, with zeros after its end: eight characters a double, to
 * be copied as they are. No character has the bits that would make it a NaN, of which there are many
 * that a copy may take for one another.
 */
export interface Ascii {
  readonly length: number;
  readonly doubles: Float64Array;
}

export const ascii = (text: string): Ascii => asciiOf(Buffer.from(text, 'latin1'));

function asciiOf(text: Uint8Array): Ascii {
  const bytes = new Uint8Array(Math.ceil(text.length / ASCII_BYTES) * ASCII_BYTES);
  bytes.set(text);
  assert(
    text.every((byte) => byte <= ASCII_MAX),
    'the text is ASCII',
  );
  const view = new DataView(bytes.buffer);
  const doubles = new Float64Array(bytes.length / ASCII_BYTES);
  return {
    length: text.length,
    doubles: doubles.map((_, i) => view.getFloat64(ASCII_BYTES * i, true)),
  };
}

/** The text of 0000 to 9999, a word each. */
const GROUPS = Int32Array.from({ length: GROUP }, (_, value) => {
  let word = 0;
  for (let rest = value, digit = 0; digit < GROUP_DIGITS; digit++, rest = (rest / 10) | 0)
    word = (word << 8) | (ZERO + (rest % 10));
  return word;
});
const HEX_DIGITS = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));

/**
 * Text in the making, the kernel's struct trace_seq: what does not fit is not put in, and
 * `overflowed` says so. All of it is written in place, several characters at a time where
 * that goes, with no string in between.
 */
export class TraceSeq {
  readonly bytes: Uint8Array;
  length = 0;
  overflowed = false;
  readonly #capacity: number;
  readonly #view: DataView;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.bytes = new Uint8Array(capacity + ASCII_BYTES); // The end of a text may reach beyond it.
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Drops everything after `length`, an overflow too. */
  truncate(length: number): void {
    this.length = length;
    this.overflowed = false;
  }

  putByte(byte: number): void {
    if (this.#room(1)) this.bytes[this.length++] = byte;
  }

  put(text: Ascii): void {
    if (this.#room(text.length)) this.length = this.#copy(text, this.length);
  }

  /** The four digits of a number below 10,000. */
  putGroup(value: number): void {
    if (this.#room(GROUP_DIGITS)) this.length = this.#copyGroup(value, this.length);
  }

  /** Text, the four digits of `group`, and text: what most lines are, at once. */
  putAround(before: Ascii, group: number, after: Ascii): void {
    if (!this.#room(before.length + GROUP_DIGITS + after.length)) return;
    const end = this.#copyGroup(group, this.#copy(before, this.length));
    this.length = this.#copy(after, end);
  }

  /** Both where there is room; they return where it ends. */
  #copy({ length, doubles }: Ascii, at: number): number {
    const view = this.#view;
    for (let i = 0; i < doubles.length; i++)
      view.setFloat64(at + ASCII_BYTES * i, doubles[i] as number, true);
    return at + length;
  }

  #copyGroup(value: number, at: number): number {
    this.#view.setInt32(at, GROUPS[value] as number, true);
    return at + GROUP_DIGITS;
  }

  /** What was put in since `start`, to put in again. */
  since(start: number): Ascii {
    return asciiOf(this.bytes.subarray(start, this.length));
  }

  /** Text that is put in once. */
  putString(text: string): void {
    if (!this.#room(text.length)) return;
    for (let i = 0; i < text.length; i++) this.bytes[this.length + i] = text.charCodeAt(i);
    this.length += text.length;
  }

  /** A whole number from 0 to 2^53, right-aligned in `width` characters as %*lu does. */
  putUnsigned(value: number, width = 1, pad: typeof ZERO | typeof SPACE = SPACE): void {
    if (value >= EXACT_QUOTIENTS) {
      this.putString(`${value}`.padStart(width, String.fromCharCode(pad)));
      return;
    }
    let digits = 1;
    for (let limit = 10; value >= limit; limit *= 10) digits++;
    const size = Math.max(digits, width);
    if (!this.#room(size)) return;
    let at = this.length + size;
    this.length = at;
    let rest = value;
    while (rest >= GROUP) {
      const next = Math.floor(rest / GROUP);
      at -= GROUP_DIGITS;
      this.#view.setInt32(at, GROUPS[rest - next * GROUP] as number, true);
      rest = next;
    }
    // Below 10,000: 32-bit division is enough.
    const start = this.length - digits;
    for (let small = rest | 0; at > start; small = (small / 10) | 0)
      this.bytes[--at] = ZERO + (small % 10);
    while (at > this.length - size) this.bytes[--at] = pad;
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
    else this.putString(((BigInt(high) << 32n) | BigInt(low)).toString());
  }

  /** A u64 in its two halves, without leading zeros: %llx. */
  putHex64(high: number, low: number): void {
    if (high === 0) {
      this.#putHex(low, hexDigits(low));
      return;
    }
    this.#putHex(high, hexDigits(high));
    this.#putHex(low, BITS_OF_WORD / HEX_DIGIT_BITS);
  }

  #putHex(word: number, digits: number): void {
    if (!this.#room(digits)) return;
    for (let shift = HEX_DIGIT_BITS * (digits - 1); shift >= 0; shift -= HEX_DIGIT_BITS)
      this.bytes[this.length++] = HEX_DIGITS[(word >>> shift) & 0xf] as number;
  }

  #room(size: number): boolean {
    if (this.length + size > this.#capacity) this.overflowed = true;
    return !this.overflowed;
  }
}

const hexDigits = (word: number): number =>
  Math.ceil((BITS_OF_WORD - Math.clz32(word | 1)) / HEX_DIGIT_BITS);

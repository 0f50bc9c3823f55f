import { ErrnoError } from '../errno.ts';

/** A sign, 64 digits and a newline: what kstrtoul_from_user() copies of a longer write. */
const ULONG_COPIED = 66;
const ULONG_MAX = 2n ** 64n - 1n;
/** And kstrtou8_from_user(). */
const U8_COPIED = 10;
const U8_MAX = 255n;

const NUMBER = /^\+?([0-9]+)\n?$/;

/**
 * kstrtoul_from_user(), base 10: one `+` if need be, digits, one newline if need be.
 *
 * @throws ErrnoError EINVAL for anything else, ERANGE above 2^64 - 1.
 */
export const parseULong = (written: Uint8Array): bigint => parse(written, ULONG_COPIED, ULONG_MAX);

/** kstrtou8_from_user(): the same up to 255. */
export const parseU8 = (written: Uint8Array): number => Number(parse(written, U8_COPIED, U8_MAX));

function parse(written: Uint8Array, copied: number, max: bigint): bigint {
  const text = Buffer.from(written.subarray(0, copied)).toString('latin1');
  const digits = NUMBER.exec(upToNul(text))?.[1];
  if (digits === undefined) throw new ErrnoError('EINVAL', `not a number: ${JSON.stringify(text)}`);
  const value = BigInt(digits);
  if (value > max) throw new ErrnoError('ERANGE', `above ${max}`);
  return value;
}

function upToNul(text: string): string {
  const nul = text.indexOf('\0');
  return nul === -1 ? text : text.slice(0, nul);
}

/**
 * What events/.../enable takes: one or two bytes, of which the first counts.
 *
 * @throws ErrnoError EINVAL
 */
export function parseEnable(written: Uint8Array): boolean {
  const first = String.fromCharCode(written[0] ?? 0);
  if (written.length > 2 || (first !== '0' && first !== '1'))
    throw new ErrnoError('EINVAL', 'neither 0 nor 1');
  return first === '1';
}

/** kstrtoul_from_user() of what is on or off. @throws ErrnoError as that, EINVAL above 1. */
export function parseSwitch(written: Uint8Array): boolean {
  const value = parseULong(written);
  if (value > 1n) throw new ErrnoError('EINVAL', 'neither 0 nor 1');
  return value === 1n;
}

/** What was written as text, less the blanks around it. */
export const textOf = (written: Uint8Array): string =>
  Buffer.from(written).toString('latin1').trim();

export const formatSwitch = (on: boolean): string => (on ? '1\n' : '0\n');

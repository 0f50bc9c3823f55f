import { PAGE_SIZE } from '../units.ts';
import { PHYS_BASE } from './memory.ts';
import type { PageRange } from './page-range.ts';
import { MAX_RANGES } from './secure-world.ts';

/**
 * The memory region of FFA_MEM_SHARE, as FF-A 1.0 lays it out in the sender's TX buffer (table
 * 45 ff., little endian):
 *
 *       0 u16 sender      28 u32 nr of receivers       composite, at its offset:
 *       2 u8  attributes  32 u16 receiver               0 u32 total pages
 *       4 u32 flags       34 u8  permissions            4 u32 nr of ranges
 *       8 u64 handle      36 u32 offset of composite   16 (u64 address, u32 pages, u32 0) each
 *      16 u64 tag
 */
const SENDER = 0;
const RECEIVERS = 28;
const RECEIVER = 32;
const COMPOSITE_OFFSET = 36;
const HEADER_SIZE = 48;
const TOTAL_PAGES = 0;
const NR_RANGES = 4;
const RANGES = 16;
const RANGE_SIZE = 16;

export const ffaDescriptorSize = (nrRanges: number): number =>
  HEADER_SIZE + RANGES + RANGE_SIZE * nrRanges;

/** Writes the descriptor of `ranges` of RAM; returns its length. */
export function putFfaDescriptor(
  to: DataView,
  at: number,
  sender: number,
  receiver: number,
  ranges: readonly PageRange[],
): number {
  const size = ffaDescriptorSize(ranges.length);
  for (let byte = 0; byte < size; byte++) to.setUint8(at + byte, 0);
  to.setUint16(at + SENDER, sender, true);
  to.setUint32(at + RECEIVERS, 1, true);
  to.setUint16(at + RECEIVER, receiver, true);
  to.setUint32(at + COMPOSITE_OFFSET, HEADER_SIZE, true);
  const composite = at + HEADER_SIZE;
  const total = ranges.reduce((sum, { nrPages }) => sum + nrPages, 0);
  to.setUint32(composite + TOTAL_PAGES, total, true);
  to.setUint32(composite + NR_RANGES, ranges.length, true);
  ranges.forEach(({ first, nrPages }, index) => {
    const range = composite + RANGES + RANGE_SIZE * index;
    to.setBigUint64(range, BigInt(PHYS_BASE + first * PAGE_SIZE), true);
    to.setUint32(range + 8, nrPages, true);
  });
  return size;
}

/** Reads what a host wrote into [at, at + length); undefined when it is not well-formed. */
export function getFfaDescriptor(
  from: DataView,
  at: number,
  length: number,
): { sender: number; ranges: PageRange[] } | undefined {
  if (length < HEADER_SIZE + RANGES || from.getUint32(at + RECEIVERS, true) !== 1) return undefined;
  const offset = from.getUint32(at + COMPOSITE_OFFSET, true);
  if (offset + RANGES > length) return undefined;
  const composite = at + offset;
  const nrRanges = from.getUint32(composite + NR_RANGES, true);
  if (nrRanges < 1 || nrRanges > MAX_RANGES) return undefined;
  if (offset + RANGES + RANGE_SIZE * nrRanges > length) return undefined;
  const ranges = Array.from({ length: nrRanges }, (_, index) => {
    const range = composite + RANGES + RANGE_SIZE * index;
    return {
      first: Number(from.getBigUint64(range, true) - BigInt(PHYS_BASE)) / PAGE_SIZE,
      nrPages: from.getUint32(range + 8, true),
    };
  });
  return { sender: from.getUint16(at + SENDER, true), ranges };
}

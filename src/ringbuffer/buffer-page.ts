import { PAGE_SIZE } from '../units.ts';
import type { SharedMemory } from './shared-memory.ts';

/**
 * One page of events, laid out as the kernel's struct buffer_data_page (little endian):
 *
 *      0            8            16                          PAGE_SIZE
 *      +------------+------------+----------------------------------+
 *      | time_stamp | commit     | data: events, 4-byte aligned     |
 *      | u64 ns     | u64 bytes  |                                  |
 *      +------------+------------+----------------------------------+
 *
 * Invariant: the bytes [0, commit) of `data` never change while the page is in the ring.
 */
export const TIME_STAMP = 0;
export const COMMIT = TIME_STAMP + 8;
export const PAGE_DATA = COMMIT + 8;
export const PAGE_DATA_SIZE = PAGE_SIZE - PAGE_DATA;

const WORD = 2 ** 32;

/** How many bytes of data a reader may look at. Pairs with `publishCommit`. */
export function pageCommit(memory: SharedMemory, page: number): number {
  return memory.load(page + COMMIT);
}

/** Writer only: publishes every byte written to the data so far. Pairs with `pageCommit`. */
export function publishCommit(memory: SharedMemory, page: number, bytes: number): void {
  memory.store(page + COMMIT, bytes);
}

/** The absolute time of the page's first event, in ns. */
export function pageTimeStamp(memory: SharedMemory, page: number): number {
  const low = memory.view.getUint32(page + TIME_STAMP, true);
  return memory.view.getUint32(page + TIME_STAMP + 4, true) * WORD + low;
}

/** Writer only, before the commit that makes the page's first event visible. */
export function setPageTimeStamp(memory: SharedMemory, page: number, ns: number): void {
  memory.view.setUint32(page + TIME_STAMP, ns % WORD, true);
  memory.view.setUint32(page + TIME_STAMP + 4, Math.floor(ns / WORD), true);
}

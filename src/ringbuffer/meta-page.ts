import { PAGE_SIZE } from '../units.ts';
import type { SharedMemory } from './shared-memory.ts';

/**
 * The page on which a ring tells its reader where it stands: struct trace_buffer_meta of the
 * kernel's uapi/linux/trace_mmap.h (little endian). The writer's side writes, the host reads.
 *
 *       0 u32 meta_page_size       16 u64 reader.lost_events    40 u64 entries
 *       4 u32 meta_struct_len      24 u32 reader.id             48 u64 overrun
 *       8 u32 subbuf_size          28 u32 reader.read           56 u64 read
 *      12 u32 nr_subbufs           32 u64 flags                 64 u64 pages_lost
 *                                                               72 u64 pages_touched
 *
 * `reader.read` and `read` stay 0: what was read only the reader knows, and it keeps that itself.
 */
const META_PAGE_SIZE = 0;
const META_STRUCT_LEN = 4;
const SUBBUF_SIZE = 8;
const NR_SUBBUFS = 12;
const READER_LOST_EVENTS = 16;
const READER_ID = 24;
const ENTRIES = 40;
const OVERRUN = 48;
const PAGES_LOST = 64;
const PAGES_TOUCHED = 72;
const STRUCT_LEN = 80;

/** `nrPages` counts the reader page too. */
export function initMetaPage(memory: SharedMemory, meta: number, nrPages: number): void {
  memory.fill(meta, STRUCT_LEN);
  memory.view.setUint32(meta + META_PAGE_SIZE, PAGE_SIZE, true);
  memory.view.setUint32(meta + META_STRUCT_LEN, STRUCT_LEN, true);
  memory.view.setUint32(meta + SUBBUF_SIZE, PAGE_SIZE, true);
  memory.view.setUint32(meta + NR_SUBBUFS, nrPages, true);
}

/** Zeroes the counters, as a reset does; the reader page stays the one it is. */
export function resetMetaCounters(memory: SharedMemory, meta: number): void {
  for (const counter of [READER_LOST_EVENTS, ENTRIES, OVERRUN, PAGES_LOST, PAGES_TOUCHED])
    memory.store64(meta + counter, 0n);
}

/**
 * Ring side, at each commit. Keeps off 64-bit stores, which allocate, except once in 2^32. Who counts
 * an event before it sees the commit finds nothing yet, and comes again.
 */
export function incrementEntries(memory: SharedMemory, meta: number): void {
  const low = (memory.own(meta + ENTRIES) + 1) | 0;
  if (low !== 0) memory.writeOnce(meta + ENTRIES, low);
  else memory.store64(meta + ENTRIES, memory.load64(meta + ENTRIES) + 1n);
}

/** Ring side, when a page of `entries` unread events is about to be overwritten. */
export function addOverrun(memory: SharedMemory, meta: number, entries: number): void {
  memory.store64(meta + OVERRUN, memory.load64(meta + OVERRUN) + BigInt(entries));
  memory.store64(meta + PAGES_LOST, memory.load64(meta + PAGES_LOST) + 1n);
}

/** Ring side, when the writer moves on to another page. */
export function addPageTouched(memory: SharedMemory, meta: number): void {
  memory.store64(meta + PAGES_TOUCHED, memory.load64(meta + PAGES_TOUCHED) + 1n);
}

/** Ring side, at each swap: which page is the reader's now, and what was lost since the last. */
export function publishReader(memory: SharedMemory, meta: number, id: number, lost: number): void {
  memory.store64(meta + READER_LOST_EVENTS, BigInt(lost));
  memory.store(meta + READER_ID, id);
}

/** All events committed since the load or reset, the overwritten ones included. */
export const metaEntries = (memory: SharedMemory, meta: number): number =>
  Number(memory.load64(meta + ENTRIES));
export const metaOverrun = (memory: SharedMemory, meta: number): number =>
  Number(memory.load64(meta + OVERRUN));
export const metaPagesLost = (memory: SharedMemory, meta: number): number =>
  Number(memory.load64(meta + PAGES_LOST));
export const metaPagesTouched = (memory: SharedMemory, meta: number): number =>
  Number(memory.load64(meta + PAGES_TOUCHED));
export const metaLostEvents = (memory: SharedMemory, meta: number): number =>
  Number(memory.load64(meta + READER_LOST_EVENTS));
export const metaReaderId = (memory: SharedMemory, meta: number): number =>
  memory.load(meta + READER_ID);
export const metaNrSubbufs = (memory: SharedMemory, meta: number): number =>
  memory.view.getUint32(meta + NR_SUBBUFS, true);

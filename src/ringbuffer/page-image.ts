import { PAGE_SIZE } from '../units.ts';
import { COMMIT, PAGE_DATA, PAGE_DATA_SIZE, TIME_STAMP } from './buffer-page.ts';
import {
  EVENT_HEADER_SIZE,
  headerTimeDelta,
  headerTypeLen,
  RINGBUF_TYPE_DATA_TYPE_LEN_MAX,
  RINGBUF_TYPE_PADDING,
  RINGBUF_TYPE_TIME_EXTEND,
  RINGBUF_TYPE_TIME_STAMP,
  TIME_DELTA_LIMIT,
  TIME_EXTEND_SIZE,
} from './event-header.ts';
import type { SharedMemory } from './shared-memory.ts';

/**
 * A page as user space gets it from trace_pipe_raw: a buffer page of its own, whose commit says
 * in its upper bits whether events were lost before it.
 *
 *      63                 32    31       30    29                  0
 *      +--------------------+--------+--------+---------------------+
 *      | sign of bit 31     | missed | stored | bytes of data       |
 *      +--------------------+--------+--------+---------------------+
 *
 * `stored`: their number is there too, as a u64 right after the data, where it fits.
 */
const RB_MISSED_EVENTS = 0x8000_0000n;
const RB_MISSED_STORED = 0x4000_0000n;
const LENGTH_MASK = 0x3fff_ffffn;
export const STORED_SIZE = 8;

export interface PageImage {
  /** What the first event's time delta counts from, in ns. */
  readonly timeStamp: number;
  /** Whole events. */
  readonly data: Uint8Array;
  /** Events lost before the first one; undefined when some were and nobody says how many. */
  readonly lost: number | undefined;
}

/** Writes an image into the first PAGE_SIZE bytes of `to`. */
export function putPageImage(to: Uint8Array, { timeStamp, data, lost }: PageImage): void {
  const view = new DataView(to.buffer, to.byteOffset, PAGE_SIZE);
  to.set(data, PAGE_DATA);
  to.fill(0, PAGE_DATA + data.length, PAGE_SIZE);
  view.setBigUint64(TIME_STAMP, BigInt(timeStamp), true);
  let commit = BigInt(data.length);
  if (lost !== 0) commit |= RB_MISSED_EVENTS;
  if (lost && data.length + STORED_SIZE <= PAGE_DATA_SIZE) {
    commit |= RB_MISSED_STORED;
    view.setBigUint64(PAGE_DATA + data.length, BigInt(lost), true);
  }
  // The kernel's flags are of type int: the sign goes on in the upper half.
  view.setBigInt64(COMMIT, BigInt.asIntN(32, commit), true);
}

/**
 * Writes the image of a page of which nothing was read and before which nothing was lost, with
 * `commit` bytes of data: that is the page itself, but for what its writer adds meanwhile.
 */
export function putWholePage(
  to: Uint8Array,
  memory: SharedMemory,
  page: number,
  commit: number,
): void {
  const end = PAGE_DATA + commit;
  to.set(memory.bytes.subarray(page, page + end));
  to.fill(0, end, PAGE_SIZE);
  to[COMMIT] = commit & 0xff; // What is above its second byte is zero on both.
  to[COMMIT + 1] = commit >>> 8;
}

/** An event on an image: its time in ns, and where in `data` its payload is. */
export interface PageEvent {
  readonly ts: number;
  readonly at: number;
  /** In bytes, rounded up to whole words. */
  readonly length: number;
}

/** The events of an image, one after the other. */
export function* pageEvents({ timeStamp, data }: PageImage): Generator<PageEvent, void, void> {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  let ts = timeStamp;
  for (let at = 0; at < data.length; ) {
    const header = view.getUint32(at, true);
    const typeLen = headerTypeLen(header);
    const delta = headerTimeDelta(header);
    // Of all but short data, the next word says more.
    const more =
      typeLen >= 1 && typeLen <= RINGBUF_TYPE_DATA_TYPE_LEN_MAX ? 0 : view.getUint32(at + 4, true);
    if (typeLen === RINGBUF_TYPE_TIME_EXTEND) ts += more * TIME_DELTA_LIMIT + delta;
    else if (typeLen === RINGBUF_TYPE_TIME_STAMP) ts = more * TIME_DELTA_LIMIT + delta;
    else ts += delta;
    if (typeLen === RINGBUF_TYPE_PADDING) {
      if (delta === 0) return;
      at += EVENT_HEADER_SIZE + more;
    } else if (typeLen > RINGBUF_TYPE_DATA_TYPE_LEN_MAX) at += TIME_EXTEND_SIZE;
    else {
      const payload = at + EVENT_HEADER_SIZE + (typeLen === 0 ? 4 : 0);
      const length = typeLen === 0 ? more - 4 : 4 * typeLen;
      yield { ts, at: payload, length };
      at = payload + length;
    }
  }
}

/** Reads an image. @throws RangeError when it cannot be one. */
export function getPageImage(from: Uint8Array): PageImage {
  const view = new DataView(from.buffer, from.byteOffset, PAGE_SIZE);
  const commit = view.getBigUint64(COMMIT, true);
  const length = Number(commit & LENGTH_MASK);
  if (length > PAGE_DATA_SIZE) throw new RangeError(`${length} bytes of data on a page`);
  const missed = (commit & RB_MISSED_EVENTS) !== 0n;
  const stored = (commit & RB_MISSED_STORED) !== 0n;
  const lost = stored ? Number(view.getBigUint64(PAGE_DATA + length, true)) : undefined;
  return {
    timeStamp: Number(view.getBigUint64(TIME_STAMP, true)),
    data: from.subarray(PAGE_DATA, PAGE_DATA + length),
    lost: missed ? lost : 0,
  };
}

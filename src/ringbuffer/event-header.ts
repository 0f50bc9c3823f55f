import type { SharedMemory } from './shared-memory.ts';

/**
 * The word that starts each event, the kernel's struct ring_buffer_event (little endian):
 *
 *      31                                   5 4           0
 *      +-------------------------------------+-------------+
 *      | time_delta, ns since the last event | type_len    |
 *      +-------------------------------------+-------------+
 *
 *      type_len  1..28   data of type_len * 4 bytes follows
 *                0       the next word holds the data's length plus its own four bytes
 *                29      padding: the next word holds its length; with a delta of 0, to the end
 *                30      time extend: time_delta and the next word * 2^27 are added to the time
 *                31      absolute time stamp, composed as a time extend
 *
 * A writer here makes data (0..28) and time extends only.
 */
export const RINGBUF_TYPE_DATA_TYPE_LEN_MAX = 28;
export const RINGBUF_TYPE_PADDING = 29;
export const RINGBUF_TYPE_TIME_EXTEND = 30;
export const RINGBUF_TYPE_TIME_STAMP = 31;

/** A header, and the size of a TIME_EXTEND: a header and one more word. */
export const EVENT_HEADER_SIZE = 4;
export const TIME_EXTEND_SIZE = EVENT_HEADER_SIZE + 4;

/** RB_ALIGNMENT, as a shift. */
const WORD_BITS = 2;
const WORD_SIZE = 1 << WORD_BITS;
const LONGEST_PLAIN = RINGBUF_TYPE_DATA_TYPE_LEN_MAX * WORD_SIZE;
const TYPE_LEN_BITS = 5;
const TYPE_LEN_MASK = 2 ** TYPE_LEN_BITS - 1;

/** The first delta, in ns, too large for one header; from here on the writer adds a TIME_EXTEND. */
export const TIME_DELTA_LIMIT = 2 ** 27;

export const headerTypeLen = (word: number): number => word & TYPE_LEN_MASK;
export const headerTimeDelta = (word: number): number => word >>> TYPE_LEN_BITS;

const packHeader = (typeLen: number, timeDelta: number): number =>
  ((timeDelta << TYPE_LEN_BITS) | typeLen) >>> 0;

/** The payload's size on the page: whole words, so that every event starts at a word. */
export const alignedPayload = (length: number): number => (length + WORD_SIZE - 1) & -WORD_SIZE;

/** What an event of `length` bytes of payload takes on the page, without a TIME_EXTEND. */
export function eventSize(length: number): number {
  const payload = alignedPayload(length);
  return EVENT_HEADER_SIZE + (payload > LONGEST_PLAIN ? WORD_SIZE : 0) + payload;
}

/** Memory of either kind. */
type Viewed = Pick<SharedMemory, 'view'>;

/** Writes an event's header; returns where its payload goes. */
export function putEventHeader(
  memory: Viewed,
  at: number,
  length: number,
  timeDelta: number,
): number {
  const payload = alignedPayload(length);
  if (payload > LONGEST_PLAIN) return putLongHeader(memory, at, payload, timeDelta);
  memory.view.setUint32(at, packHeader(payload >>> WORD_BITS, timeDelta), true);
  return at + EVENT_HEADER_SIZE;
}

function putLongHeader(memory: Viewed, at: number, payload: number, timeDelta: number): number {
  memory.view.setUint32(at, packHeader(0, timeDelta), true);
  memory.view.setUint32(at + EVENT_HEADER_SIZE, payload + 4, true);
  return at + EVENT_HEADER_SIZE + 4;
}

/** Writes a TIME_EXTEND of `delta` ns; returns where the event it belongs to goes. */
export function putTimeExtend(memory: Viewed, at: number, delta: number): number {
  const low = delta % TIME_DELTA_LIMIT;
  memory.view.setUint32(at, packHeader(RINGBUF_TYPE_TIME_EXTEND, low), true);
  memory.view.setUint32(at + EVENT_HEADER_SIZE, Math.floor(delta / TIME_DELTA_LIMIT), true);
  return at + TIME_EXTEND_SIZE;
}

/** The ns that the TIME_EXTEND or TIME_STAMP at `at` stands for. */
export function timeExtendDelta(memory: SharedMemory, at: number): number {
  const low = headerTimeDelta(memory.view.getUint32(at, true));
  return memory.view.getUint32(at + EVENT_HEADER_SIZE, true) * TIME_DELTA_LIMIT + low;
}

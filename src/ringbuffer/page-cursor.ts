import { PAGE_DATA, pageCommit, pageTimeStamp } from './buffer-page.ts';
import {
  EVENT_HEADER_SIZE,
  headerTimeDelta,
  headerTypeLen,
  RINGBUF_TYPE_DATA_TYPE_LEN_MAX,
  RINGBUF_TYPE_PADDING,
  RINGBUF_TYPE_TIME_EXTEND,
  RINGBUF_TYPE_TIME_STAMP,
  TIME_EXTEND_SIZE,
  timeExtendDelta,
} from './event-header.ts';
import type { SharedMemory } from './shared-memory.ts';

/** The word with the length of a payload that is too large for the header to say. */
const LENGTH_SIZE = 4;

/** A walk over the records of one page at a time, as far as its writer has committed them. */
export class PageCursor {
  /** Whether an event was found and not taken yet: its time in ns, and where its payload is. */
  peeked = false;
  ts = 0;
  payload = 0;
  /** The payload's size in bytes, rounded up to whole words. */
  length = 0;
  #memory: SharedMemory;
  #page: number;
  #offset = 0;
  #nextOffset = 0;
  #stamp = 0;
  /** Up to where the page was committed when that was last looked at. */
  #committed = 0;

  constructor(memory: SharedMemory, page: number) {
    this.#memory = memory;
    this.#page = page;
  }

  /** Another one at the same place. */
  clone(): PageCursor {
    const clone = new PageCursor(this.#memory, this.#page);
    clone.#offset = this.#offset;
    clone.#stamp = this.#stamp;
    return clone;
  }

  get memory(): SharedMemory {
    return this.#memory;
  }

  get page(): number {
    return this.#page;
  }

  /** Where in the page's data the next record is. */
  get offset(): number {
    return this.#offset;
  }

  /** What that record's time delta counts from, in ns. */
  get stamp(): number {
    return this.#stamp;
  }

  /** Goes to the start of a page. */
  start(memory: SharedMemory, page: number): void {
    this.moveTo(memory, page);
    this.#offset = 0;
  }

  /** Goes to the same place on a copy of the page; what was peeked is to be peeked again. */
  moveTo(memory: SharedMemory, page: number): void {
    this.#memory = memory;
    this.#page = page;
    this.#committed = 0;
    this.peeked = false;
  }

  /** Whether all records that are committed now were taken. */
  get done(): boolean {
    // A commit only grows, so it is looked at again when all up to it was taken, and not before.
    if (this.#offset < this.#committed) return false;
    this.#committed = pageCommit(this.#memory, this.#page);
    return this.#offset >= this.#committed;
  }

  /** Finds the next event and leaves it there. False when the page has none now. */
  peek(): boolean {
    while (!this.peeked && !this.done) {
      if (this.#offset === 0) this.#stamp = pageTimeStamp(this.#memory, this.#page);
      this.#decode();
    }
    return this.peeked;
  }

  /** Takes the peeked event. */
  take(): void {
    this.peeked = false;
    this.#stamp = this.ts;
    this.#offset = this.#nextOffset;
  }

  /**
   * Takes all events up to an offset, none being peeked, and returns how many. Of a page image nobody
   * looks at the events, so this goes from header to header, and leaves what is no plain event to
   * `#decode`. Where a header is depends on the one before it; but mostly it is as far away as the
   * last one was, and to try four at once takes an eighth.
   */
  takeTo(end: number): number {
    const memory = this.#memory;
    const data = this.#page + PAGE_DATA;
    let taken = 0;
    let offset = this.#offset;
    let stamp = this.#stamp;
    while (offset < end) {
      const header = memory.own(data + offset);
      const typeLen = headerTypeLen(header);
      if (typeLen >= 1 && typeLen <= RINGBUF_TYPE_DATA_TYPE_LEN_MAX) {
        const size = EVENT_HEADER_SIZE + 4 * typeLen;
        stamp += headerTimeDelta(header);
        offset += size;
        taken++;
        while (offset + 4 * size <= end) {
          const at = data + offset;
          const a = memory.own(at);
          const b = memory.own(at + size);
          const c = memory.own(at + 2 * size);
          const d = memory.own(at + 3 * size);
          const differences = (a ^ header) | (b ^ header) | (c ^ header) | (d ^ header);
          if (headerTypeLen(differences) !== 0) break;
          stamp += headerTimeDelta(a) + headerTimeDelta(b);
          stamp += headerTimeDelta(c) + headerTimeDelta(d);
          offset += 4 * size;
          taken += 4;
        }
        continue;
      }
      this.#offset = offset;
      this.#stamp = stamp;
      this.#decode();
      if (this.peeked) {
        this.take();
        taken++;
      }
      offset = this.#offset;
      stamp = this.#stamp;
    }
    this.#offset = offset;
    this.#stamp = stamp;
    return taken;
  }

  /** Steps over one record; a data record becomes the peeked event. */
  #decode(): void {
    const at = this.#page + PAGE_DATA + this.#offset;
    const header = this.#memory.own(at);
    const typeLen = headerTypeLen(header);
    if (typeLen >= 1 && typeLen <= RINGBUF_TYPE_DATA_TYPE_LEN_MAX) {
      this.#found(at + EVENT_HEADER_SIZE, 4 * typeLen, headerTimeDelta(header));
    } else if (typeLen === RINGBUF_TYPE_TIME_EXTEND) {
      this.#stamp += timeExtendDelta(this.#memory, at);
      this.#offset += TIME_EXTEND_SIZE;
    } else if (typeLen === RINGBUF_TYPE_TIME_STAMP) {
      this.#stamp = timeExtendDelta(this.#memory, at);
      this.#offset += TIME_EXTEND_SIZE;
    } else if (typeLen === RINGBUF_TYPE_PADDING) {
      this.#skipPadding(at, headerTimeDelta(header));
    } else {
      const payload = at + EVENT_HEADER_SIZE + LENGTH_SIZE;
      const length = (this.#memory.own(payload - LENGTH_SIZE) >>> 0) - LENGTH_SIZE;
      this.#found(payload, length, headerTimeDelta(header));
    }
  }

  #found(payload: number, length: number, delta: number): void {
    this.payload = payload;
    this.length = length;
    this.ts = this.#stamp + delta;
    this.#nextOffset = payload + length - this.#page - PAGE_DATA;
    this.peeked = true;
  }

  #skipPadding(at: number, delta: number): void {
    this.#stamp += delta;
    if (delta === 0) this.#offset = pageCommit(this.#memory, this.#page);
    else
      this.#offset += EVENT_HEADER_SIZE + this.#memory.view.getUint32(at + EVENT_HEADER_SIZE, true);
  }
}

import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import { PAGE_SIZE } from '../units.ts';
import { PAGE_DATA, PAGE_DATA_SIZE, pageCommit, pageTimeStamp } from './buffer-page.ts';
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
import { metaEntries, metaLostEvents, metaOverrun, metaReaderId } from './meta-page.ts';
import { putPageImage } from './page-image.ts';
import type { RemoteCallbacks, RemotePages, RingStats } from './remote.ts';
import type { SharedMemory } from './shared-memory.ts';

/**
 * The host's side of one CPU's ring: it takes events from the reader page, and asks for the next
 * page by hypercall. The kernel's ring_buffer_per_cpu of a remote buffer.
 *
 * The ring's counters are read from the meta page on `poll` and before each swap only, so a
 * reader sees what was there then, plus whatever is on the page that it holds.
 */
export class RemoteReader {
  readonly cpu: number;
  readonly #memory: SharedMemory;
  readonly #pages: readonly number[];
  readonly #meta: number;
  readonly #callbacks: RemoteCallbacks;

  #entries = 0;
  #overrun = 0;
  #read = 0;
  #readerPage: number;
  #readOffset = 0;
  /** Up to where the reader page was committed when that was last looked at. */
  #committed = 0;
  #readStamp = 0;
  #lost = 0;

  #peeked = false;
  #ts = 0;
  #payload = 0;
  #length = 0;
  #nextOffset = 0;

  constructor(memory: SharedMemory, remote: RemotePages, callbacks: RemoteCallbacks) {
    this.cpu = remote.cpu;
    this.#memory = memory;
    this.#meta = remote.meta;
    this.#pages = remote.pages;
    this.#callbacks = callbacks;
    this.#readerPage = this.#pageOfReader();
  }

  /** Copies the ring's counters. Returns whether there is something to read. */
  poll(): boolean {
    // Overrun first: a writer that runs in between can make the count too large, which the next
    // poll mends, but never too small, which would hide an event.
    this.#overrun = metaOverrun(this.#memory, this.#meta);
    this.#entries = metaEntries(this.#memory, this.#meta);
    return !this.empty;
  }

  /** How many events were ever written, by the counters of the last poll. */
  get written(): number {
    return this.#entries;
  }

  /** By the counters of the last poll. */
  get unread(): number {
    return this.#entries - (this.#overrun + this.#read);
  }

  get empty(): boolean {
    return this.unread <= 0;
  }

  /** The peeked event's time, in ns. */
  get ts(): number {
    assert(this.#peeked, 'an event was peeked');
    return this.#ts;
  }

  /** How many events this CPU lost before the peeked one and nobody was told of yet. */
  get lostEvents(): number {
    return this.#lost;
  }

  /** Where the peeked event's payload is, in the ring's memory. */
  get payload(): number {
    return this.#payload;
  }

  /** The payload's size in bytes, rounded up to whole words. */
  get length(): number {
    return this.#length;
  }

  /** Finds the next event and leaves it there. False when there is none now. */
  peek(task: HostTask): boolean {
    while (!this.#peeked && this.#findData(task)) this.#decode();
    return this.#peeked;
  }

  /** Takes the peeked event. */
  consume(): void {
    assert(this.#peeked, 'an event was peeked');
    this.#peeked = false;
    this.#readStamp = this.#ts;
    this.#readOffset = this.#nextOffset;
    this.#read++;
    this.#lost = 0;
  }

  /**
   * Takes the unread rest of one page, as a page image for user space: into the first PAGE_SIZE
   * bytes of `image`, with the time that the first event's delta counts from, and how many events
   * were lost before it. False when there is nothing now.
   */
  readPage(image: Uint8Array, task: HostTask): boolean {
    if (!this.peek(task)) return false;
    const start = this.#readOffset;
    const commit = pageCommit(this.#memory, this.#readerPage);
    const data = this.#readerPage + PAGE_DATA;
    putPageImage(image, {
      timeStamp: this.#readStamp,
      data: this.#memory.bytes.subarray(data + start, data + commit),
      lost: this.#lost,
    });
    this.consume();
    this.#skip(commit);
    return true;
  }

  /**
   * Takes all events up to an offset on the reader page. Of a page image nobody looks at the
   * events, so this goes from header to header, and leaves what is no plain event to `#decode`.
   */
  #skip(end: number): void {
    const data = this.#readerPage + PAGE_DATA;
    while (this.#readOffset < end) {
      let offset = this.#readOffset;
      let stamp = this.#readStamp;
      let read = this.#read;
      let header = this.#memory.own(data + offset);
      while (isPlain(headerTypeLen(header))) {
        stamp += headerTimeDelta(header);
        offset += EVENT_HEADER_SIZE + 4 * headerTypeLen(header);
        read++;
        if (offset >= end) break;
        header = this.#memory.own(data + offset);
      }
      this.#readOffset = offset;
      this.#readStamp = stamp;
      this.#read = read;
      if (offset >= end) return;
      this.#decode();
      if (this.#peeked) this.consume();
    }
  }

  /**
   * Images of all pages with unread events, in their order, without taking any. A page that the
   * writer overwrites meanwhile is left out.
   */
  copyUnreadPages(task: HostTask): Uint8Array[] {
    this.poll();
    this.peek(task); // The oldest page becomes the reader's, where it is safe.
    const stamp = (page: number): number => pageTimeStamp(this.#memory, page);
    return this.#unreadPages()
      .sort((a, b) => stamp(a) - stamp(b))
      .flatMap((page) => {
        const image = new Uint8Array(PAGE_SIZE);
        const isReaders = page === this.#readerPage;
        const [start, timeStamp] = isReaders
          ? [this.#readOffset, this.#readStamp]
          : [0, stamp(page)];
        const data = this.#memory.bytes.subarray(
          page + PAGE_DATA + start,
          page + PAGE_DATA + pageCommit(this.#memory, page),
        );
        putPageImage(image, { timeStamp, data, lost: 0 });
        return isReaders || stamp(page) === timeStamp ? [image] : [];
      });
  }

  /** Drops all events, here and in the ring. */
  reset(task: HostTask): void {
    this.#callbacks.reset(this.cpu, task);
    this.#peeked = false;
    this.#read = 0;
    this.#readOffset = 0;
    this.#committed = 0;
    this.#readStamp = 0;
    this.#lost = 0;
    this.poll();
  }

  stats(): RingStats {
    this.poll();
    const unread = this.#unreadPages();
    const bytes = unread.reduce((sum, page) => sum + pageCommit(this.#memory, page), 0);
    const stamps = unread.map((page) => pageTimeStamp(this.#memory, page));
    return {
      entries: Math.max(this.unread, 0),
      overrun: this.#overrun,
      bytes: this.#readerPageIsDone ? bytes : bytes - this.#readOffset,
      oldestEventTs: stamps.length === 0 ? 0 : Math.min(...stamps),
      readEvents: this.#read,
    };
  }

  /**
   * The pages with events still to read. A page that was read goes back into the ring as it is;
   * it tells itself apart by a time stamp that is not after the reader page's.
   */
  #unreadPages(): number[] {
    if (this.empty) return [];
    const reader = this.#readerPage;
    const readerStamp = pageTimeStamp(this.#memory, reader);
    const ring = this.#pages.filter(
      (page) =>
        page !== reader &&
        pageCommit(this.#memory, page) > 0 &&
        (this.#read === 0 || pageTimeStamp(this.#memory, page) > readerStamp),
    );
    return this.#readerPageIsDone ? ring : [reader, ...ring];
  }

  get #readerPageIsDone(): boolean {
    // A commit only grows, so the page is looked at again when all of it was read, and not before.
    if (this.#readOffset < this.#committed) return false;
    this.#committed = pageCommit(this.#memory, this.#readerPage);
    return this.#readOffset >= this.#committed;
  }

  /** Makes the reader page one with something left to decode. False when there is nothing. */
  #findData(task: HostTask): boolean {
    if (!this.#readerPageIsDone) return this.#startPage();
    if (!this.poll()) return false;
    // The events that were counted just now may be on this page still; only if not, swap.
    if (!this.#readerPageIsDone) return this.#startPage();

    try {
      this.#callbacks.swapReaderPage(this.cpu, task);
    } catch (error) {
      // In a storm the writer can win the race for the head again and again: no data now.
      if (error instanceof ErrnoError && error.code === 'EBUSY') return false;
      throw error;
    }
    this.#readerPage = this.#pageOfReader();
    if (pageCommit(this.#memory, this.#readerPage) > PAGE_DATA_SIZE)
      throw new ErrnoError('EIO', `cpu ${this.cpu}'s ring is no ring any more`);
    this.#readOffset = 0;
    this.#committed = 0;
    this.#lost += metaLostEvents(this.#memory, this.#meta);
    return !this.#readerPageIsDone && this.#startPage();
  }

  #startPage(): true {
    if (this.#readOffset === 0) this.#readStamp = pageTimeStamp(this.#memory, this.#readerPage);
    return true;
  }

  /** Steps over one record; a data record becomes the peeked event. */
  #decode(): void {
    const at = this.#readerPage + PAGE_DATA + this.#readOffset;
    const header = this.#memory.view.getUint32(at, true);
    const typeLen = headerTypeLen(header);
    if (typeLen === RINGBUF_TYPE_TIME_EXTEND) {
      this.#readStamp += timeExtendDelta(this.#memory, at);
      this.#readOffset += TIME_EXTEND_SIZE;
    } else if (typeLen === RINGBUF_TYPE_TIME_STAMP) {
      this.#readStamp = timeExtendDelta(this.#memory, at);
      this.#readOffset += TIME_EXTEND_SIZE;
    } else if (typeLen === RINGBUF_TYPE_PADDING) {
      this.#skipPadding(at, headerTimeDelta(header));
    } else {
      this.#payload = at + EVENT_HEADER_SIZE;
      this.#length = 4 * typeLen;
      if (typeLen === 0) {
        this.#length = this.#memory.view.getUint32(this.#payload, true) - 4;
        this.#payload += 4;
      }
      this.#ts = this.#readStamp + headerTimeDelta(header);
      this.#nextOffset = this.#payload + this.#length - this.#readerPage - PAGE_DATA;
      this.#peeked = true;
    }
  }

  #skipPadding(at: number, delta: number): void {
    this.#readStamp += delta;
    if (delta === 0) this.#readOffset = pageCommit(this.#memory, this.#readerPage);
    else
      this.#readOffset +=
        EVENT_HEADER_SIZE + this.#memory.view.getUint32(at + EVENT_HEADER_SIZE, true);
  }

  #pageOfReader(): number {
    const id = metaReaderId(this.#memory, this.#meta);
    const page = this.#pages[id];
    if (page === undefined) throw new ErrnoError('EIO', `cpu ${this.cpu} has no page ${id}`);
    return page;
  }
}

/** An event whose length is in its header. */
const isPlain = (typeLen: number): boolean =>
  typeLen >= 1 && typeLen <= RINGBUF_TYPE_DATA_TYPE_LEN_MAX;

/** The id of the event whose payload is at `at`: every entry starts with it. */
export const entryIdAt = (memory: SharedMemory, at: number): number =>
  memory.view.getUint16(at, true);

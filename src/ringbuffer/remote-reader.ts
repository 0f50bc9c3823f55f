import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import { PAGE_SIZE } from '../units.ts';
import { PAGE_DATA, PAGE_DATA_SIZE, pageCommit, pageTimeStamp } from './buffer-page.ts';
import { metaEntries, metaLostEvents, metaOverrun, metaReaderId } from './meta-page.ts';
import { PageCursor } from './page-cursor.ts';
import { putPageImage, putWholePage } from './page-image.ts';
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
  readonly #cursor: PageCursor;
  #lost = 0;

  constructor(memory: SharedMemory, remote: RemotePages, callbacks: RemoteCallbacks) {
    this.cpu = remote.cpu;
    this.#memory = memory;
    this.#meta = remote.meta;
    this.#pages = remote.pages;
    this.#callbacks = callbacks;
    this.#cursor = new PageCursor(memory, this.#pageOfReader());
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
    return this.#cursor.ts;
  }

  /** How many events this CPU lost before the peeked one and nobody was told of yet. */
  get lostEvents(): number {
    return this.#lost;
  }

  /** Where the peeked event's payload is, in the ring's memory. */
  get payload(): number {
    return this.#cursor.payload;
  }

  /** The payload's size in bytes, rounded up to whole words. */
  get length(): number {
    return this.#cursor.length;
  }

  /** Finds the next event and leaves it there. False when there is none now. */
  peek(task: HostTask): boolean {
    while (!this.#cursor.peek()) if (!this.#findData(task)) return false;
    return true;
  }

  /** Takes the peeked event. */
  consume(): void {
    assert(this.#cursor.peeked, 'an event was peeked');
    this.#cursor.take();
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
    const { page, offset, stamp } = this.#cursor;
    const commit = pageCommit(this.#memory, page);
    if (offset === 0 && this.#lost === 0) putWholePage(image, this.#memory, page, commit);
    else {
      const data = this.#memory.bytes.subarray(
        page + PAGE_DATA + offset,
        page + PAGE_DATA + commit,
      );
      putPageImage(image, { timeStamp: stamp, data, lost: this.#lost });
    }
    this.consume();
    this.#read += this.#cursor.takeTo(commit);
    return true;
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
        const isReaders = page === this.#cursor.page;
        const [start, timeStamp] = isReaders
          ? [this.#cursor.offset, this.#cursor.stamp]
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
    this.#cursor.start(this.#cursor.page);
    this.#read = 0;
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
      bytes: this.#cursor.done ? bytes : bytes - this.#cursor.offset,
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
    const reader = this.#cursor.page;
    const readerStamp = pageTimeStamp(this.#memory, reader);
    const ring = this.#pages.filter(
      (page) =>
        page !== reader &&
        pageCommit(this.#memory, page) > 0 &&
        (this.#read === 0 || pageTimeStamp(this.#memory, page) > readerStamp),
    );
    return this.#cursor.done ? ring : [reader, ...ring];
  }

  /** Makes the reader page one with something left to decode. False when there is nothing. */
  #findData(task: HostTask): boolean {
    if (!this.poll()) return false;
    // The events that were counted just now may be on this page still; only if not, swap.
    if (!this.#cursor.done) return true;

    try {
      this.#callbacks.swapReaderPage(this.cpu, task);
    } catch (error) {
      // In a storm the writer can win the race for the head again and again: no data now.
      if (error instanceof ErrnoError && error.code === 'EBUSY') return false;
      throw error;
    }
    const page = this.#pageOfReader();
    if (pageCommit(this.#memory, page) > PAGE_DATA_SIZE)
      throw new ErrnoError('EIO', `cpu ${this.cpu}'s ring is no ring any more`);
    this.#cursor.start(page);
    this.#lost += metaLostEvents(this.#memory, this.#meta);
    return !this.#cursor.done;
  }

  #pageOfReader(): number {
    const id = metaReaderId(this.#memory, this.#meta);
    const page = this.#pages[id];
    if (page === undefined) throw new ErrnoError('EIO', `cpu ${this.cpu} has no page ${id}`);
    return page;
  }
}

/** The id of the event whose payload is at `at`: every entry starts with it. */
export const entryIdAt = (memory: SharedMemory, at: number): number =>
  memory.view.getUint16(at, true);

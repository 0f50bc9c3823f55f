import { assert } from '../assert.ts';
import { ErrnoError, succeeds } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import { PAGE_DATA, PAGE_DATA_SIZE, pageCommit, pageTimeStamp } from './buffer-page.ts';
import { commitOf, type HeldPage, HeldPages, stampOf } from './held-pages.ts';
import { metaEntries, metaLostEvents, metaOverrun, metaReaderId } from './meta-page.ts';
import { PageCursor } from './page-cursor.ts';
import { putPageImage, putWholePage } from './page-image.ts';
import type { RemoteCallbacks, RemotePages, RingStats } from './remote.ts';
import type { UnreadPage } from './ring-iterator.ts';
import type { SharedMemory } from './shared-memory.ts';

/** Where reading stands. */
interface Place {
  readonly cursor: PageCursor;
  readonly at: number;
  readonly read: number;
  readonly lost: number;
}

/** Where a look ahead came to; `from` how many events had been read when it began. */
export interface LookedAhead {
  readonly place: Place;
  readonly era: number;
  readonly from: number;
}

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
  #lost = 0;
  #cursor: PageCursor;
  readonly #held: HeldPages;
  #hasSwapped = false;
  /** While looking ahead: where that began. */
  #origin: Place | undefined;

  constructor(memory: SharedMemory, remote: RemotePages, callbacks: RemoteCallbacks) {
    this.cpu = remote.cpu;
    this.#memory = memory;
    this.#meta = remote.meta;
    this.#pages = remote.pages;
    this.#callbacks = callbacks;
    const page = this.#pageOfReader();
    this.#held = new HeldPages({ memory, page, lost: 0 });
    this.#cursor = new PageCursor(memory, page);
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

  /** How many were read or skipped. */
  get eventsTaken(): number {
    return this.#read;
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

  /** Which memory the peeked event is in. */
  get memory(): SharedMemory {
    return this.#cursor.memory;
  }

  /** Where in it the payload is. */
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
    this.passOver();
    this.#lost = 0;
  }

  /** Takes the peeked event, but shows it to nobody: what was lost before it is still to be told. */
  passOver(): void {
    assert(this.#cursor.peeked, 'an event was peeked');
    this.#cursor.take();
    this.#read++;
  }

  /**
   * Takes the unread rest of one page, as a page image for user space: into the first PAGE_SIZE
   * bytes of `image`, with the time that the first event's delta counts from, and how many events
   * were lost before it. False when there is nothing now.
   */
  readPage(image: Uint8Array, task: HostTask): boolean {
    if (!this.peek(task)) return false;
    const { memory, page, offset, stamp } = this.#cursor;
    const commit = pageCommit(memory, page);
    if (offset === 0 && this.#lost === 0) putWholePage(image, memory, page, commit);
    else {
      const data = memory.bytes.subarray(page + PAGE_DATA + offset, page + PAGE_DATA + commit);
      putPageImage(image, { timeStamp: stamp, data, lost: this.#lost });
    }
    this.consume();
    this.#read += this.#cursor.takeTo(commit);
    return true;
  }

  /**
   * From here on reading takes nothing, until `endLookAhead`. Pages that it leaves are kept as
   * copies; when there is room for no more, there seem to be no more events.
   */
  startLookAhead(): void {
    assert(this.#origin === undefined, 'one look ahead at a time');
    this.#origin = this.#place();
    this.#held.era++;
  }

  /** Goes back to where the look ahead began. Returns where it came to. */
  endLookAhead(): LookedAhead {
    const origin = this.#origin;
    assert(origin !== undefined, 'a look ahead has begun');
    const ahead = { place: this.#place(), era: this.#held.era, from: origin.read };
    this.#origin = undefined;
    this.#goTo(origin);
    return ahead;
  }

  /** Whether nobody has read since that look ahead, so that what it saw is what comes next. */
  canSkipTo({ era, from }: LookedAhead): boolean {
    return era === this.#held.era && from === this.#read;
  }

  /** Takes all events that a look ahead has seen. */
  skipTo({ place }: LookedAhead): void {
    this.#goTo(place);
    this.#held.dropRead();
  }

  /** The pages with unread events, oldest first, for a RingIterator; takes none. */
  unreadPages(task: HostTask): UnreadPage[] {
    this.poll();
    this.peek(task); // The oldest page becomes the reader's, where it is safe.
    const first = this.#held.current;
    const { offset, stamp } = this.#cursor;
    const pages = this.#unreadPages().map((held) => {
      const timeStamp = stampOf(held);
      const [start, startStamp] = held === first ? [offset, stamp] : [0, timeStamp];
      return { ...held, timeStamp, start, startStamp, end: commitOf(held) };
    });
    return pages.sort((a, b) => a.timeStamp - b.timeStamp);
  }

  /** Drops all events, here and in the ring. */
  reset(task: HostTask): void {
    succeeds(() => this.#callbacks.reset(this.cpu, task));
    this.#held.dropCopies();
    this.#cursor.start(this.#memory, this.#pageOfReader());
    this.#read = 0;
    this.#lost = 0;
    this.#hasSwapped = false;
    this.poll();
  }

  stats(): RingStats {
    this.poll();
    const unread = this.#unreadPages();
    const bytes = unread.reduce((sum, held) => sum + commitOf(held), 0);
    return {
      entries: Math.max(this.unread, 0),
      overrun: this.#overrun,
      bytes: this.#cursor.done ? bytes : bytes - this.#cursor.offset,
      oldestEventTs: unread.length === 0 ? 0 : Math.min(...unread.map(stampOf)),
      readEvents: this.#read,
    };
  }

  /**
   * The pages with events still to read. A page that was read goes back into the ring as it is;
   * it tells itself apart by a time stamp that is not after the reader page's.
   */
  #unreadPages(): HeldPage[] {
    if (this.empty) return [];
    const memory = this.#memory;
    const reader = this.#held.readerPage;
    const readerStamp = stampOf(reader);
    const ring = this.#pages.filter(
      (page) =>
        page !== reader.page &&
        pageCommit(memory, page) > 0 &&
        (!this.#hasSwapped || pageTimeStamp(memory, page) > readerStamp),
    );
    return [
      ...this.#held.all.slice(this.#cursor.done ? 1 : 0),
      ...ring.map((page) => ({ memory, page, lost: 0 })),
    ];
  }

  /** Makes the cursor's page one with something left to decode. False when there is nothing. */
  #findData(task: HostTask): boolean {
    if (!this.poll()) return false;
    // The events that were counted just now may be on this page still; only if not, go on.
    if (!this.#cursor.done) return true;
    if (this.#held.atReaderPage && !this.#swap(task)) return false;
    this.#held.at++;
    if (!this.#origin) this.#held.dropRead();
    const { memory, page, lost } = this.#held.current;
    this.#cursor.start(memory, page);
    this.#lost += lost;
    return !this.#cursor.done;
  }

  /** Gets a page from the ring. False when there is none to have, or no room to keep the last. */
  #swap(task: HostTask): boolean {
    const copy = this.#origin && this.#held.copyReaderPage();
    if (this.#origin && !copy) return false;
    // In a storm the writer can win the race for the head again and again, or the hypervisor has no
    // buffer any more: for the reader that is no data now.
    if (!succeeds(() => this.#callbacks.swapReaderPage(this.cpu, task))) {
      if (copy) this.#held.drop(copy);
      return false;
    }
    const page = this.#pageOfReader();
    if (pageCommit(this.#memory, page) > PAGE_DATA_SIZE)
      throw new ErrnoError('EIO', `cpu ${this.cpu}'s ring is no ring any more`);
    if (copy && this.#origin?.at === this.#held.at)
      this.#origin.cursor.moveTo(copy.memory, copy.page);
    const lost = metaLostEvents(this.#memory, this.#meta);
    this.#held.swapped({ memory: this.#memory, page, lost }, copy);
    this.#hasSwapped = true;
    return true;
  }

  #place(): Place {
    return { cursor: this.#cursor.clone(), at: this.#held.at, read: this.#read, lost: this.#lost };
  }

  #goTo({ cursor, at, read, lost }: Place): void {
    this.#cursor = cursor;
    this.#held.at = at;
    this.#read = read;
    this.#lost = lost;
  }

  #pageOfReader(): number {
    const id = metaReaderId(this.#memory, this.#meta);
    const page = this.#pages[id];
    if (page === undefined) throw new ErrnoError('EIO', `cpu ${this.cpu} has no page ${id}`);
    return page;
  }
}

/** The id of an event: every entry starts with it. */
export const entryId = ({ memory, payload }: Pick<RemoteReader, 'memory' | 'payload'>): number =>
  memory.view.getUint16(payload, true);

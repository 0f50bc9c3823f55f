import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import { PAGE_DATA, PAGE_DATA_SIZE, publishCommit, setPageTimeStamp } from './buffer-page.ts';
import {
  eventSize,
  putEventHeader,
  putTimeExtend,
  TIME_DELTA_LIMIT,
  TIME_EXTEND_SIZE,
} from './event-header.ts';
import {
  addOverrun,
  addPageTouched,
  incrementEntries,
  initMetaPage,
  metaOverrun,
  publishReader,
  resetMetaCounters,
} from './meta-page.ts';
import {
  BPAGE_ENTRIES,
  BPAGE_PAGE,
  BPAGE_WRITE,
  BufferPages,
  bpageAt,
  HEAD,
  HEAD_MOVING,
  linkNext,
  linkTurn,
  NORMAL,
} from './page-link.ts';
import {
  BPAGES,
  HEAD_PAGE,
  LAST_OVERRUN,
  META,
  NR_PAGES,
  READER_PAGE,
  STATUS,
  TAIL_PAGE,
  WRITE_STAMP,
} from './ring-state.ts';
import { RingStatus } from './ring-status.ts';
import type { SharedMemory } from './shared-memory.ts';

/** The reader page and the smallest ring in which the head can move past a page. */
export const MIN_PAGES = 3;
/** reserve() found no ring that may be written. */
export const NOT_RESERVED = -1;
/** How often a swap starts again after losing the head to the writer. */
const SWAP_ATTEMPTS = 8;

export interface RingPages {
  /** Where the meta page is. */
  readonly meta: number;
  /** Where the data pages are: the first is the reader page, the others form the ring. */
  readonly pages: readonly number[];
  /** Where the page records go, BPAGE_SIZE bytes a page. */
  readonly bpages: number;
}

/** The time of an event, in ns; read while the writer has the event open. */
export interface TimeSource {
  now(): number;
}

/**
 * A ring buffer of one CPU, lock-free between one writer and one reader's side in different
 * threads: the kernel's simple_ring_buffer. A full ring overwrites its oldest page.
 *
 * `reserve` and `commit` are the writer's. All other methods are the reader's side and must be
 * serialised by its owner.
 */
export class SimpleRingBuffer {
  readonly #ram: SharedMemory;
  readonly #state: SharedMemory;
  readonly #at: number;
  readonly #status: RingStatus;
  #records: BufferPages;
  #recordsAt = 0;
  /** The page of the writer's open event, and where on it the event ends. */
  #openPage = 0;
  #openEnd = 0;

  /** `ram` holds the pages and their records, `state` from `at` on the ring's own words. */
  constructor(ram: SharedMemory, state: SharedMemory, at: number) {
    this.#ram = ram;
    this.#state = state;
    this.#at = at;
    this.#status = new RingStatus(state, at + STATUS);
    this.#records = new BufferPages(ram, 0);
  }

  get loaded(): boolean {
    return this.#get(NR_PAGES) !== 0;
  }

  /** Makes a ring of the pages, which hold zeros or old events, and leaves it disabled. */
  init({ meta, pages, bpages }: RingPages): void {
    assert(!this.loaded, 'a ring is initialised once');
    assert(pages.length >= MIN_PAGES, 'a reader page and a ring of at least two');
    const last = pages.length - 1;
    this.#set(BPAGES, bpages);
    this.#set(META, meta);
    initMetaPage(this.#ram, meta, pages.length);
    pages.forEach((page, id) => {
      this.#bpages.init(id, page);
      publishCommit(this.#ram, page, 0);
    });
    for (let id = 1; id <= last; id++) {
      this.#bpages.setLink(id, id === last ? 1 : id + 1, id === last ? HEAD : NORMAL);
      this.#bpages.setPrev(id, id === 1 ? last : id - 1);
    }
    this.#set(READER_PAGE, 0);
    this.#set(HEAD_PAGE, 1);
    this.#set(TAIL_PAGE, 1);
    this.#forgetThePast();
    this.#set(NR_PAGES, pages.length); // Last: it is the mark of a loaded ring.
  }

  /** Takes the ring from its writer for good. Returns its pages, the meta page first. */
  teardown(): number[] {
    this.disable();
    const ids = Array.from({ length: this.#get(NR_PAGES) }, (_, id) => id);
    this.#set(NR_PAGES, 0);
    return [this.#get(META), ...ids.map((id) => this.#bpages.page(id))];
  }

  /**
   * Writer only. Opens an event of `length` bytes and returns where its payload goes, or
   * NOT_RESERVED. The owner must write the payload and then `commit`. What this calls has less
   * bytecode in all, the clock included, than V8 puts into one function.
   */
  reserve(length: number, clock: TimeSource): number {
    const state = this.#state;
    const ram = this.#ram;
    const ring = this.#at;
    if (!this.#status.tryOpen()) return NOT_RESERVED;

    // A clock that was set back must not turn the delta, which has no sign, into centuries.
    const writeStamp = state.view.getFloat64(ring + WRITE_STAMP, true);
    const ts = Math.max(clock.now(), writeStamp);
    const delta = ts - writeStamp;
    const size = eventSize(length);
    const extend = delta >= TIME_DELTA_LIMIT ? TIME_EXTEND_SIZE : 0;

    const bpages = state.own(ring + BPAGES);
    const tail = state.own(ring + TAIL_PAGE);
    let bpage = bpageAt(bpages, tail);
    let write = ram.own(bpage + BPAGE_WRITE);
    if (write + size + extend > PAGE_DATA_SIZE) {
      assert(size <= PAGE_DATA_SIZE, 'an event fits on a page');
      bpage = bpageAt(bpages, this.#moveTail(tail));
      write = 0;
    }
    // The first event of a page has the page's time stamp, so it never needs a TIME_EXTEND.
    const isFirst = write === 0;
    const end = write + size + (isFirst ? 0 : extend);
    const page = ram.own(bpage + BPAGE_PAGE);
    const at = page + PAGE_DATA + write;
    this.#openPage = page;
    this.#openEnd = end;
    state.view.setFloat64(ring + WRITE_STAMP, ts, true);
    ram.view.setInt32(bpage + BPAGE_WRITE, end, true);
    ram.view.setInt32(bpage + BPAGE_ENTRIES, ram.own(bpage + BPAGE_ENTRIES) + 1, true);
    if (isFirst) {
      setPageTimeStamp(ram, page, ts);
      return putEventHeader(ram, at, length, 0);
    }
    if (extend === 0) return putEventHeader(ram, at, length, delta);
    return putEventHeader(ram, putTimeExtend(ram, at, delta), length, 0);
  }

  /** Writer only. Shows the reserved event to the reader. */
  commit(): void {
    publishCommit(this.#ram, this.#openPage, this.#openEnd);
    incrementEntries(this.#ram, this.#own(META));
    this.#status.close();
  }

  #moveTail(tail: number): number {
    const link = this.#bpages.link(tail);
    const next = linkNext(link);
    if (this.#bpages.tryUnsetHead(tail, link, next, HEAD_MOVING)) {
      // The writer caught the head. Count what it is about to overwrite before the new head
      // shows, or a reader that swaps now would report too few lost events.
      addOverrun(this.#ram, this.#get(META), this.#bpages.entries(next));
      this.#bpages.setLink(next, this.#bpages.next(next), HEAD, linkTurn(link) + 1);
      this.#bpages.setLink(tail, next, NORMAL);
    }
    // A reader that won the race has put its own page there.
    const free = this.#bpages.next(tail);
    this.#clear(free);
    addPageTouched(this.#ram, this.#get(META));
    this.#set(TAIL_PAGE, free);
    return free;
  }

  /**
   * Trades the reader page for the oldest page of the ring, which the writer then cannot reach
   * except to finish the page it is on, and says so on the meta page.
   *
   * @throws ErrnoError ENODEV without a buffer; EBUSY when the writer kept moving the head away:
   *   there is no page to have now, and nothing has changed.
   */
  swapReaderPage(): void {
    this.#assertLoaded();
    const reader = this.#get(READER_PAGE);
    for (let attempt = 0; attempt < SWAP_ATTEMPTS; attempt++) {
      const head = this.#findHead();
      const last = this.#bpages.prev(head);
      // Before the overrun, so that it is of this head and not of an earlier turn of the ring.
      const link = this.#bpages.link(last);
      if (linkNext(link) !== head) continue;
      // The reader page goes in where the head is, and points at the head to be.
      this.#bpages.setLink(reader, this.#bpages.next(head), HEAD, linkTurn(link) + 1);
      this.#bpages.setPrev(reader, last);
      const overrun = metaOverrun(this.#ram, this.#get(META));
      if (!this.#bpages.tryUnsetHead(last, link, reader, NORMAL)) continue;

      const newHead = this.#bpages.next(reader);
      this.#bpages.setPrev(newHead, reader);
      this.#set(HEAD_PAGE, newHead);
      this.#set(READER_PAGE, head);
      const lost = overrun - this.#state.view.getFloat64(this.#at + LAST_OVERRUN, true);
      this.#state.view.setFloat64(this.#at + LAST_OVERRUN, overrun, true);
      publishReader(this.#ram, this.#get(META), head, lost);
      return;
    }
    throw new ErrnoError('EBUSY', 'lost the race for the head page');
  }

  #findHead(): number {
    return this.#bpages.findHead(this.#get(HEAD_PAGE), this.#get(NR_PAGES));
  }

  /** Lets the writer in. @throws ErrnoError ENODEV without a buffer. */
  enable(): void {
    this.#assertLoaded();
    this.#status.enable();
  }

  /** Keeps the writer out, and waits for an event that it has open. Returns whether it was in. */
  disable(): boolean {
    return this.#status.disable();
  }

  /** Waits for an event that the writer has open now; it may open the next one at once. */
  waitForWriter(): void {
    this.#status.waitForWriter();
  }

  /** Drops all events; an enabled ring stays enabled. @throws ErrnoError ENODEV without a buffer. */
  reset(): void {
    this.#assertLoaded();
    const enabled = this.disable();
    this.#set(TAIL_PAGE, this.#findHead());
    for (let id = 0; id < this.#get(NR_PAGES); id++) this.#clear(id);
    this.#forgetThePast();
    resetMetaCounters(this.#ram, this.#get(META));
    if (enabled) this.enable();
  }

  #clear(id: number): void {
    this.#bpages.clear(id);
    publishCommit(this.#ram, this.#bpages.page(id), 0);
  }

  #forgetThePast(): void {
    this.#state.view.setFloat64(this.#at + WRITE_STAMP, 0, true);
    this.#state.view.setFloat64(this.#at + LAST_OVERRUN, 0, true);
  }

  #assertLoaded(): void {
    if (!this.loaded) throw new ErrnoError('ENODEV', 'no buffer is loaded');
  }

  /** The records are wherever the last load put them, perhaps in another thread. */
  get #bpages(): BufferPages {
    const at = this.#own(BPAGES);
    if (at !== this.#recordsAt) {
      this.#records = new BufferPages(this.#ram, at);
      this.#recordsAt = at;
    }
    return this.#records;
  }

  /** A word of the side that calls, or one that the load has settled. */
  #own(field: number): number {
    return this.#state.own(this.#at + field);
  }

  #get(field: number): number {
    return this.#state.load(this.#at + field);
  }

  #set(field: number, value: number): void {
    this.#state.store(this.#at + field, value);
  }
}

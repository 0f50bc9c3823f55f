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
import { BufferPages, HEAD, HEAD_MOVING, linkNext, linkTurn, NORMAL } from './page-link.ts';
import {
  BPAGES,
  HEAD_PAGE,
  LAST_OVERRUN,
  META,
  NR_PAGES,
  READER_PAGE,
  READY,
  STATUS,
  TAIL_PAGE,
  UNAVAILABLE,
  WRITE_STAMP,
  WRITING,
} from './ring-state.ts';
import type { SharedMemory } from './shared-memory.ts';

/** The reader page and the smallest ring in which the head can move past a page. */
export const MIN_PAGES = 3;
/** reserve() found no ring that may be written. */
export const NOT_RESERVED = -1;

/** How often a swap starts again after losing the head to the writer. */
const SWAP_ATTEMPTS = 8;
/** After so many looks at a writer with an open event its thread may have the CPU; at last, it died. */
const SPINS_BEFORE_SLEEP = 1_000;
const SLEEP_MS = 0.05;
const MAX_LOOKS = 200_000;

export interface RingPages {
  /** Where the meta page is. */
  readonly meta: number;
  /** Where the data pages are: the first is the reader page, the others form the ring. */
  readonly pages: readonly number[];
  /** Where the page records go, BPAGE_SIZE bytes a page. */
  readonly bpages: number;
}

/** The time of an event, in ns; read while the ring is WRITING. */
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
   * NOT_RESERVED. The owner must write the payload and then `commit`.
   */
  reserve(length: number, clock: TimeSource): number {
    if (!this.#state.compareExchange(this.#at + STATUS, READY, WRITING)) return NOT_RESERVED;

    // A clock that was set back must not turn the delta, which has no sign, into centuries.
    const writeStamp = this.#state.view.getFloat64(this.#at + WRITE_STAMP, true);
    const ts = Math.max(clock.now(), writeStamp);
    const delta = ts - writeStamp;
    const size = eventSize(length);
    const extend = delta >= TIME_DELTA_LIMIT ? TIME_EXTEND_SIZE : 0;
    assert(size <= PAGE_DATA_SIZE, 'an event fits on a page');

    const bpages = this.#bpages;
    let tail = this.#own(TAIL_PAGE);
    let write = bpages.write(tail);
    if (write + size + extend > PAGE_DATA_SIZE) {
      tail = this.#moveTail(tail);
      write = 0;
    }
    const page = bpages.page(tail);
    const at = page + PAGE_DATA + write;
    this.#state.view.setFloat64(this.#at + WRITE_STAMP, ts, true);
    this.#openPage = page;
    if (write === 0) {
      // The first event of a page has the page's time stamp, so it never needs a TIME_EXTEND.
      setPageTimeStamp(this.#ram, page, ts);
      this.#openEnd = bpages.append(tail, size);
      return putEventHeader(this.#ram, at, length, 0);
    }
    this.#openEnd = bpages.append(tail, write + extend + size);
    if (extend === 0) return putEventHeader(this.#ram, at, length, delta);
    return putEventHeader(this.#ram, putTimeExtend(this.#ram, at, delta), length, 0);
  }

  /** Writer only. Shows the reserved event to the reader. */
  commit(): void {
    publishCommit(this.#ram, this.#openPage, this.#openEnd);
    incrementEntries(this.#ram, this.#own(META)); // After the commit: who counts it can read it.
    this.#state.store(this.#at + STATUS, READY);
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

  /** Lets the writer in. */
  enable(): void {
    this.#assertLoaded();
    this.#state.compareExchange(this.#at + STATUS, UNAVAILABLE, READY);
  }

  /** Keeps the writer out, and waits for an event that it has open. Returns whether it was in. */
  disable(): boolean {
    while (!this.#state.compareExchange(this.#at + STATUS, READY, UNAVAILABLE)) {
      if (this.#get(STATUS) === UNAVAILABLE) return false;
      this.waitForWriter();
    }
    return true;
  }

  /** Waits for an event that the writer has open now; it may open the next one at once. */
  waitForWriter(): void {
    for (let looks = 0; this.#get(STATUS) === WRITING; looks++) {
      if (looks > SPINS_BEFORE_SLEEP) this.#state.wait(this.#at + STATUS, WRITING, SLEEP_MS);
      assert(looks < MAX_LOOKS, 'an event is written within seconds');
    }
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

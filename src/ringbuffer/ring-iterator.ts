import { PAGE_SIZE } from '../units.ts';
import { PAGE_DATA, PAGE_DATA_SIZE, pageCommit, pageTimeStamp } from './buffer-page.ts';
import { PageCursor } from './page-cursor.ts';
import { putPageImage } from './page-image.ts';
import { SharedMemory } from './shared-memory.ts';

/** A page with unread events: from where to where in its data they are. */
export interface UnreadPage {
  readonly memory: SharedMemory;
  readonly page: number;
  /** By which the page is known again. */
  readonly timeStamp: number;
  readonly start: number;
  /** What the time delta of the record at `start` counts from, in ns. */
  readonly startStamp: number;
  readonly end: number;
}

/** How many were lost, where nobody knows it. */
const UNKNOWN_LOST = -1;

/**
 * Goes over the events that a CPU's ring had unread at one moment, and takes none: the kernel's
 * ring_buffer_iter. It copies one page at a time. A page that the writer has overwritten by then is
 * left out, and the next event has `lostEvents` of -1.
 */
export class RingIterator {
  readonly cpu: number;
  readonly memory = new SharedMemory(new SharedArrayBuffer(PAGE_SIZE));
  lostEvents = 0;
  readonly #pages: readonly UnreadPage[];
  #nextPage = 0;
  readonly #cursor = new PageCursor(this.memory, 0);

  /** `pages` are those of RemoteReader.unreadPages. */
  constructor(cpu: number, pages: readonly UnreadPage[]) {
    this.cpu = cpu;
    this.#pages = pages;
  }

  get ts(): number {
    return this.#cursor.ts;
  }

  get payload(): number {
    return this.#cursor.payload;
  }

  get empty(): boolean {
    return !this.peek();
  }

  /** Finds the next event and leaves it there. False at the end. */
  peek(): boolean {
    while (!this.#cursor.peek()) if (!this.#goToNextPage()) return false;
    return true;
  }

  consume(): void {
    this.passOver();
    this.lostEvents = 0;
  }

  /** Goes on without having shown the event: what was lost before it is still to be told. */
  passOver(): void {
    this.#cursor.take();
  }

  #goToNextPage(): boolean {
    for (;;) {
      const page = this.#pages[this.#nextPage++];
      if (page === undefined) return false;
      if (this.#copy(page)) break;
      this.lostEvents = UNKNOWN_LOST;
    }
    this.#cursor.start(this.memory, 0);
    return true;
  }

  /** Whether the copy is good: a writer that comes to the page clears its commit before all else. */
  #copy({ memory, page, timeStamp, start, startStamp, end }: UnreadPage): boolean {
    if (end > PAGE_DATA_SIZE) return false; // It is no ring's page any more.
    const data = memory.bytes.subarray(page + PAGE_DATA + start, page + PAGE_DATA + end);
    putPageImage(this.memory.bytes, { timeStamp: startStamp, data, lost: 0 });
    return pageCommit(memory, page) >= end && pageTimeStamp(memory, page) === timeStamp;
  }
}

import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { PAGE_SIZE } from '../units.ts';
import type { Awaitable, OpenFile, Read } from './nodes.ts';
import { type HasEvent, PipeWaiter } from './pipe-waiter.ts';
import { LARGEST_READ, ReadAhead } from './read-ahead.ts';
import type { TraceRemote } from './trace-remote.ts';

/** Takes a page image of a reader's next events; false when there are none. */
export type PageReader = (reader: RemoteReader, image: Uint8Array) => boolean;

/** How pages are made, and whether the kernel's quirk holds: after any close, empty is the end. */
export interface TracePipeRawStyle {
  readonly readPage: PageReader;
  readonly hasEvent: HasEvent;
  /** Whether a page is the same whenever it is made, so that it may be before it is asked for. */
  readonly readsAhead: boolean;
  readonly endsOnceClosed: boolean;
}

/**
 * What stat(2) shows as the size of pages that can be spliced: FUSE splices through the page cache,
 * up to there.
 */
export const SPLICED_SIZE = 2 ** 40;

/** Where the pages of one answer are made: they are sent before anybody makes another. */
const PAGES = new Uint8Array(LARGEST_READ);

/**
 * An open trace_pipe_raw: one CPU's events as page images, each event given to one reader only.
 * A read for pages gives as many whole ones as there are now, one at least; a shorter read gives
 * the start of one, and those after it the rest of that page.
 */
export class TracePipeRaw implements OpenFile {
  readonly #waiter: PipeWaiter;
  readonly #style: TracePipeRawStyle;
  readonly #page = new Uint8Array(PAGE_SIZE);
  /** What a short read left over of `#page`: from here on; nothing at its end. */
  #taken = PAGE_SIZE;
  readonly #readAhead = new ReadAhead();
  /** Pages that were read ahead: the first `#aheadSize` bytes. It is empty until there are some. */
  #ahead = new Uint8Array(0);
  #aheadSize = 0;
  /** Where the next read comes of a splice that goes on. */
  #splicedTo = -1;
  #wasClosed = false;

  private constructor(waiter: PipeWaiter, style: TracePipeRawStyle) {
    this.#waiter = waiter;
    this.#style = style;
  }

  /** Loads the buffer if need be. @throws ErrnoError as TraceRemote.getReader. */
  static async open(
    remote: TraceRemote,
    cpu: number,
    task: HostTask,
    style: TracePipeRawStyle,
  ): Promise<TracePipeRaw> {
    const waiter = await PipeWaiter.open(remote, cpu, task, { endsWithTracing: false });
    return new TracePipeRaw(waiter, style);
  }

  flush(): void {
    this.#wasClosed = true;
    this.#waiter.wake();
  }

  release(): Promise<void> {
    this.#readAhead.end();
    return this.#waiter.release();
  }

  /**
   * @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted, EIO for a
   *   page fault of a mapping: the program gets SIGBUS.
   */
  read(read: Read): Awaitable<void> {
    if (read.forCache) this.#refusePageFault(read);
    if (read.size === 0 || this.#take(read)) return;
    const ended = (): boolean => this.#style.endsOnceClosed && this.#wasClosed;
    return this.#waiter.untilSome(() => this.#take(read), read, ended);
  }

  /** A mapping of the file would take events. A splice that goes on need not be asked again. */
  #refusePageFault(read: Read): void {
    if (read.offset !== this.#splicedTo && read.isPageFault())
      throw new ErrnoError('EIO', 'pages are read, and not mapped');
    this.#splicedTo = read.offset + PAGE_SIZE;
  }

  /** Ready as soon as there is an event, or the rest of a page. */
  poll(onNews?: () => void): boolean {
    const { hasEvent } = this.#style;
    const isReady = (): boolean => this.#taken < PAGE_SIZE || this.#waiter.readers.some(hasEvent);
    return this.#waiter.poll(isReady, onNews);
  }

  #take(read: Read): boolean {
    const [reader] = this.#waiter.readers;
    assert(reader !== undefined, 'an open pipe’s CPU has a ring');
    if (this.#taken < PAGE_SIZE || read.size < PAGE_SIZE) return this.#takePart(reader, read);
    const most = Math.min(read.size - (read.size % PAGE_SIZE), LARGEST_READ);
    const isAhead = this.#readAhead.take(most);
    const pages = isAhead ? this.#ahead : PAGES;
    const size = this.#readPages(reader, pages.subarray(0, most), isAhead ? this.#aheadSize : 0);
    if (size === 0) return false;
    read.give(pages.subarray(0, size));
    if (this.#style.readsAhead && size === most) this.#lookAhead(reader, most);
    return true;
  }

  #lookAhead(reader: RemoteReader, most: number): void {
    this.#readAhead.begin(most, [reader], () => {
      if (this.#ahead.length === 0) this.#ahead = new Uint8Array(LARGEST_READ);
      this.#aheadSize = this.#readPages(reader, this.#ahead.subarray(0, most), 0);
    });
  }

  /** Whole pages behind the first `size` bytes, as many as there are and fit. Returns the new size. */
  #readPages(reader: RemoteReader, to: Uint8Array, size: number): number {
    let end = size;
    while (end + PAGE_SIZE <= to.length && this.#style.readPage(reader, to.subarray(end)))
      end += PAGE_SIZE;
    return end;
  }

  /** The start of a page, for a short read, or what the last one left of it. */
  #takePart(reader: RemoteReader, read: Read): boolean {
    if (this.#taken === PAGE_SIZE) {
      if (!this.#style.readPage(reader, this.#page)) return false;
      this.#taken = 0;
    }
    const part = this.#page.subarray(this.#taken, this.#taken + read.size);
    read.give(part);
    this.#taken += part.length;
    return true;
  }
}

import { assert } from '../assert.ts';
import type { HostTask } from '../host-task.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { PAGE_SIZE } from '../units.ts';
import type { Io, OpenFile } from './nodes.ts';
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
  /** Pages that were read ahead: so many bytes of them. */
  readonly #ahead = new Uint8Array(LARGEST_READ);
  #aheadSize = 0;
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

  /** @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted. */
  async read(to: Uint8Array, _offset: number, io: Io): Promise<number> {
    if (to.length === 0) return 0;
    const ended = (): boolean => this.#style.endsOnceClosed && this.#wasClosed;
    return this.#waiter.untilSome(() => this.#take(to), io, ended);
  }

  /** Ready as soon as there is an event, or the rest of a page. */
  poll(onNews?: () => void): boolean {
    const { hasEvent } = this.#style;
    const isReady = (): boolean => this.#taken < PAGE_SIZE || this.#waiter.readers.some(hasEvent);
    return this.#waiter.poll(isReady, onNews);
  }

  #take(to: Uint8Array): number | undefined {
    const [reader] = this.#waiter.readers;
    assert(reader !== undefined, 'an open pipe’s CPU has a ring');
    if (this.#taken < PAGE_SIZE) return this.#takeRest(to);
    const most = Math.min(to.length - (to.length % PAGE_SIZE), LARGEST_READ);
    let size = 0;
    if (this.#readAhead.take(most)) {
      to.set(this.#ahead.subarray(0, this.#aheadSize));
      size = this.#aheadSize;
    }
    size = this.#readPages(reader, to, size);
    if (this.#style.readsAhead && size === most)
      this.#readAhead.begin(most, [reader], () => {
        this.#aheadSize = this.#readPages(reader, this.#ahead.subarray(0, most), 0);
      });
    if (size > 0) return size;
    if (to.length >= PAGE_SIZE || !this.#style.readPage(reader, this.#page)) return undefined;
    this.#taken = 0;
    return this.#takeRest(to);
  }

  /** Whole pages behind the first `size` bytes, as many as there are and fit. Returns the new size. */
  #readPages(reader: RemoteReader, to: Uint8Array, size: number): number {
    let end = size;
    while (end + PAGE_SIZE <= to.length && this.#style.readPage(reader, to.subarray(end)))
      end += PAGE_SIZE;
    return end;
  }

  #takeRest(to: Uint8Array): number {
    const rest = this.#page.subarray(this.#taken, this.#taken + to.length);
    to.set(rest);
    this.#taken += rest.length;
    return rest.length;
  }
}

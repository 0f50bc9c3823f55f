import { assert } from '../assert.ts';
import type { HostTask } from '../host-task.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import type { Io, OpenFile } from './nodes.ts';
import { PipeWaiter } from './pipe-waiter.ts';
import type { TraceRemote } from './trace-remote.ts';

/** Takes a page image of a reader's next events; false when there are none. */
export type PageReader = (reader: RemoteReader, memory: SharedMemory, image: Uint8Array) => boolean;

/** How pages are made, and whether the kernel's quirk holds: after any close, empty is the end. */
export interface TracePipeRawStyle {
  readonly readPage: PageReader;
  readonly endsOnceClosed: boolean;
}

/**
 * What stat(2) shows as the size of pages that can be spliced: FUSE splices through the page cache,
 * up to there.
 */
export const SPLICED_SIZE = 2 ** 40;

/** How often the kernel asks for a page that it cannot get: to read ahead, and then for itself. */
const CACHE_TRIES = 2;

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
  /** Up to where the last splice came, and how often it asked for more since. */
  #splicedTo = -1;
  #refusals = 0;
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
    return new TracePipeRaw(await PipeWaiter.open(remote, cpu, task), style);
  }

  flush(): void {
    this.#wasClosed = true;
    this.#waiter.wake();
  }

  release(): Promise<void> {
    return this.#waiter.release();
  }

  /** @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted. */
  async read(to: Uint8Array, offset: number, io: Io): Promise<number> {
    if (to.length === 0) return 0;
    const given = this.#take(to) ?? (await this.#wait(to, offset, io));
    this.#splicedTo = io.forCache ? offset + given : -1;
    this.#refusals = 0;
    return given;
  }

  #wait(to: Uint8Array, offset: number, io: Io): Promise<number> {
    const ended = (): boolean => this.#style.endsOnceClosed && this.#wasClosed;
    const take = (): number | undefined => this.#take(to) ?? (ended() ? 0 : undefined);
    const nonblock = io.nonblock || this.#endsSplice(offset);
    return this.#waiter.untilSome(take, { ...io, nonblock });
  }

  /**
   * A splice(2) asks for page after page, up to its length. One that has some must not wait for
   * more: EAGAIN ends it, and its caller gets what there was. Who asks again then is the next
   * splice, which waits.
   */
  #endsSplice(offset: number): boolean {
    return offset === this.#splicedTo && this.#refusals++ < CACHE_TRIES;
  }

  /** Ready as soon as there is an event, or the rest of a page. */
  poll(onNews?: () => void): boolean {
    const hasEvents = this.#waiter.poll(onNews);
    return this.#taken < PAGE_SIZE || hasEvents;
  }

  #take(to: Uint8Array): number | undefined {
    const [reader] = this.#waiter.readers;
    const { memory } = this.#waiter.buffer;
    assert(reader !== undefined, 'an open pipe’s CPU has a ring');
    if (this.#taken < PAGE_SIZE) return this.#takeRest(to);
    let size = 0;
    while (size + PAGE_SIZE <= to.length && this.#style.readPage(reader, memory, to.subarray(size)))
      size += PAGE_SIZE;
    if (size > 0) return size;
    if (to.length >= PAGE_SIZE || !this.#style.readPage(reader, memory, this.#page))
      return undefined;
    this.#taken = 0;
    return this.#takeRest(to);
  }

  #takeRest(to: Uint8Array): number {
    const rest = this.#page.subarray(this.#taken, this.#taken + to.length);
    to.set(rest);
    this.#taken += rest.length;
    return rest.length;
  }
}

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

/**
 * An open trace_pipe_raw: one CPU's events as page images, each event given to one reader only.
 * A read for pages gives as many whole ones as there are now, one at least; a shorter read gives
 * the start of one, and those after it the rest of that page.
 */
export class TracePipeRaw implements OpenFile {
  readonly #waiter: PipeWaiter;
  readonly #readPage: PageReader;
  readonly #page = new Uint8Array(PAGE_SIZE);
  /** What a short read left over of `#page`: from here on; nothing at its end. */
  #taken = PAGE_SIZE;

  private constructor(waiter: PipeWaiter, readPage: PageReader) {
    this.#waiter = waiter;
    this.#readPage = readPage;
  }

  /** Loads the buffer if need be. @throws ErrnoError as TraceRemote.getReader. */
  static async open(
    remote: TraceRemote,
    cpu: number,
    task: HostTask,
    readPage: PageReader = (reader, _memory, image) => reader.readPage(image, task),
  ): Promise<TracePipeRaw> {
    return new TracePipeRaw(await PipeWaiter.open(remote, cpu, task), readPage);
  }

  release(): Promise<void> {
    return this.#waiter.release();
  }

  /** @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted. */
  async read(to: Uint8Array, _offset: number, io: Io): Promise<number> {
    if (to.length === 0) return 0;
    return this.#waiter.untilSome(() => this.#take(to), io);
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
    while (size + PAGE_SIZE <= to.length && this.#readPage(reader, memory, to.subarray(size)))
      size += PAGE_SIZE;
    if (size > 0) return size;
    if (to.length >= PAGE_SIZE || !this.#readPage(reader, memory, this.#page)) return undefined;
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

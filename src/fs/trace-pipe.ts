import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import { Merge } from '../ringbuffer/merge.ts';
import type { CpuFilter } from '../ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { TraceSeq } from '../trace-seq.ts';
import type { Awaitable, OpenFile, Read } from './nodes.ts';
import { type HasEvent, PipeWaiter, SKIPPED_AT_ONCE } from './pipe-waiter.ts';
import { LARGEST_READ, ReadAhead } from './read-ahead.ts';
import type { LineOutput } from './trace-output.ts';
import type { TraceRemote } from './trace-remote.ts';

/** From a read of the kernel's trace_seq on, a read gives whole lines. */
const WHOLE_LINES_FROM = 8_155;
/** More than a line takes, with one of lost events before it. */
const LINE_SIZE = 1_024;

/**
 * What stat(2) shows as the size of a trace_pipe. FUSE asks us for what is spliced only below it, and
 * a program that hears EINVAL then reads. Some programs allocate as much; so it is not larger.
 */
export const TEXT_PIPE_SIZE = 2 ** 30;

const NO_TEXT = new TraceSeq(0);

/** How a pipe shows events, and whether it has an end: when tracing is off and all was read. */
export interface TracePipeStyle {
  readonly output: LineOutput;
  readonly hasEvent: HasEvent;
  /** Whether a line is the same whenever it is printed, so that it may be before it is asked for. */
  readonly readsAhead: boolean;
  readonly ends: boolean;
}

/** Events to read, and up to when they are all that there were. */
interface Settled {
  readonly merge: Merge;
  readonly until: number;
}

/**
 * An open trace_pipe: the events of one CPU or all, as text, each given to one reader only.
 * A read waits for events; it keeps what did not fit for the next read.
 */
export class TracePipe implements OpenFile {
  readonly #remote: TraceRemote;
  readonly #waiter: PipeWaiter;
  readonly #style: TracePipeStyle;
  /** Made when there is something to print: most of many open pipes may never be. */
  #seq = NO_TEXT;
  readonly #readAhead = new ReadAhead();
  /** Up to where the text was given to reads; of a read ahead all of it, until it is taken. */
  #taken = 0;
  #hasRead = false;

  private constructor(remote: TraceRemote, waiter: PipeWaiter, style: TracePipeStyle) {
    this.#remote = remote;
    this.#waiter = waiter;
    this.#style = style;
  }

  /** Loads the buffer if need be. @throws ErrnoError as TraceRemote.getReader. */
  static async open(
    remote: TraceRemote,
    cpu: CpuFilter,
    task: HostTask,
    style: TracePipeStyle,
  ): Promise<TracePipe> {
    const waiter = await PipeWaiter.open(remote, cpu, task, { endsWithTracing: style.ends });
    return new TracePipe(remote, waiter, style);
  }

  release(): Promise<void> {
    this.#readAhead.end();
    return this.#waiter.release();
  }

  /**
   * @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted, EINVAL for a
   *   splice(2): the program then reads instead.
   */
  read(read: Read): Awaitable<void> {
    if (read.forCache) throw new ErrnoError('EINVAL', 'text is read, and not spliced');
    if (read.size === 0 || this.#take(read)) return;
    const ended = (): boolean => !read.nonblock && this.#isAtEnd;
    return this.#waiter.untilSome(() => this.#take(read), read, ended);
  }

  /** Ready as soon as there is an event, text left of one, or the end. */
  poll(onNews?: () => void): boolean {
    const { hasEvent } = this.#style;
    const isReady = (): boolean =>
      this.#hasText || this.#isAtEnd || this.#waiter.readers.some(hasEvent);
    return this.#waiter.poll(isReady, onNews);
  }

  /** Whether a read that finds no event ends. */
  get #isAtEnd(): boolean {
    return this.#style.ends && this.#hasRead && !this.#remote.isTracing;
  }

  /** Of events that were taken and did not fit into the last read. */
  get #hasText(): boolean {
    return this.#taken < this.#seq.length;
  }

  #take(read: Read): boolean {
    const { task } = read;
    const size = Math.min(read.size, LARGEST_READ);
    if (!this.#hasText && this.#readAhead.take(size)) this.#taken = 0;
    if (!this.#hasText) this.#fill(size, this.#waiter.readers, task);
    if (!this.#hasText) return false;
    const end = Math.min(this.#taken + size, this.#seq.length);
    const text = this.#seq.bytes.subarray(this.#taken, end);
    read.give(text);
    this.#taken = end;
    this.#hasRead = true;
    if (this.#style.readsAhead && !this.#hasText && text.length > size - LINE_SIZE)
      this.#fillAhead(size, this.#waiter.readers, task);
    return true;
  }

  #fillAhead(size: number, readers: readonly RemoteReader[], task: HostTask): void {
    this.#readAhead.begin(size, readers, () => {
      try {
        this.#fill(size, readers, task);
      } finally {
        this.#taken = this.#seq.length;
      }
    });
  }

  /**
   * Makes text of events, oldest first, to answer a read of `size`. Whole lines never fill it: FUSE
   * divides a large read, and asks for the rest of it, less than a line, unless an answer is short.
   */
  #fill(size: number, readers: readonly RemoteReader[], task: HostTask): void {
    this.#seq.truncate(0);
    this.#taken = 0;
    let skipped = 0;
    const { merge, until } = this.#settled(readers, task);
    if (this.#seq === NO_TEXT && merge.oldest) this.#seq = new TraceSeq(LARGEST_READ + LINE_SIZE);
    for (let next = merge.oldest; next && next.ts <= until; next = merge.oldest) {
      const start = this.#seq.length;
      this.#style.output.print(next, this.#seq);
      if (this.#seq.length >= size && size >= WHOLE_LINES_FROM) {
        this.#seq.truncate(start);
        break;
      }
      if (this.#seq.length > start) merge.consume();
      else if (++skipped < SKIPPED_AT_ONCE) merge.passOver();
      else break;
      if (this.#seq.length >= size) break; // Of a small read the rest is for the next one.
    }
  }

  /**
   * Reads the counters of all CPUs, and says up to when they show all that happened. What came
   * later waits for the next time: another CPU may have an earlier event that does not show yet.
   */
  #settled(readers: readonly RemoteReader[], task: HostTask): Settled {
    const seen = this.#look(readers, task);
    const first = seen.merge.oldest;
    if (first === undefined || first.ts <= seen.until) return seen;
    // Only news. Look again, so that they come at once and not with the next poll.
    const { merge, until } = this.#look(readers, task);
    return { merge, until: Math.max(until, first.ts) };
  }

  #look(readers: readonly RemoteReader[], task: HostTask): Settled {
    const until = this.#remote.callbacks.settledUntil();
    for (const reader of readers) reader.poll();
    return { merge: new Merge(readers, task), until };
  }
}

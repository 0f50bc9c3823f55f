import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import { type CpuFilter, oldest, type RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { TraceSeq } from '../trace-seq.ts';
import type { Io, OpenFile } from './nodes.ts';
import { TraceOutput } from './trace-output.ts';
import type { TraceRemote } from './trace-remote.ts';

/** How often an open pipe looks for new events: the ring cannot interrupt its host. */
const POLL_MS = 100;
/** The text of the kernel's trace_seq: two pages, less its bookkeeping. */
const SEQ_SIZE = 8155;

/**
 * An open trace_pipe: the events of one CPU or all, as text, each given to one reader only.
 * A read waits for events and never returns 0; it keeps what did not fit for the next read.
 */
export class TracePipe implements OpenFile {
  readonly #remote: TraceRemote;
  readonly #buffer: RemoteBuffer;
  readonly #cpu: CpuFilter;
  readonly #output: TraceOutput;
  readonly #seq = new TraceSeq(SEQ_SIZE);
  readonly #poll: NodeJS.Timeout;
  #stopWatching: () => void;
  #taken = 0;
  #giveUp: (error: ErrnoError) => void = () => {};
  #onNews: (() => void) | undefined;
  #seen = 0;

  private constructor(remote: TraceRemote, buffer: RemoteBuffer, cpu: CpuFilter) {
    this.#remote = remote;
    this.#buffer = buffer;
    this.#cpu = cpu;
    this.#output = new TraceOutput(remote.callbacks.events);
    this.#poll = setInterval(() => buffer.poll(cpu), POLL_MS);
    this.#stopWatching = this.#watch();
  }

  /** Loads the buffer if need be. @throws ErrnoError as TraceRemote.getReader. */
  static async open(remote: TraceRemote, cpu: CpuFilter, task: HostTask): Promise<TracePipe> {
    const pipe = new TracePipe(remote, await remote.getReader(cpu, task), cpu);
    remote.pipes.add(pipe);
    return pipe;
  }

  async release(): Promise<void> {
    clearInterval(this.#poll);
    this.#stopWatching();
    this.#onNews = undefined;
    this.#remote.pipes.delete(this);
    await this.#remote.putReader();
  }

  /** @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted. */
  async read(size: number, _offset: number, io: Io): Promise<Uint8Array> {
    if (size === 0) return new Uint8Array();
    while (!this.#fill(io.task)) {
      if (io.nonblock) throw new ErrnoError('EAGAIN', 'no events');
      await this.#waitForEvents(io);
    }
    return this.#take(size);
  }

  /** Of events that were taken and did not fit into the last read. */
  get #hasText(): boolean {
    return this.#taken < this.#seq.length;
  }

  #take(size: number): Uint8Array {
    const text = this.#seq.bytes.subarray(
      this.#taken,
      Math.min(this.#taken + size, this.#seq.length),
    );
    this.#taken += text.length;
    return text;
  }

  /** Makes text of events, oldest first, unless there is some left. False when there is none. */
  #fill(task: HostTask): boolean {
    if (this.#hasText) return true;
    this.#seq.truncate(0);
    this.#taken = 0;
    const readers = this.#buffer.select(this.#cpu);
    const until = this.#horizon(readers, task);
    for (let next = oldest(readers, task); next; next = oldest(readers, task)) {
      if (next.ts > until || !this.#output.print(next, this.#buffer.memory, this.#seq)) break;
      next.consume();
    }
    return this.#seq.length > 0;
  }

  /**
   * Reads the counters of all CPUs, and returns up to when they show all that happened. What came
   * later waits for the next time: another CPU may have an earlier event that does not show yet.
   */
  #horizon(readers: readonly RemoteReader[], task: HostTask): number {
    const { callbacks } = this.#remote;
    let until = callbacks.settledUntil();
    for (const reader of readers) reader.poll();
    const first = oldest(readers, task);
    if (first === undefined || first.ts <= until) return until;
    // Only news. Look again, so that they come at once and not with the next poll.
    until = callbacks.settledUntil();
    for (const reader of readers) reader.poll();
    return Math.max(until, first.ts);
  }

  #waitForEvents(io: Io): Promise<void> {
    return new Promise((resolve, reject) => {
      const stopWaiting = this.#buffer.wait(this.#cpu, resolve);
      this.#giveUp = (error) => {
        stopWaiting();
        reject(error);
      };
      io.onInterrupt(() => this.#giveUp(new ErrnoError('EINTR', 'a signal came')));
    });
  }

  /** Ready as soon as there is an event, seen by a poll of the ring or not. */
  poll(onNews?: () => void): boolean {
    this.#onNews = onNews ?? this.#onNews;
    const readers = this.#buffer.select(this.#cpu);
    return this.#hasText || readers.map((reader) => reader.poll()).includes(true);
  }

  /** Passes on that there is news, once for the same events: an edge, to who looks for edges. */
  #watch(): () => void {
    return this.#buffer.wait(this.#cpu, () => {
      const readers = this.#buffer.select(this.#cpu);
      const written = readers.reduce((sum, reader) => sum + reader.written, 0);
      if (written !== this.#seen) this.#onNews?.();
      this.#seen = written;
      this.#stopWatching = this.#watch();
    });
  }

  /** The remote goes away: whoever waits here hears of it. */
  hangUp(): void {
    this.#giveUp(new ErrnoError('ENODEV', 'the remote is gone'));
  }
}

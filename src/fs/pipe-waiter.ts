import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import type { CpuFilter, RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import type { Io } from './nodes.ts';
import type { TraceRemote } from './trace-remote.ts';

/** How often an open pipe looks for new events: the ring cannot interrupt its host. */
const POLL_MS = 100;

/**
 * What the pipes have in common, text or raw: an open one is a reader of its remote, waits for
 * events of one CPU or all, and tells who polls it that there is news.
 */
export class PipeWaiter {
  readonly buffer: RemoteBuffer;
  readonly #remote: TraceRemote;
  readonly #cpu: CpuFilter;
  readonly #poll: NodeJS.Timeout;
  #stopWatching: () => void;
  /** Ends the waiting of who waits, if anybody: to look again, or with an error. */
  #endWait: (error?: ErrnoError) => void = () => {};
  #onNews: (() => void) | undefined;
  #seen = 0;

  private constructor(remote: TraceRemote, buffer: RemoteBuffer, cpu: CpuFilter) {
    this.buffer = buffer;
    this.#remote = remote;
    this.#cpu = cpu;
    this.#poll = setInterval(() => buffer.poll(cpu), POLL_MS);
    this.#stopWatching = this.#watch();
  }

  /** Loads the buffer if need be. @throws ErrnoError as TraceRemote.getReader. */
  static async open(remote: TraceRemote, cpu: CpuFilter, task: HostTask): Promise<PipeWaiter> {
    const waiter = new PipeWaiter(remote, await remote.getReader(cpu, task), cpu);
    remote.pipes.add(waiter);
    return waiter;
  }

  async release(): Promise<void> {
    clearInterval(this.#poll);
    this.#stopWatching();
    this.#onNews = undefined;
    this.#remote.pipes.delete(this);
    await this.#remote.putReader();
  }

  /** The readers of the CPUs that it is about. */
  get readers(): readonly RemoteReader[] {
    return this.buffer.select(this.#cpu);
  }

  /**
   * Tries `take` until it gives something, and waits for events in between; 0 when `ended` says
   * that there will be none.
   *
   * @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted.
   */
  async untilSome(
    take: () => number | undefined,
    io: Io,
    ended: () => boolean = () => false,
  ): Promise<number> {
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      if (io.nonblock) throw new ErrnoError('EAGAIN', 'no events');
      if (ended()) return 0;
      await this.#waitForEvents(io);
    }
  }

  #waitForEvents(io: Io): Promise<void> {
    return new Promise((resolve, reject) => {
      const stopWaiting = this.buffer.wait(this.#cpu, resolve);
      this.#endWait = (error) => {
        stopWaiting();
        if (error) reject(error);
        else resolve();
      };
      io.onInterrupt(() => this.#endWait(new ErrnoError('EINTR', 'a signal came')));
    });
  }

  /** Lets who waits look again, for another reason than events. */
  wake(): void {
    this.#endWait();
  }

  /** Whether there is an event, seen by a poll of the ring or not. */
  poll(onNews?: () => void): boolean {
    this.#onNews = onNews ?? this.#onNews;
    return this.readers.map((reader) => reader.poll()).includes(true);
  }

  /** Passes on that there is news, once for the same events: an edge, to who looks for edges. */
  #watch(): () => void {
    return this.buffer.wait(this.#cpu, () => {
      const written = this.readers.reduce((sum, reader) => sum + reader.written, 0);
      if (written !== this.#seen) this.#onNews?.();
      this.#seen = written;
      this.#stopWatching = this.#watch();
    });
  }

  /** The remote goes away: whoever waits here hears of it. */
  hangUp(): void {
    this.#endWait(new ErrnoError('ENODEV', 'the remote is gone'));
  }
}

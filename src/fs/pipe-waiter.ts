import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import type { CpuFilter, RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import type { Io } from './nodes.ts';
import type { TraceRemote } from './trace-remote.ts';

/** Whether a reader has an event that its pipe shows. */
export type HasEvent = (reader: RemoteReader) => boolean;

/** How many events that are not shown a read or a poll takes before other requests get their turn. */
export const SKIPPED_AT_ONCE = 16_384;

/**
 * What the pipes have in common, text or raw: an open one is a reader of its remote, waits for
 * events of one CPU or all, and tells its poller that there is something new to read.
 */
export class PipeWaiter {
  readonly buffer: RemoteBuffer;
  readonly #remote: TraceRemote;
  readonly #cpu: CpuFilter;
  readonly #endsWithTracing: boolean;
  /** Each ends the wait of one read: to look again, or with an error. */
  readonly #waits = new Set<(error?: ErrnoError) => void>();
  /** Looks for something to read, and tells the last poller if there is. */
  #look: () => void = () => {};
  #nextLook: NodeJS.Immediate | undefined;
  #stopWatching: () => void = () => {};

  private constructor(
    remote: TraceRemote,
    buffer: RemoteBuffer,
    cpu: CpuFilter,
    endsWithTracing: boolean,
  ) {
    this.buffer = buffer;
    this.#remote = remote;
    this.#cpu = cpu;
    this.#endsWithTracing = endsWithTracing;
  }

  /** Loads the buffer if need be. @throws ErrnoError as TraceRemote.getReader. */
  static async open(
    remote: TraceRemote,
    cpu: CpuFilter,
    task: HostTask,
    { endsWithTracing }: { readonly endsWithTracing: boolean },
  ): Promise<PipeWaiter> {
    const buffer = await remote.getReader(cpu, task);
    const waiter = new PipeWaiter(remote, buffer, cpu, endsWithTracing);
    remote.pipes.add(waiter);
    return waiter;
  }

  async release(): Promise<void> {
    this.#stopWatching();
    clearImmediate(this.#nextLook);
    this.#look = () => {};
    this.#remote.pipes.delete(this);
    await this.#remote.putReader();
  }

  /** The readers of the CPUs that it is about. */
  get readers(): readonly RemoteReader[] {
    return this.buffer.select(this.#cpu);
  }

  /**
   * Tries `take` until it gives something, and waits for events in between; ends when `ended` says
   * that there will be none. A `take` that only takes events which are not shown is tried again.
   *
   * @throws ErrnoError EAGAIN when it may not wait, EINTR when the waiting was interrupted. A read for
   *   the page cache may never wait, as no signal would reach it.
   */
  async untilSome(take: () => boolean, io: Io, ended: () => boolean = () => false): Promise<void> {
    const mayWait = !io.nonblock && !io.forCache;
    let turns = Number.POSITIVE_INFINITY;
    for (;;) {
      const before = this.#eventsTaken();
      if (take()) return;
      if (!mayWait) turns = Math.min(turns, this.#turnsToSkipAll());
      if (this.#eventsTaken() !== before && turns-- > 0) await this.#pause(io, nextTurn);
      else if (ended()) return;
      else if (mayWait) await this.#pause(io, (go) => this.buffer.wait(this.#cpu, go));
      else throw new ErrnoError('EAGAIN', 'no events');
    }
  }

  /** Waits until what `begin` starts calls back; `begin` returns how to stop that. */
  #pause(io: Io, begin: (go: () => void) => () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: ErrnoError): void => {
        stop();
        this.#waits.delete(end);
        if (error) reject(error);
        else resolve();
      };
      const stop = begin(end);
      this.#waits.add(end);
      io.onInterrupt(() => end(new ErrnoError('EINTR', 'a signal came')));
    });
  }

  #eventsTaken(): number {
    return this.readers.reduce((sum, reader) => sum + reader.eventsTaken, 0);
  }

  /** How often one has to go on to get through the events that are there now. */
  #turnsToSkipAll(): number {
    const unread = this.readers.reduce((sum, reader) => sum + Math.max(reader.unread, 0), 0);
    return Math.ceil(unread / SKIPPED_AT_ONCE) + 1;
  }

  /** Lets waiting reads and the poller look again, for another reason than events. */
  wake(): void {
    for (const end of this.#waits) end();
    this.#look();
  }

  /**
   * Whether `isReady` finds something to read, or an end. From now on calls `onNews`, in place of an
   * earlier one, when events come and it does: once for the same events, an edge.
   */
  poll(isReady: () => boolean, onNews?: () => void): boolean {
    if (onNews) {
      this.#look = () => {
        if (this.#isReady(isReady)) onNews();
      };
      this.#stopWatching();
      this.#stopWatching = this.buffer.watch(this.#cpu, () => this.#look());
    }
    return this.#isReady(isReady);
  }

  /** Where `isReady` comes upon many events that are not shown, the look goes on by itself. */
  #isReady(isReady: () => boolean): boolean {
    const before = this.#eventsTaken();
    if (isReady()) return true;
    if (this.#eventsTaken() === before) return false;
    clearImmediate(this.#nextLook);
    this.#nextLook = setImmediate(() => this.#look());
    return false;
  }

  tracingStopped(): void {
    if (this.#endsWithTracing) this.wake();
  }

  /** The remote goes away: each waiting read hears of it. */
  hangUp(): void {
    for (const end of this.#waits) end(new ErrnoError('ENODEV', 'the remote is gone'));
  }
}

function nextTurn(go: () => void): () => void {
  const turn = setImmediate(go);
  return () => clearImmediate(turn);
}

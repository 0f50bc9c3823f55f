import { ErrnoError } from '../errno.ts';
import { type HostTask, KERNEL_THREAD } from '../host-task.ts';
import type { RemoteCallbacks, RemotePages, RingStats } from '../ringbuffer/remote.ts';
import { type CpuFilter, RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import type { TraceSeq } from '../trace-seq.ts';
import { KIB } from '../units.ts';
import { AsyncMutex } from './async-mutex.ts';

/** What the tree knows of one event. */
export interface RemoteEvent {
  readonly name: string;
  readonly id: number;
  readonly fields: readonly RemoteField[];
  /** Undefined where only `print` knows how to print an entry. */
  readonly printFmt: string | undefined;
  /** The fields of the entry at `at`, in their order. */
  values(from: SharedMemory, at: number): (number | bigint)[];
  /** Appends them. */
  print(from: SharedMemory, at: number, to: TraceSeq): void;
}

export interface RemoteField {
  readonly name: string;
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
}

/** The pages of a loaded buffer, as the host sees them. */
export interface RemoteBufferPages {
  readonly memory: SharedMemory;
  readonly rings: readonly RemotePages[];
}

/** A clock that is being set for a start. */
export interface StartingClock {
  /** Resolves when the remote's clock tells the time. */
  readonly calibrated: Promise<void>;
  /** Lets it be. */
  stop(): void;
}

/**
 * What a remote does for the host: the kernel's trace_remote_callbacks. Each call may throw an
 * ErrnoError, and has then changed nothing.
 */
export interface TraceRemoteCallbacks extends RemoteCallbacks {
  /** All possible CPUs, with a ring or without. */
  readonly cpus: readonly number[];
  /** In the order of their names. */
  readonly events: readonly RemoteEvent[];
  /** The pids of the vCPUs' threads that have run. */
  vcpus(): readonly number[];
  /** The name of the vCPU's thread that has this pid. */
  vcpuName(pid: number): string;
  /** The trace clock's time, in ns. */
  now(): number;
  /** A time, in ns and nearly now, of before which no CPU has an event that is not committed. */
  settledUntil(): number;
  startClock(task: HostTask): StartingClock;
  /** Allocates, shares and loads a buffer of `bytes` for each CPU. */
  loadTraceBuffer(bytes: bigint, task: HostTask): RemoteBufferPages;
  unloadTraceBuffer(task: HostTask): void;
  enableTracing(on: boolean, task: HostTask): void;
  enableEvent(id: number, on: boolean, task: HostTask): void;
  writeSelftestEvent(task: HostTask): void;
}

/** How often the open pipes' buffer is looked at for new events: the ring cannot interrupt its host. */
const POLL_MS = 100;

const DEFAULT_BUFFER_SIZE = 7n * BigInt(KIB);
const SIZE_SHIFT = 10n;

/**
 * The tracing of one remote and its life cycle: the kernel's struct trace_remote. A buffer is
 * loaded by whoever first needs it, and goes away by itself once it is not in use: no reader,
 * not tracing, nothing left to read.
 *
 * Everything that starts, stops, loads or counts readers runs under one lock, for all of a
 * start's 100 ms of calibration too.
 */
export class TraceRemote {
  readonly callbacks: TraceRemoteCallbacks;
  /** The open pipes, each of which may have reads waiting. */
  readonly pipes = new Set<{ hangUp(): void; tracingStopped(): void }>();
  readonly #lock = new AsyncMutex();
  readonly #enabled = new Set<number>();
  #bufferSize = DEFAULT_BUFFER_SIZE;
  #buffer: RemoteBuffer | undefined;
  /** What the rings of the last buffer had come to when it was unloaded, by CPU. */
  #lastStats = new Map<number, RingStats>();
  #clock: StartingClock | undefined;
  #nrReaders = 0;
  /** While there are readers: one timer for all, however many. */
  #poll: NodeJS.Timeout | undefined;

  constructor(callbacks: TraceRemoteCallbacks) {
    this.callbacks = callbacks;
  }

  /** `tracing_on`, once a start or stop that is under way is through. */
  tracingOn(): Promise<boolean> {
    return this.#lock.run(() => this.#isOn);
  }

  /** The same, as of now. */
  get isTracing(): boolean {
    return this.#isOn;
  }

  /** The size for the next load in KiB, and whether there is a buffer now. */
  bufferState(): Promise<{ sizeKb: bigint; loaded: boolean }> {
    return this.#lock.run(() => ({
      sizeKb: this.#bufferSize >> SIZE_SHIFT,
      loaded: this.#buffer !== undefined,
    }));
  }

  /** Takes effect at the next load. What has more than 64 bits in bytes wraps, as in the kernel. */
  setBufferSizeKb(kb: bigint): Promise<void> {
    return this.#lock.run(() => {
      if (kb === 0n) throw new ErrnoError('EINVAL', 'an empty buffer');
      this.#bufferSize = BigInt.asUintN(64, kb << SIZE_SHIFT);
    });
  }

  setTracing(on: boolean, task: HostTask): Promise<void> {
    return this.#lock.run(() => {
      if (on === this.#isOn) return;
      return on ? this.#start(task) : this.#stop(task);
    });
  }

  get #isOn(): boolean {
    return this.#clock !== undefined;
  }

  async #start(task: HostTask): Promise<void> {
    const clock = this.callbacks.startClock(task);
    try {
      this.#load(task);
      await clock.calibrated;
      this.callbacks.enableTracing(true, task);
      this.#clock = clock;
    } catch (error) {
      clock.stop();
      this.#tryUnload(task);
      throw error;
    }
  }

  /** Everything written so far has reached its readers when this returns. */
  #stop(task: HostTask): void {
    this.callbacks.enableTracing(false, task);
    this.#clock?.stop();
    this.#clock = undefined;
    this.#buffer?.poll();
    for (const pipe of this.pipes) pipe.tracingStopped();
    this.#tryUnload(task);
  }

  #load(task: HostTask): RemoteBuffer {
    if (this.#buffer === undefined) {
      const { memory, rings } = this.callbacks.loadTraceBuffer(this.#bufferSize, task);
      this.#buffer = new RemoteBuffer(memory, rings, this.callbacks);
    }
    return this.#buffer;
  }

  #tryUnload(task: HostTask): void {
    const inUse = this.#nrReaders > 0 || this.#isOn || this.#buffer?.isEmpty() === false;
    if (this.#buffer === undefined || inUse) return;
    this.#lastStats = new Map(this.#buffer.readers.map((reader) => [reader.cpu, reader.stats()]));
    this.#buffer = undefined;
    this.callbacks.unloadTraceBuffer(task);
  }

  /** Drops the events of `cpu`, of all without one. A CPU that has no ring is passed over. */
  reset(cpu: CpuFilter, task: HostTask): Promise<void> {
    return this.#lock.run(() => {
      this.#buffer?.reset(cpu, task);
      this.#tryUnload(task);
      if (cpu === 'all') this.#lastStats.clear();
      else this.#lastStats.delete(cpu);
    });
  }

  /**
   * Becomes a reader of `cpu`: loads the buffer, and keeps it until `putReader`.
   *
   * @throws ErrnoError what the load gives; ENODEV for a CPU without a ring.
   */
  getReader(cpu: CpuFilter, task: HostTask): Promise<RemoteBuffer> {
    return this.#lock.run(() => {
      try {
        const buffer = this.#load(task);
        if (buffer.select(cpu).length === 0)
          throw new ErrnoError('ENODEV', `cpu ${cpu} has no ring`);
        this.#addReader(buffer);
        return buffer;
      } catch (error) {
        this.#tryUnload(task);
        throw error;
      }
    });
  }

  #addReader(buffer: RemoteBuffer): void {
    if (this.#nrReaders++ === 0) this.#poll = setInterval(() => buffer.poll(), POLL_MS);
  }

  putReader(): Promise<void> {
    return this.#lock.run(() => {
      if (--this.#nrReaders === 0) clearInterval(this.#poll);
      this.#tryUnload(KERNEL_THREAD); // A file is released by whoever happens to run then.
    });
  }

  /** Stops tracing and frees every waiting reader, for good. */
  async shutDown(): Promise<void> {
    await this.setTracing(false, KERNEL_THREAD);
    for (const pipe of this.pipes) pipe.hangUp();
  }

  /** Becomes a reader of the loaded buffer until `putReader`. Undefined when none is loaded. */
  getReaderIfLoaded(): Promise<RemoteBuffer | undefined> {
    return this.#lock.run(() => {
      if (this.#buffer) this.#addReader(this.#buffer);
      return this.#buffer;
    });
  }

  isEnabled(event: RemoteEvent): boolean {
    return this.#enabled.has(event.id);
  }

  enableEvent(event: RemoteEvent, on: boolean, task: HostTask): void {
    if (on === this.isEnabled(event)) return;
    this.callbacks.enableEvent(event.id, on, task);
    if (on) this.#enabled.add(event.id);
    else this.#enabled.delete(event.id);
  }

  /** Tries every event, and throws the first error afterwards. */
  enableAllEvents(on: boolean, task: HostTask): void {
    const errors: unknown[] = [];
    for (const event of this.callbacks.events) {
      try {
        this.enableEvent(event, on, task);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Of `events`: `0`, `1`, or `X` when some are enabled and some are not. */
  enabledSummary(events: readonly RemoteEvent[]): string {
    const on = events.filter((event) => this.isEnabled(event)).length;
    if (on === 0) return '0\n';
    return on === events.length ? '1\n' : 'X\n';
  }

  /** The lines of per_cpu/cpuN/stats; all zero when no buffer is loaded. */
  stats(cpu: number): Promise<RemoteStats> {
    return this.#lock.run(() => this.#statsOf(this.#buffer?.select(cpu)[0]?.stats()));
  }

  /** The same, and when none is loaded those of the last one. */
  statsUntilReset(cpu: number): Promise<RemoteStats> {
    return this.#lock.run(() =>
      this.#statsOf(this.#buffer ? this.#buffer.select(cpu)[0]?.stats() : this.#lastStats.get(cpu)),
    );
  }

  #statsOf(stats: RingStats = EMPTY): RemoteStats {
    return { ...stats, nowTs: this.callbacks.now() };
  }
}

const EMPTY: RingStats = { entries: 0, overrun: 0, bytes: 0, oldestEventTs: 0, readEvents: 0 };

export type RemoteStats = RingStats & { readonly nowTs: number };

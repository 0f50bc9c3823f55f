import type { HostTask } from '../host-task.ts';
import type { RemoteCallbacks, RemotePages } from './remote.ts';
import { RemoteReader } from './remote-reader.ts';
import type { SharedMemory } from './shared-memory.ts';

/** One CPU, or the kernel's RING_BUFFER_ALL_CPUS. */
export type CpuFilter = number | 'all';

/**
 * A loaded buffer as the host sees it, all CPUs together: the kernel's trace_buffer made by
 * ring_buffer_alloc_remote(). Consumes from several CPUs in the order of their time stamps.
 */
export class RemoteBuffer {
  readonly #callbacks: RemoteCallbacks;
  /** Of the CPUs that are or were up, in the order of their numbers; and of the others. */
  #readers: readonly RemoteReader[] = [];
  #down: readonly { reader: RemoteReader; timesUp: number }[];
  readonly #waiters = new Map<CpuFilter, Set<() => void>>();
  readonly #watchers = new Map<CpuFilter, Set<() => void>>();
  /** By CPU, how many events had been written at the last poll. */
  readonly #written = new Map<number, number>();

  constructor(memory: SharedMemory, rings: readonly RemotePages[], callbacks: RemoteCallbacks) {
    this.#callbacks = callbacks;
    this.#down = rings.map((ring) => ({
      reader: new RemoteReader(memory, ring, callbacks),
      timesUp: callbacks.timesUp(ring.cpu),
    }));
    this.#noticeCpusUp(); // Now, as a CPU may go off before its first reader comes.
  }

  /** In the order of their CPU numbers; those of CPUs that have been up since the load. */
  get readers(): readonly RemoteReader[] {
    if (this.#down.length > 0) this.#noticeCpusUp();
    return this.#readers;
  }

  #noticeCpusUp(): void {
    const up = this.#down.filter(({ reader: { cpu }, timesUp }) => {
      const cameUp = this.#callbacks.timesUp(cpu) !== timesUp;
      return cameUp || this.#callbacks.isOnline(cpu);
    });
    this.#down = this.#down.filter((down) => !up.includes(down));
    const readers = up.map(({ reader }) => reader);
    this.#readers = [...this.#readers, ...readers].sort((a, b) => a.cpu - b.cpu);
  }

  /** The readers that a file of `cpu` reads from: none when that CPU has no ring. */
  select(cpu: CpuFilter): readonly RemoteReader[] {
    return cpu === 'all' ? this.readers : this.readers.filter((reader) => reader.cpu === cpu);
  }

  /**
   * Looks for events, and wakes those that wait for them or watch. First every CPU's counters, then
   * the wake-ups: a merged read must not see one CPU's events without another's earlier ones.
   */
  poll(): void {
    const readers = this.readers;
    for (const reader of readers) reader.poll();
    const unread = readers.filter((reader) => !reader.empty);
    const fresh = readers.filter((reader) => this.#hasGrown(reader));
    for (const { cpu } of unread) this.#wake(cpu);
    if (unread.length > 0) this.#wake('all');
    for (const { cpu } of fresh) this.#tell(cpu);
    if (fresh.length > 0) this.#tell('all');
  }

  #hasGrown({ cpu, written }: RemoteReader): boolean {
    const last = this.#written.get(cpu) ?? 0;
    this.#written.set(cpu, written);
    return written !== last;
  }

  isEmpty(cpu: CpuFilter = 'all'): boolean {
    return this.select(cpu).every((reader) => reader.empty);
  }

  /** Calls `wake` once, when a poll finds events of `cpu`. Returns how to stop waiting. */
  wait(cpu: CpuFilter, wake: () => void): () => void {
    const waiters = this.#waiters.get(cpu) ?? new Set();
    this.#waiters.set(cpu, waiters.add(wake));
    return () => waiters.delete(wake);
  }

  /** Calls `tell` each time that a poll finds new events of `cpu`. Returns how to stop that. */
  watch(cpu: CpuFilter, tell: () => void): () => void {
    const watchers = this.#watchers.get(cpu) ?? new Set();
    this.#watchers.set(cpu, watchers.add(tell));
    return () => watchers.delete(tell);
  }

  #tell(cpu: CpuFilter): void {
    for (const tell of this.#watchers.get(cpu) ?? []) tell();
  }

  #wake(cpu: CpuFilter): void {
    const waiters = this.#waiters.get(cpu);
    this.#waiters.delete(cpu);
    for (const wake of waiters ?? []) wake();
  }

  reset(cpu: CpuFilter, task: HostTask): void {
    for (const reader of this.select(cpu)) reader.reset(task);
  }
}

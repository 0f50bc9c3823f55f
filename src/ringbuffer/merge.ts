import type { HostTask } from '../host-task.ts';
import type { RemoteReader } from './remote-reader.ts';

/** What a merge needs of a reader. */
export type Merged = Pick<RemoteReader, 'cpu' | 'ts' | 'empty' | 'peek' | 'consume' | 'passOver'>;

/**
 * The events of several CPUs in the order of their times; at a tie the lowest CPU's is first. By
 * the counters of the readers' last poll: what comes later is for another merge.
 *
 * A heap, so that with 64 CPUs an event takes a few comparisons more than with one, and not 64.
 * Each reader in it has peeked its next event; the first of the heap has the oldest.
 */
export class Merge<Reader extends Merged = RemoteReader> {
  readonly #heap: Reader[] = [];
  readonly #task: HostTask;

  constructor(readers: readonly Reader[], task: HostTask) {
    this.#task = task;
    for (const reader of readers) if (this.#hasNext(reader)) this.#heap.push(reader);
    for (let at = (this.#heap.length >>> 1) - 1; at >= 0; at--) this.#siftDown(at);
  }

  /** The reader that has peeked the oldest event; undefined when there are none. */
  get oldest(): Reader | undefined {
    return this.#heap[0];
  }

  /** Takes the oldest event. */
  consume(): void {
    this.oldest?.consume();
    this.#goOn();
  }

  /** Takes the oldest event, which is not shown. */
  passOver(): void {
    this.oldest?.passOver();
    this.#goOn();
  }

  #goOn(): void {
    const [oldest] = this.#heap;
    if (oldest === undefined) return;
    if (!this.#hasNext(oldest)) {
      const last = this.#heap.pop();
      if (last === undefined || last === oldest) return;
      this.#heap[0] = last;
    }
    this.#siftDown(0);
  }

  #hasNext(reader: Reader): boolean {
    return !reader.empty && reader.peek(this.#task);
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    const sinking = heap[from] as Reader;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const left = heap[child] as Reader;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, left)) child++;
      const first = heap[child] as Reader;
      if (!isBefore(first, sinking)) break;
      heap[at] = first;
      at = child;
    }
    heap[at] = sinking;
  }
}

const isBefore = (a: Merged, b: Merged): boolean => a.ts < b.ts || (a.ts === b.ts && a.cpu < b.cpu);

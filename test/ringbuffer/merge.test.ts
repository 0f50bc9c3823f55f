import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Merge, type Merged } from '../../src/ringbuffer/merge.ts';
import { TASK } from '../support/ring.ts';

/** A CPU with events at these times, of which a poll has seen so many. */
class Events implements Merged {
  readonly cpu: number;
  readonly #times: readonly number[];
  #left: number;
  #next = 0;

  constructor(cpu: number, times: readonly number[], polled = times.length) {
    this.cpu = cpu;
    this.#times = times;
    this.#left = polled;
  }

  get empty(): boolean {
    return this.#left <= 0;
  }

  get ts(): number {
    return this.#times[this.#next] as number;
  }

  peek(): boolean {
    return this.#next < this.#times.length;
  }

  consume(): void {
    this.#next++;
    this.#left--;
  }

  passOver(): void {
    this.consume();
  }
}

function merged(readers: readonly Events[]): [ts: number, cpu: number][] {
  const merge = new Merge(readers, TASK);
  const events: [number, number][] = [];
  for (let next = merge.oldest; next; next = merge.oldest) {
    events.push([next.ts, next.cpu]);
    merge.consume();
  }
  return events;
}

test('a merge has all events in the order of their times, the lowest CPU first at a tie', () => {
  const times = fc.array(fc.nat(20)).map((list) => list.sort((a, b) => a - b));
  fc.assert(
    fc.property(fc.array(times, { maxLength: 9 }), (cpus) => {
      const all = cpus.flatMap((list, cpu) => list.map((ts): [number, number] => [ts, cpu]));
      const sorted = all.sort(([ts, cpu], [otherTs, other]) => ts - otherTs || cpu - other);
      expect(merged(cpus.map((list, cpu) => new Events(cpu, list)))).toEqual(sorted);
    }),
  );
});

test('a merge ends with what the last poll had counted', () => {
  const readers = [new Events(0, [1, 3, 5], 2), new Events(1, [2, 4], 2), new Events(2, [0], 0)];
  expect(merged(readers)).toEqual([
    [1, 0],
    [2, 1],
    [3, 0],
    [4, 1],
  ]);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PAGE_DATA, pageCommit, pageTimeStamp } from '../../src/ringbuffer/buffer-page.ts';
import { metaNrSubbufs, metaOverrun, metaPagesLost } from '../../src/ringbuffer/meta-page.ts';
import { NOT_RESERVED } from '../../src/ringbuffer/simple-ring-buffer.ts';
import { EVENTS_PER_PAGE, PAYLOAD, range, TASK, TestRing } from '../support/ring.ts';
import { SteppedMemory, Steps, WouldWait } from '../support/stepped-memory.ts';

describe('an event on its page', () => {
  const RING_PAGE = 1; // The writer starts on the page after the reader's.
  const bytes = ({ ram, pages }: TestRing, from: number, to: number): string =>
    Buffer.from(ram.bytes.slice(pages[RING_PAGE], (pages[RING_PAGE] ?? 0) + 64))
      .subarray(PAGE_DATA + from, PAGE_DATA + to)
      .toString('hex');

  test('is a header with the length in words and the ns since the last one, then the payload', () => {
    const ring = new TestRing(3, { payload: 4 });
    ring.clock.ns = 1_234_567_890_123;
    ring.write();
    ring.clock.ns += 1_500;
    ring.write();

    expect(bytes(ring, 0, 8)).toBe('01000000' + '00000000');
    expect(bytes(ring, 8, 16)).toBe('81bb0000' + '01000000'); // 1500 << 5 | 1
    expect(pageTimeStamp(ring.ram, ring.pages[RING_PAGE] ?? 0)).toBe(1_234_567_890_123);
    expect(pageCommit(ring.ram, ring.pages[RING_PAGE] ?? 0)).toBe(16);
  });

  test('has a TIME_EXTEND before it from 2^27 ns on', () => {
    const ring = new TestRing(3, { payload: 4 });
    ring.write();
    ring.clock.ns += 2 ** 27 - 1;
    ring.write();
    expect(bytes(ring, 8, 16)).toBe('e1ffffff' + '01000000');
    ring.clock.ns += 200_000_000;
    ring.write();
    expect(bytes(ring, 16, 24)).toBe('1e40787d' + '01000000');
    expect(bytes(ring, 24, 32)).toBe('01000000' + '02000000');
  });

  test('has its length in a word of its own above 28 words', () => {
    const ring = new TestRing(3, { payload: 4 });
    const at = ring.ring.reserve(113, ring.clock);
    ring.ring.commit();
    expect(bytes(ring, 0, 8)).toBe('00000000' + '78000000'); // 116 + 4
    expect(at).toBe((ring.pages[RING_PAGE] ?? 0) + PAGE_DATA + 8);
    ring.write();
    expect(ring.reader.peek(TASK)).toBe(true);
    expect(ring.reader.length).toBe(116);
    ring.reader.consume();
    expect(ring.read().numbers).toEqual([0]);
  });

  test('is never before the last one, even if the clock was set back', () => {
    const ring = new TestRing(3, { payload: 4 });
    ring.write();
    ring.clock.ns -= 500;
    ring.write();
    ring.reader.peek(TASK);
    ring.reader.consume();
    ring.reader.peek(TASK);
    expect(ring.reader.ts).toBe(1_000);
  });
});

describe('a ring', () => {
  test('takes events only while it is enabled', () => {
    const ring = new TestRing(3);
    expect(ring.ring.disable()).toBe(true);
    expect(ring.ring.reserve(PAYLOAD, ring.clock)).toBe(NOT_RESERVED);
    expect(ring.ring.disable()).toBe(false);
    ring.ring.enable();
    ring.write();
    expect(ring.read().numbers).toEqual([0]);
  });

  test('tells its reader how many pages it has', () => {
    const ring = new TestRing(5);
    expect(metaNrSubbufs(ring.ram, ring.meta)).toBe(5);
  });

  test('keeps every event for a reader that keeps up', () => {
    const ring = new TestRing(3);
    for (let round = 0; round < 20; round++) {
      ring.write(EVENTS_PER_PAGE + 7);
      const from = round * (EVENTS_PER_PAGE + 7);
      expect(ring.read()).toEqual({ numbers: range(from, from + EVENTS_PER_PAGE + 7), lost: 0 });
    }
  });

  test('overwrites its oldest page when full, and counts what was on it', () => {
    const ring = new TestRing(3); // Two pages of them turn: the third page overwrites the first.
    ring.write(2 * EVENTS_PER_PAGE + 1);
    expect(metaOverrun(ring.ram, ring.meta)).toBe(EVENTS_PER_PAGE);
    expect(metaPagesLost(ring.ram, ring.meta)).toBe(1);
    expect(ring.read()).toEqual({
      numbers: range(EVENTS_PER_PAGE, 2 * EVENTS_PER_PAGE + 1),
      lost: EVENTS_PER_PAGE,
    });
  });

  test('is empty after a reset, wherever its writer and its reader were', () => {
    for (const before of [0, 5, EVENTS_PER_PAGE + 3, 5 * EVENTS_PER_PAGE + 9]) {
      const ring = new TestRing(4);
      ring.write(before);
      ring.read(3);
      ring.reader.reset(TASK);
      expect(ring.read()).toEqual({ numbers: [], lost: 0 });

      const after = ring.written;
      ring.write(EVENTS_PER_PAGE + 2);
      expect(ring.read()).toEqual({ numbers: range(after, after + EVENTS_PER_PAGE + 2), lost: 0 });
    }
  });

  test('gives its pages back, the meta page first', () => {
    const ring = new TestRing(3);
    ring.write(3);
    expect(ring.ring.teardown()).toEqual([ring.meta, ...ring.pages]);
    expect(ring.ring.loaded).toBe(false);
    expect(() => ring.ring.swapReaderPage()).toThrow('ENODEV');
  });
});

// The lock-free claim itself. A read, with its swap, and a write, with its tail move, are each a
// handful of atomic steps. Stop one before any of its steps, let the other side run for as long
// as it likes, and go on. The allowed outcomes:
//
//   - every event is read at most once, and in order;
//   - what is missing in between is counted as lost: by the end exactly; before that at most one
//     swap late, since a writer can lap the ring in the middle of one;
//   - nothing is counted as lost that was not.
describe('between any two steps of the other side', () => {
  interface Turn {
    readonly who: 'reader' | 'writer';
    readonly step: number;
    readonly burst: number;
  }

  const MAX_STEPS = 60; // More than either takes: then the intruder comes after it.
  const turn = fc.record<Turn>({
    who: fc.constantFrom('reader', 'writer'),
    step: fc.nat(MAX_STEPS),
    burst: fc.oneof(fc.nat(20), fc.nat(5 * EVENTS_PER_PAGE)),
  });

  test('every event is accounted for', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 6 }),
        fc.array(turn, { minLength: 1, maxLength: 8 }),
        (nrPages, turns) => {
          const steps = new Steps();
          const ring = new TestRing(nrPages, {
            view: (buffer) => new SteppedMemory(buffer, steps),
          });
          const account = new Account();
          for (const { who, step, burst } of turns) {
            if (who === 'reader') {
              ring.write(burst);
              steps.preempt(
                step,
                () => ring.write(burst),
                () => account.take(ring.read(2)),
              );
            } else {
              // Just before the page is full, so that the writer moves its tail in mid-race.
              ring.write(burst);
              steps.preempt(
                step,
                () => account.take(ring.read(burst)),
                () => ring.write(),
              );
            }
            account.isPlausible();
          }
          account.take(ring.read());
          account.isPlausible();
          expect(account.read + account.lost).toBe(ring.written);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test.each([0, 1, 2, 3])(
    'a writer that moves its tail meets a swap at each step, %i pages ahead',
    (ahead) => {
      const probe = filledToTheBrim(ahead);
      const nrSteps = probe.steps.count(() => probe.ring.write());
      expect(nrSteps).toBeGreaterThan(10);
      for (let step = 0; step < nrSteps; step++) {
        const { ring, steps } = filledToTheBrim(ahead);
        const account = new Account();
        const { preempted } = steps.preempt(
          step,
          () => account.take(ring.read(1)),
          () => ring.write(),
        );
        expect(preempted).toBe(true);
        ring.write(3);
        account.take(ring.read());
        account.isPlausible();
        expect(account.read + account.lost).toBe(ring.written);
      }
    },
  );

  test('a reset drops an event whole, or waits until it is', () => {
    let waited = 0;
    for (let step = 0, preempted = true; preempted; step++) {
      const steps = new Steps();
      const ring = new TestRing(3, { view: (buffer) => new SteppedMemory(buffer, steps) });
      ring.write(2);
      const reset = () => {
        try {
          ring.reader.reset(TASK);
        } catch (error) {
          if (!(error instanceof WouldWait)) throw error;
          waited++;
        }
      };
      ({ preempted } = steps.preempt(step, reset, () => ring.write()));
      ring.write(2);
      const { numbers } = ring.read();
      expect(numbers, `step ${step}`).toEqual(range(5 - numbers.length, 5));
      expect(ring.reader.written, `step ${step}`).toBe(numbers.length);
    }
    expect(waited).toBeGreaterThan(0);
  });

  test('a ring that turns once in the midst of a swap: the loss is told where it was', () => {
    for (let step = 0, preempted = true; preempted; step++) {
      const { ring, steps } = filledToTheBrim(2);
      const turn = () => ring.write(3 * EVENTS_PER_PAGE);
      const first = steps.preempt(step, turn, () => ring.read(1));
      preempted = first.preempted;
      expect(first.result.lost, `step ${step}`).toBe(first.result.numbers[0]);
    }
  });

  /** A ring of three whose tail page is full, `ahead` pages after its first. */
  function filledToTheBrim(ahead: number): { ring: TestRing; steps: Steps } {
    const steps = new Steps();
    const ring = new TestRing(4, {
      view: (buffer) => new SteppedMemory(buffer, steps),
    });
    ring.write((ahead + 1) * EVENTS_PER_PAGE);
    return { ring, steps };
  }

  class Account {
    read = 0;
    lost = 0;
    #next = 0;
    #missing = 0;

    take({ numbers, lost }: { numbers: number[]; lost: number }): void {
      this.lost += lost;
      this.read += numbers.length;
      for (const number of numbers) {
        if (number < this.#next) throw new Error(`${number} after ${this.#next - 1}`);
        this.#missing += number - this.#next;
        this.#next = number + 1;
      }
    }

    isPlausible(): void {
      expect(this.lost).toBeLessThanOrEqual(this.#missing);
    }
  }
});

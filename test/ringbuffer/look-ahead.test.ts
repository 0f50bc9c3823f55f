import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LookedAhead } from '../../src/ringbuffer/remote-reader.ts';
import { type Event, readEvents, readPages, unreadEvents } from '../support/read-back.ts';
import { TASK, TestRing } from '../support/ring.ts';

/** Pages of a ring that nothing here fills. */
const LARGE = 85;
/** Of 4 bytes and a header each. */
const EVENTS_ON_A_PAGE = 510;

/** A ring of which readers look ahead now and then, and take what they saw, or let it be. */
class LookingRing extends TestRing {
  readonly #seen: { ahead: LookedAhead; events: Event[] }[] = [];

  look(read: (ring: TestRing) => Event[]): void {
    this.reader.peek(TASK); // What is lost before the next event is known already then.
    this.reader.startLookAhead();
    const events = read(this);
    this.#seen.push({ events, ahead: this.reader.endLookAhead() });
  }

  /** What the last look saw, or the first. Undefined when that is not any more what comes next. */
  takeSeen(which: 'last' | 'first' = 'last'): Event[] | undefined {
    const seen = which === 'last' ? this.#seen.pop() : this.#seen.shift();
    if (!seen || !this.reader.canSkipTo(seen.ahead)) return undefined;
    this.reader.skipTo(seen.ahead);
    return seen.events;
  }
}

const reading = fc.oneof(
  fc.record({ read: fc.constant(readEvents), max: fc.nat(5) }),
  fc.record({ read: fc.constant(readEvents), max: fc.nat(600) }),
  fc.record({ read: fc.constant(readPages), max: fc.nat(4) }),
);
const write = fc.record({
  do: fc.constant('write' as const),
  count: fc.nat(200),
  payload: fc.constantFrom(4, 40),
});
const take = fc.record({
  do: fc.constant('take' as const),
  which: fc.constantFrom('first' as const, 'last' as const),
});
const step = fc.oneof(
  { arbitrary: write, weight: 4 },
  { arbitrary: fc.record({ do: fc.constant('read' as const), reading }), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant('look' as const), reading }), weight: 4 },
  { arbitrary: take, weight: 3 },
  { arbitrary: fc.record({ do: fc.constant('reset' as const) }), weight: 1 },
);
const steps = fc.array(step, { maxLength: 40, size: 'max' });
const RUNS = { numRuns: 300 };

// Nothing is lost in a ring as large as this one: with and without a look, everything is the same.
test('a look ahead takes nothing, and shows what comes next', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const looking = new LookingRing(LARGE);
      const plain = new TestRing(LARGE);
      for (const step of list) {
        if (step.do === 'write') {
          for (const ring of [looking, plain]) {
            ring.payload = step.payload;
            for (let n = 0; n < step.count; n++) {
              ring.clock.ns += 10;
              ring.write();
            }
          }
        } else if (step.do === 'read') {
          const { read, max } = step.reading;
          expect(read(looking, max)).toEqual(read(plain, max));
        } else if (step.do === 'look') {
          looking.look((ring) => step.reading.read(ring, step.reading.max));
        } else if (step.do === 'reset') {
          for (const ring of [looking, plain]) ring.reader.reset(TASK);
        } else {
          const seen = looking.takeSeen(step.which);
          if (seen) expect(readEvents(plain, seen.length)).toEqual(seen);
        }
        expect(looking.reader.stats()).toEqual(plain.reader.stats());
        expect(unreadEvents(looking)).toEqual(unreadEvents(plain));
      }
    }),
    RUNS,
  );
});

test('what a small ring loses meanwhile is told of, once', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const ring = new LookingRing(5);
      let next = 0;
      const take = (events: readonly Event[]): void => {
        for (const { number, lost } of events) {
          if (lost === undefined) expect(number).toBeGreaterThan(next);
          else expect(number).toBe(next + lost);
          next = number + 1;
        }
      };
      for (const step of list) {
        if (step.do === 'write') {
          ring.payload = step.payload;
          ring.write(step.count);
        } else if (step.do === 'read') take(step.reading.read(ring, step.reading.max));
        else if (step.do === 'look') ring.look((it) => step.reading.read(it, step.reading.max));
        else if (step.do === 'take') take(ring.takeSeen(step.which) ?? []);
      }
      take(readEvents(ring, Number.POSITIVE_INFINITY));
      const { overrun, readEvents: read, entries } = ring.reader.stats();
      expect({ all: overrun + read, entries }).toEqual({ all: ring.written, entries: 0 });
    }),
    RUNS,
  );
});

test('a look ahead ends where there is no room for copies, and goes on from there', () => {
  const ring = new LookingRing(LARGE);
  ring.payload = 4;
  let next = 0;
  for (let round = 0; round < 3; round++) {
    ring.write(60 * EVENTS_ON_A_PAGE);
    let seen: Event[] = [];
    ring.look((it) => {
      seen = readPages(it, 60);
      return seen;
    });
    expect(seen.length).toBe((33 + 1) * EVENTS_ON_A_PAGE); // So many copies, and the reader page.
    const read = [...(ring.takeSeen() ?? []), ...readEvents(ring, Number.POSITIVE_INFINITY)];
    expect(read.map(({ number }) => number)).toEqual(Array.from(read, (_, index) => next + index));
    next += read.length;
    expect(next).toBe(ring.written);
  }
});

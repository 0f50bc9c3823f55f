import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PAGE_DATA, PAGE_DATA_SIZE } from '../../src/ringbuffer/buffer-page.ts';
import { type Event, readEvents, readPages } from '../support/read-back.ts';
import { TestRing } from '../support/ring.ts';

// A page is taken without a look at its events; what comes after it must not notice.
test('pages and events, read by turns, are all that was written, at its time', () => {
  const step = fc.record({
    write: fc.nat(80),
    // A payload of up to 112 bytes has its length in the header, a larger one after it.
    runs: fc.array(
      fc.record({
        payload: fc.constantFrom(4, 10, 112, 116, 300),
        length: fc.integer({ min: 1, max: 6 }),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    deltaNs: fc.oneof(fc.nat(1_000), fc.constant(2 ** 27), fc.nat(2 ** 40)),
    events: fc.nat(20),
    pages: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const ring = new TestRing(80);
      // An earlier turn of the ring has left events of 4 bytes behind what is committed.
      for (const page of ring.pages) ring.ram.fill(page + PAGE_DATA, PAGE_DATA_SIZE, 0x21);
      const written: Event[] = [];
      const read: Event[] = [];
      for (const { write, runs, deltaNs, events, pages } of steps) {
        const payloads = runs.flatMap(({ payload, length }) => Array(length).fill(payload));
        for (let n = 0; n < write; n++) {
          ring.payload = payloads[n % payloads.length];
          ring.clock.ns += deltaNs;
          written.push({ number: ring.written, ts: ring.clock.ns, lost: 0 });
          ring.write();
        }
        read.push(...readEvents(ring, events));
        if (pages) read.push(...readPages(ring, Number.POSITIVE_INFINITY));
      }
      read.push(...readPages(ring, Number.POSITIVE_INFINITY));
      expect(read).toEqual(written);
      expect(ring.reader.stats()).toMatchObject({ readEvents: written.length, entries: 0 });
    }),
  );
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PAGE_DATA, PAGE_DATA_SIZE } from '../../src/ringbuffer/buffer-page.ts';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TASK, TestRing } from '../support/ring.ts';

interface Read {
  readonly number: number;
  readonly ts: number;
}

/** All that is there, a page at a time. */
function byPages({ reader }: TestRing): Read[] {
  const image = new Uint8Array(PAGE_SIZE);
  const events: Read[] = [];
  while (reader.readPage(image, TASK)) {
    const page = getPageImage(image);
    const view = new DataView(page.data.buffer, page.data.byteOffset, page.data.length);
    for (const { ts, at } of pageEvents(page))
      events.push({ number: view.getUint32(at, true), ts });
  }
  return events;
}

function byEvents({ reader, ram }: TestRing, count: number): Read[] {
  const events: Read[] = [];
  while (events.length < count && reader.peek(TASK)) {
    events.push({ number: ram.view.getUint32(reader.payload, true), ts: reader.ts });
    reader.consume();
  }
  return events;
}

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
    readEvents: fc.nat(20),
    readPages: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const ring = new TestRing(80);
      // An earlier turn of the ring has left events of 4 bytes behind what is committed.
      for (const page of ring.pages) ring.ram.fill(page + PAGE_DATA, PAGE_DATA_SIZE, 0x21);
      const written: Read[] = [];
      const read: Read[] = [];
      for (const { write, runs, deltaNs, readEvents, readPages } of steps) {
        const payloads = runs.flatMap(({ payload, length }) => Array(length).fill(payload));
        for (let n = 0; n < write; n++) {
          ring.payload = payloads[n % payloads.length];
          ring.clock.ns += deltaNs;
          written.push({ number: ring.written, ts: ring.clock.ns });
          ring.write();
        }
        read.push(...byEvents(ring, readEvents));
        if (readPages) read.push(...byPages(ring));
      }
      read.push(...byPages(ring));
      expect(read).toEqual(written);
      expect(ring.reader.stats()).toMatchObject({ readEvents: written.length, entries: 0 });
    }),
  );
});

import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { RingIterator } from '../../src/ringbuffer/ring-iterator.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TASK, type TestRing } from './ring.ts';

/** An event that was read back. */
export interface Event {
  readonly number: number;
  readonly ts: number;
  /** How many were said to be lost before it; undefined when its page had no room to say how many. */
  readonly lost: number | undefined;
}

/** Up to `max` events; as a merge does, it has peeked one more at its end. */
export function readEvents({ reader }: TestRing, max: number): Event[] {
  const events: Event[] = [];
  while (reader.peek(TASK) && events.length < max) {
    const number = reader.memory.view.getUint32(reader.payload, true);
    events.push({ number, ts: reader.ts, lost: reader.lostEvents });
    reader.consume();
  }
  return events;
}

/** The events of up to `max` pages. */
export function readPages({ reader }: TestRing, max: number): Event[] {
  const image = new Uint8Array(PAGE_SIZE);
  const events: Event[] = [];
  for (let n = 0; n < max && reader.readPage(image, TASK); n++) events.push(...eventsOn(image));
  return events;
}

/** All events that wait, of which this takes none. */
export function unreadEvents({ reader }: TestRing): Event[] {
  const iterator = new RingIterator(reader.cpu, reader.unreadPages(TASK));
  const events: Event[] = [];
  for (; iterator.peek(); iterator.consume()) {
    const number = iterator.memory.view.getUint32(iterator.payload, true);
    events.push({ number, ts: iterator.ts, lost: iterator.lostEvents });
  }
  return events;
}

function eventsOn(image: Uint8Array): Event[] {
  const page = getPageImage(image);
  const view = new DataView(page.data.buffer, page.data.byteOffset, page.data.length);
  return [...pageEvents(page)].map(({ ts, at }, index) => ({
    number: view.getUint32(at, true),
    ts,
    lost: index === 0 ? page.lost : 0,
  }));
}

import { describe, expect, test } from 'vitest';
import { getPageImage, pageEvents, putPageImage } from '../../src/ringbuffer/page-image.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { EVENTS_PER_PAGE, PAYLOAD, range, TASK, TestRing } from '../support/ring.ts';

const PAGES = 4;

/** The events' numbers, and how many were lost before. */
function read(ring: TestRing): { numbers: number[]; lost: number | undefined } | undefined {
  const page = new Uint8Array(PAGE_SIZE);
  if (!ring.reader.readPage(page, TASK)) return undefined;
  const image = getPageImage(page);
  const view = new DataView(image.data.buffer, image.data.byteOffset);
  const numbers = [...pageEvents(image)].map(({ at, length }) => {
    expect(length).toBe(PAYLOAD);
    return view.getUint32(at, true);
  });
  return { numbers, lost: image.lost };
}

describe('a page image', () => {
  test('is the unread rest of one page, and only once', () => {
    const ring = new TestRing(PAGES);
    ring.write(EVENTS_PER_PAGE + 5);
    expect(ring.read(3).numbers).toEqual([0, 1, 2]);
    expect(read(ring)).toEqual({ numbers: range(3, EVENTS_PER_PAGE), lost: 0 });
    expect(read(ring)).toEqual({ numbers: range(EVENTS_PER_PAGE, EVENTS_PER_PAGE + 5), lost: 0 });
    expect(read(ring)).toBeUndefined();
    ring.write(2);
    expect(read(ring)?.numbers).toHaveLength(2); // Of the page that the writer is still on.
    expect(ring.reader.stats()).toMatchObject({ entries: 0, readEvents: EVENTS_PER_PAGE + 7 });
  });

  test('says how many events were lost before it, where there is room to', () => {
    const ring = new TestRing(PAGES);
    ring.write(5 * EVENTS_PER_PAGE);
    const { numbers = [], lost } = read(ring) ?? {};
    expect(lost).toBe(numbers[0]);
    expect(read(ring)?.lost).toBe(0);
  });

  test('has the times that the events have, over gaps that a header cannot hold', () => {
    const ring = new TestRing(PAGES);
    for (const ns of [1_000, 1_500, 2 ** 27 + 1_500, 2 ** 40]) {
      ring.clock.ns = ns;
      ring.write();
    }
    const page = new Uint8Array(PAGE_SIZE);
    ring.reader.readPage(page, TASK);
    expect([...pageEvents(getPageImage(page))].map(({ ts }) => ts)).toEqual([
      1_000,
      1_500,
      2 ** 27 + 1_500,
      2 ** 40,
    ]);
  });

  test('starts after what was read of the page, with the time of there', () => {
    const ring = new TestRing(PAGES);
    for (const ns of [1_000, 5_000, 2 ** 30]) {
      ring.clock.ns = ns;
      ring.write();
    }
    ring.read(2);
    ring.reader.peek(TASK); // Past the TIME_EXTEND.
    const page = new Uint8Array(PAGE_SIZE);
    ring.reader.readPage(page, TASK);
    expect([...pageEvents(getPageImage(page))].map(({ ts }) => ts)).toEqual([2 ** 30]);
  });

  // As a 6.18 kernel writes it: the flags are of type int, whose sign goes on.
  test.each([
    [0, '1400000000000000'],
    [7, '140000c0ffffffff'],
    [undefined, '14000080ffffffff'],
  ])('with %s lost has the commit %s', (lost, commit) => {
    const page = new Uint8Array(PAGE_SIZE).fill(0xff);
    const data = Uint8Array.from(range(1, 21));
    putPageImage(page, { timeStamp: 1_234_567_890_123, data, lost });
    expect(Buffer.from(page.subarray(0, 8)).toString('hex')).toBe('cb04fb711f010000');
    expect(Buffer.from(page.subarray(8, 16)).toString('hex')).toBe(commit);
    expect(getPageImage(page)).toEqual({ timeStamp: 1_234_567_890_123, data, lost });
  });

  test('of a full page has no room for the number', () => {
    const page = new Uint8Array(PAGE_SIZE);
    putPageImage(page, { timeStamp: 0, data: new Uint8Array(4_076), lost: 3 });
    expect(getPageImage(page).lost).toBeUndefined();
  });

  test('cannot hold more than a page', () => {
    const page = new Uint8Array(PAGE_SIZE);
    page[9] = 0x10;
    expect(() => getPageImage(page)).toThrow(RangeError);
  });

  test('steps over padding, and ends where it goes to the end', () => {
    const data = new Uint8Array(32);
    const view = new DataView(data.buffer);
    view.setUint32(0, (5 << 5) | 29, true);
    view.setUint32(4, 8, true);
    view.setUint32(12, (6 << 5) | 1, true);
    view.setUint32(20, 29, true);
    expect([...pageEvents({ timeStamp: 100, data, lost: 0 })]).toEqual([
      { ts: 111, at: 16, length: 4 },
    ]);
  });
});

import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TestMachine } from '../support/machine.ts';

const RAW = 'per_cpu/cpu0/trace_pipe_raw';
/** The selftest event has an id and a number. */
const EVENTS_PER_PAGE = 255;

/** The numbers of the selftest events on some page images. */
function idsOf(pages: string): number[] {
  const bytes = Buffer.from(pages, 'latin1');
  expect(bytes.length % PAGE_SIZE).toBe(0);
  const ids: number[] = [];
  for (let at = 0; at < bytes.length; at += PAGE_SIZE) {
    const image = getPageImage(bytes.subarray(at, at + PAGE_SIZE));
    const data = Buffer.from(image.data);
    for (const event of pageEvents(image)) ids.push(data.readUInt32LE(event.at + 2));
  }
  return ids;
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, n) => from + n);

async function machineWith(events: number, kb = 16): Promise<{ machine: TestMachine; fd: number }> {
  const machine = new TestMachine();
  await machine.setup(kb);
  await machine.selftest(events);
  return { machine, fd: await machine.open(RAW, constants.O_RDONLY) };
}

const nonblock = (machine: TestMachine) => machine.io({ nonblock: true });

describe('trace_pipe_raw', () => {
  test('gives a page image for each page’s worth of a read, as many as there are', async () => {
    const { machine, fd } = await machineWith(2 * EVENTS_PER_PAGE + 3);
    const first = await machine.read(fd, PAGE_SIZE);
    expect(idsOf(first)).toEqual(range(1, EVENTS_PER_PAGE));
    const rest = await machine.read(fd, 131_072);
    expect(rest).toHaveLength(2 * PAGE_SIZE);
    expect(idsOf(rest)).toEqual(range(EVENTS_PER_PAGE + 1, 2 * EVENTS_PER_PAGE + 3));
    await machine.close(fd);
  });

  test('gives a page that is not full, and later what came to it', async () => {
    const { machine, fd } = await machineWith(3);
    expect(idsOf(await machine.read(fd, PAGE_SIZE))).toEqual([1, 2, 3]);
    await machine.selftest(2);
    expect(idsOf(await machine.read(fd, PAGE_SIZE))).toEqual([4, 5]);
    await machine.close(fd);
  });

  test('goes on with a page that a short read has begun, whatever comes meanwhile', async () => {
    const { machine, fd } = await machineWith(3);
    const start = await machine.read(fd, 100);
    expect(start).toHaveLength(100);
    await machine.selftest(2);
    const rest = await machine.read(fd, 2 * PAGE_SIZE);
    expect(rest).toHaveLength(PAGE_SIZE - 100);
    expect(idsOf(start + rest)).toEqual([1, 2, 3]);
    expect(idsOf(await machine.read(fd, PAGE_SIZE + 100))).toEqual([4, 5]);
    expect(await machine.read(fd, 0)).toBe('');
    await machine.close(fd);
  });

  test('waits when there is nothing, or says EAGAIN', async () => {
    const { machine, fd } = await machineWith(0);
    await expect(machine.read(fd, PAGE_SIZE, 0, nonblock(machine))).rejects.toThrow('EAGAIN:');
    await expect(machine.read(fd, 10, 0, nonblock(machine))).rejects.toThrow('EAGAIN:');
    const reading = machine.read(fd, PAGE_SIZE);
    await machine.selftest(1);
    await machine.advance(101);
    expect(idsOf(await reading)).toEqual([1]);
    await machine.close(fd);
  });

  test('is ready while there are events, or the rest of a page', async () => {
    const { machine, fd } = await machineWith(1);
    expect(machine.fs.poll(fd)).not.toBe(0);
    await machine.read(fd, 100);
    expect(machine.fs.poll(fd)).not.toBe(0);
    await machine.read(fd, PAGE_SIZE);
    expect(machine.fs.poll(fd)).toBe(0);
    await machine.close(fd);
  });

  test('says before which page how many were lost', async () => {
    const { machine, fd } = await machineWith(6 * EVENTS_PER_PAGE);
    const bytes = Buffer.from(await machine.read(fd, 131_072), 'latin1');
    const images = range(0, bytes.length / PAGE_SIZE - 1).map((page) =>
      getPageImage(bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)),
    );
    // A full page has no room for the number.
    expect(images.map(({ lost }) => lost)).toEqual([undefined, 0, 0, 0]);
    expect(idsOf(bytes.toString('latin1'))).toEqual(
      range(2 * EVENTS_PER_PAGE + 1, 6 * EVENTS_PER_PAGE),
    );
    await machine.close(fd);
  });

  test('shares the events with the other pipes: each goes to one reader', async () => {
    const { machine, fd } = await machineWith(2);
    const lines = await machine.drain();
    expect(lines).toHaveLength(2);
    await expect(machine.read(fd, PAGE_SIZE, 0, nonblock(machine))).rejects.toThrow('EAGAIN:');
    await machine.selftest(1);
    expect(idsOf(await machine.read(fd, PAGE_SIZE))).toEqual([3]);
    expect(await machine.drain()).toEqual([]);
    expect(await machine.cat('per_cpu/cpu0/stats')).toMatch(
      /^entries: 0\n(.*\n)+read events: 3\n$/,
    );
    await machine.close(fd);
  });

  test('has a trace’s times, and goes after a text reader that stopped in mid-page', async () => {
    const { machine, fd } = await machineWith(3);
    const text = (await machine.drain()).join('\n');
    await machine.selftest(1);
    const image = getPageImage(Buffer.from(await machine.read(fd, PAGE_SIZE), 'latin1'));
    const [event] = pageEvents(image);
    const last = Number(/([\d.]+): selftest id=3$/.exec(text)?.[1]);
    expect((event?.ts ?? 0) / 1e9).toBeCloseTo(last + 0.000_001, 6);
    await machine.close(fd);
  });

  test('keeps the buffer loaded, and lets it go', async () => {
    const machine = new TestMachine();
    const fd = await machine.open(RAW, constants.O_RDONLY);
    expect(await machine.cat('buffer_size_kb')).toBe('7 (loaded)\n');
    await machine.close(fd);
    expect(await machine.cat('buffer_size_kb')).toBe('7 (unloaded)\n');
  });
});

describe('a splice from an instance’s trace_pipe_raw', () => {
  const INSTANCE_RAW = '../per_cpu/cpu0/trace_pipe_raw';
  const PAGE = 4096;

  async function spliced(events: number) {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(events);
    const fd = await machine.open(INSTANCE_RAW, constants.O_RDONLY);
    /** What the page cache asks; resolves to what it gets, or to an error's text. */
    const ask = (offset: number): Promise<number | string> =>
      machine.read(fd, PAGE, offset, machine.io({ forCache: true })).then(
        (page) => page.length,
        (error) => error.code,
      );
    return { machine, fd, ask };
  }

  test('gets what there is and ends, and so does the next one', async () => {
    const { machine, fd, ask } = await spliced(3);
    expect(await ask(0)).toBe(PAGE);
    expect(await ask(PAGE)).toBe('EAGAIN'); // To read ahead,
    expect(await ask(PAGE)).toBe('EAGAIN'); // and then the page itself.
    expect(await ask(PAGE)).toBe('EAGAIN');
    await machine.selftest();
    expect(await ask(PAGE)).toBe(PAGE);
    await machine.close(fd);
  });

  test('is told a size to splice up to, in each view', async () => {
    const { machine, fd } = await spliced(0);
    expect((await machine.fs.stat('/per_cpu/cpu0/trace_pipe_raw')).size).toBe(2 ** 40);
    expect((await machine.fs.stat(`/hypervisor/${RAW}`)).size).toBe(2 ** 40);
    await machine.close(fd);
  });

  test('takes no event for a page fault of a mapping', async () => {
    const { machine, fd } = await spliced(3);
    const fault = machine.io({ forCache: true, isPageFault: () => true });
    await expect(machine.read(fd, PAGE, 0, fault)).rejects.toThrow('EIO:');
    expect(await machine.read(fd, PAGE, 0)).toHaveLength(PAGE);
    await machine.close(fd);
  });

  test('ends when a descriptor is closed, and from then on empty is the end', async () => {
    const { machine, fd, ask } = await spliced(0);
    const waiting = machine.read(fd, PAGE);
    await machine.advance(1);
    machine.fs.flush(fd);
    expect(await waiting).toBe('');
    expect(await ask(0)).toBe(0);
    expect(await machine.read(fd, PAGE, 0, nonblock(machine))).toBe('');
    await machine.selftest();
    expect(await machine.read(fd, PAGE, 0, nonblock(machine))).toHaveLength(PAGE);
    await machine.close(fd);
  });
});

import { constants } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { RemoteReader } from '../../src/ringbuffer/remote-reader.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TestMachine } from '../support/machine.ts';

const PIPE = '../trace_pipe';
const RAW = '../per_cpu/cpu0/trace_pipe_raw';
const FILTER = '../events/hypervisor/selftest/filter';
const POLLIN = 0x041;

const idsOf = (text: string): number[] =>
  [...text.matchAll(/id=(\d+)$/gm)].map(([, id]) => Number(id));

/** A machine of which an instance's pipe is open that shows the events from number 9 on. */
async function filtered(pipe: string, kb = 16): Promise<{ machine: TestMachine; fd: number }> {
  const machine = new TestMachine();
  await machine.setup(kb);
  await machine.write(FILTER, 'id >= 9');
  return { machine, fd: await machine.open(pipe, constants.O_RDONLY) };
}

describe.for([PIPE, RAW])('poll(2) on an instance’s %s', (pipe) => {
  test('says readable only when a read would give something', async () => {
    const { machine, fd } = await filtered(pipe);
    await machine.selftest(8);
    machine.tick(10_000);
    expect(machine.fs.poll(fd)).toBe(0);
    await machine.selftest();
    expect(machine.fs.poll(fd)).toBe(POLLIN);
    const io = machine.io({ nonblock: true });
    expect(await machine.read(fd, PAGE_SIZE, 0, io)).not.toBe('');
    expect(machine.fs.poll(fd)).toBe(0);
    await machine.close(fd);
  });

  test('wakes its caller for events that pass, and for no others', async () => {
    const { machine, fd } = await filtered(pipe);
    const onNews = vi.fn();
    expect(machine.fs.poll(fd, onNews)).toBe(0);
    await machine.selftest(8);
    await machine.advance(300);
    expect(onNews).not.toHaveBeenCalled();
    await machine.selftest();
    await machine.advance(300);
    expect(onNews).toHaveBeenCalledTimes(1);
    await machine.close(fd);
  });

  test('leaves the CPUs alone that the mask leaves out', async () => {
    const { machine, fd } = await filtered(pipe);
    await machine.write('../tracing_cpumask', '2');
    await machine.selftest(20);
    expect(machine.fs.poll(fd)).toBe(0);
    await machine.close(fd);
  });

  test('finds what passes behind any number of events that do not', async () => {
    const { machine, fd } = await filtered(pipe, 1_024);
    await machine.write(FILTER, 'id >= 40000');
    await machine.selftest(40_000);
    const onNews = vi.fn();
    machine.fs.poll(fd, onNews);
    await vi.waitFor(() => expect(machine.fs.poll(fd)).toBe(POLLIN));
    await vi.waitFor(() => expect(onNews).toHaveBeenCalled());
    await machine.close(fd);
  });
});

test('events lost before some that do not pass are told of with the next that does', async () => {
  const { machine, fd } = await filtered(PIPE, 8);
  const raw = await machine.open(RAW, constants.O_RDONLY);
  await machine.write(FILTER, 'id > 2000');
  await machine.selftest(2_000);
  expect(machine.fs.poll(fd)).toBe(0);
  await machine.selftest(1);
  const text = await machine.read(fd);
  expect(text).toMatch(/^CPU:0 \[LOST \d+ EVENTS\]\n.*id=2001\n$/);

  await machine.write(FILTER, 'id > 4001');
  await machine.selftest(2_000);
  expect(machine.fs.poll(raw)).toBe(0);
  await machine.selftest(1);
  const image = getPageImage(Buffer.from(await machine.read(raw, PAGE_SIZE), 'latin1'));
  expect([...pageEvents(image)]).toHaveLength(1);
  expect(image.lost).toBeGreaterThan(1_000);
  for (const open of [fd, raw]) await machine.close(open);
});

test('a read that may not wait goes through all that there is before it says EAGAIN', async () => {
  const { machine, fd } = await filtered(PIPE, 1_024);
  await machine.write(FILTER, 'id == 40000');
  await machine.selftest(40_000);
  const io = machine.io({ nonblock: true });
  expect(idsOf(await machine.read(fd, 65_536, 0, io))).toEqual([40_000]);
  await machine.close(fd);
});

test('a read for the page cache gives what is there, and never waits', async () => {
  const { machine, fd } = await filtered(RAW);
  const ask = (offset: number) =>
    machine.read(fd, PAGE_SIZE, offset, machine.io({ forCache: true }));
  await expect(ask(0)).rejects.toThrow('EAGAIN:');
  await machine.selftest(8);
  await expect(ask(0)).rejects.toThrow('EAGAIN:');
  await machine.selftest();
  expect(await ask(0)).toHaveLength(PAGE_SIZE);
  for (let n = 0; n < 4; n++) await expect(ask(PAGE_SIZE)).rejects.toThrow('EAGAIN:');
  await machine.close(fd);
});

describe('the end of an instance’s trace_pipe', () => {
  test('makes it readable, and wakes who polls', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    await machine.read(fd);
    const onNews = vi.fn();
    expect(machine.fs.poll(fd, onNews)).toBe(0);
    await machine.write('tracing_on', '0');
    expect(onNews).toHaveBeenCalled();
    expect(machine.fs.poll(fd)).toBe(POLLIN);
    expect(await machine.read(fd)).toBe('');
    await machine.close(fd);
  });

  test('comes to a read that waits already', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    await machine.read(fd);
    const waiting = machine.read(fd);
    await machine.advance(1);
    await machine.write('tracing_on', '0');
    expect(await waiting).toBe('');
    await machine.close(fd);
  });
});

test('two reads that wait on one open pipe are each ended by their own signal', async () => {
  const machine = new TestMachine();
  await machine.setup();
  const fd = await machine.open('trace_pipe', constants.O_RDONLY);
  const signals: (() => void)[] = [];
  const io = machine.io({ onInterrupt: (signal) => signals.push(signal) });
  const reads = [machine.read(fd, 100, 0, io), machine.read(fd, 100, 0, io)];
  await machine.advance(1);
  for (const signal of signals) signal();
  for (const read of reads) await expect(read).rejects.toThrow('EINTR:');
  await machine.close(fd);
});

describe('many open pipes', () => {
  const COUNT = 300;

  async function opened(): Promise<{ machine: TestMachine; fds: number[] }> {
    const machine = new TestMachine();
    await machine.setup();
    const fds: number[] = [];
    for (let n = 0; n < COUNT; n++) {
      const fd = await machine.open('trace_pipe', constants.O_RDONLY);
      machine.fs.poll(fd, () => {});
      fds.push(fd);
    }
    return { machine, fds };
  }

  test('have one timer between them, and look at the ring once for all', async () => {
    const { machine, fds } = await opened();
    expect(vi.getTimerCount()).toBeLessThan(10);
    const poll = vi.spyOn(RemoteReader.prototype, 'poll').mockClear();
    await machine.advance(1_000);
    expect(poll.mock.calls.length).toBeLessThanOrEqual(10 * 2); // Ten times, on two CPUs.
    for (const fd of fds) await machine.close(fd);
    expect(vi.getTimerCount()).toBeLessThan(3);
  });

  test('are all woken by an event, which one of them gets', async () => {
    const { machine, fds } = await opened();
    const got: string[] = [];
    const reads = fds.map((fd) => machine.read(fd).then((text) => got.push(text)));
    await machine.selftest();
    await machine.advance(200);
    expect(got.map(idsOf)).toEqual([[1]]);
    await machine.selftest(1);
    await machine.advance(200);
    expect(got.map(idsOf)).toEqual([[1], [2]]);
    void reads;
  });

  test('are opened, polled and read without a look at the others', async () => {
    const { machine, fds } = await opened();
    const poll = vi.spyOn(RemoteReader.prototype, 'poll').mockClear();
    const one = await machine.open('trace_pipe', constants.O_RDONLY);
    machine.fs.poll(one, () => {});
    await machine.selftest();
    expect(await machine.read(one)).toContain('id=1');
    expect(poll.mock.calls.length).toBeLessThan(20);
    for (const fd of [...fds, one]) await machine.close(fd);
  });
});

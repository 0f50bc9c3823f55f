import { constants } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { InstanceOutput } from '../../src/fs/instance-output.ts';
import { TestMachine } from '../support/machine.ts';

const TRACE = '../trace';
const FILTER = '../events/hypervisor/selftest/filter';

const idsOf = (text: string): number[] =>
  [...text.matchAll(/id=(\d+)$/gm)].map(([, id]) => Number(id));

async function machineWith(
  events: number,
  kb: number,
): Promise<{ machine: TestMachine; fd: number }> {
  const machine = new TestMachine();
  await machine.setup(kb);
  await machine.selftest(events);
  return { machine, fd: await machine.open(TRACE, constants.O_RDONLY) };
}

/** Reads on to the end, `size` bytes at a time. */
async function readToEnd(machine: TestMachine, fd: number, size: number): Promise<string> {
  let text = '';
  for (let read = '?'; read !== ''; text += read) read = await machine.read(fd, size, text.length);
  return text;
}

/** All of what a new open shows. */
async function cat(machine: TestMachine): Promise<string> {
  const fd = await machine.open(TRACE, constants.O_RDONLY);
  const text = await readToEnd(machine, fd, 65_536);
  await machine.close(fd);
  return text;
}

describe('an open trace', () => {
  test('is made into text as it is read, not before', async () => {
    const print = vi.spyOn(InstanceOutput.prototype, 'print').mockClear();
    const { machine, fd } = await machineWith(20_000, 512);
    expect(print.mock.calls.length).toBe(0);
    await machine.read(fd, 4_096);
    expect(print.mock.calls.length).toBeLessThan(2_000);
    const turns: number[] = [];
    const count = (): void => {
      turns.push(print.mock.calls.length);
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    expect(idsOf(await machine.read(fd, 4_000_000))).toHaveLength(20_000);
    clearImmediate(next);
    const steps = turns.map((calls, index) => calls - (turns[index - 1] ?? 0));
    expect(Math.max(...steps)).toBeLessThan(2_000); // Lines without a turn for anybody else.
    await machine.close(fd);
  });

  test('gives the same text in reads of any size, and by pread(2)', async () => {
    const { machine, fd } = await machineWith(2_000, 64);
    const text = await cat(machine);
    expect(idsOf(text)).toHaveLength(2_000);
    for (const size of [7_001, 65_536, 131_072]) {
      const other = await machine.open(TRACE, constants.O_RDONLY);
      expect(await readToEnd(machine, other, size)).toBe(text);
      await machine.close(other);
    }
    for (const offset of [100_000, 99_990, 3, 100_001, text.length - 1, text.length, 10 ** 9])
      expect(await machine.read(fd, 50, offset)).toBe(text.slice(offset, offset + 50));
    await machine.close(fd);
  });

  test('shows what was there when it was opened, and from the start again what is there now', async () => {
    const { machine, fd } = await machineWith(3, 64);
    await machine.selftest(2);
    const text = await readToEnd(machine, fd, 65_536);
    expect(idsOf(text)).toEqual([1, 2, 3]);
    expect(text).toContain('entries-in-buffer/entries-written: 3/3 ');
    expect(idsOf(await machine.read(fd, 65_536, 0))).toEqual([1, 2, 3, 4, 5]);
    await machine.close(fd);
  });

  test('leaves out what the writer has overwritten, and says so', async () => {
    const { machine, fd } = await machineWith(1_000, 16);
    await machine.selftest(300); // The reader page and a ring of four hold 1,275: one page goes.
    const text = await readToEnd(machine, fd, 131_072);
    expect(idsOf(text)).toHaveLength(1_000 - 255);
    expect(text).toMatch(/id=255\nCPU:0 \[LOST EVENTS\]\n.*id=511\n/);
    await machine.close(fd);
  });

  test('counts and shows what passes a filter, however far in between', async () => {
    const { machine, fd } = await machineWith(0, 1_024);
    await machine.close(fd);
    await machine.write(FILTER, 'id == 1 || id == 40000');
    await machine.selftest(40_000);
    const text = await cat(machine);
    expect(idsOf(text)).toEqual([1, 40_000]);
    expect(text).toContain('entries-in-buffer/entries-written: 2/40000 ');
  });

  test('has no more than the page that it is on after a reset, and keeps the buffer loaded', async () => {
    const { machine, fd } = await machineWith(1_000, 64);
    await machine.write('tracing_on', '0');
    await machine.write(TRACE, '');
    expect(await machine.cat('buffer_size_kb')).toBe('64 (loaded)\n');
    expect(idsOf(await readToEnd(machine, fd, 65_536)).length).toBeLessThan(256);
    expect(idsOf(await cat(machine))).toEqual([]);
    await machine.close(fd);
    expect(await machine.cat('buffer_size_kb')).toBe('64 (unloaded)\n');
  });

  test('of a buffer that is not loaded does not load it', async () => {
    const machine = new TestMachine();
    expect(await cat(machine)).toContain('entries-in-buffer/entries-written: 0/0 ');
    expect(await machine.cat('buffer_size_kb')).toBe('7 (unloaded)\n');
  });

  test('can be read by two at once', async () => {
    const { machine, fd } = await machineWith(2_000, 64);
    const text = await cat(machine);
    const offsets = [150_000, 10, 70_000, 140_000];
    const reads = await Promise.all(offsets.map((offset) => machine.read(fd, 1_000, offset)));
    expect(reads).toEqual(offsets.map((offset) => text.slice(offset, offset + 1_000)));
    await machine.close(fd);
  });

  test('ends a read for a signal', async () => {
    const { machine, fd } = await machineWith(20_000, 512);
    const io = machine.io({ onInterrupt: (signal) => void setImmediate(signal) });
    await expect(machine.read(fd, 50, 10 ** 9, io)).rejects.toThrow('EINTR:');
    await machine.close(fd);
  });
});

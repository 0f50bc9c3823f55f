import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { HypercallName } from '../../src/hypervisor-sim/hypercalls.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { TestMachine } from '../support/machine.ts';

const state = (machine: TestMachine): Promise<string> => machine.cat('buffer_size_kb');
const LOADED = '7 (loaded)\n';
const UNLOADED = '7 (unloaded)\n';

/** The state table of the series: what each event does from each state. */
describe('the buffer', () => {
  test('is loaded by a start, and unloaded by the stop if nothing is left', async () => {
    const machine = new TestMachine();
    await machine.startTracing();
    expect(await state(machine)).toBe(LOADED);
    await machine.write('tracing_on', '0');
    expect(await state(machine)).toBe(UNLOADED);
  });

  test('is loaded by opening a pipe, and unloaded by the last close', async () => {
    const machine = new TestMachine();
    const a = await machine.open('trace_pipe', constants.O_RDONLY);
    const b = await machine.open('per_cpu/cpu0/trace_pipe', constants.O_RDONLY);
    await machine.close(a);
    expect(await state(machine)).toBe(LOADED);
    await machine.close(b);
    expect(await state(machine)).toBe(UNLOADED);
  });

  test('stays for unread events, until they are read and the reader is gone', async () => {
    const machine = new TestMachine();
    await machine.write('events/hypervisor/selftest/enable', '1');
    await machine.startTracing();
    await machine.selftest();
    await machine.write('tracing_on', '0');
    expect(await state(machine)).toBe(LOADED);
    expect(await machine.drain()).toHaveLength(1);
    expect(await state(machine)).toBe(UNLOADED);
  });

  test('stays for a reader after the stop', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('trace_pipe', constants.O_RDONLY);
    await machine.startTracing();
    await machine.write('tracing_on', '0');
    expect(await state(machine)).toBe(LOADED);
    await machine.close(fd);
    expect(await state(machine)).toBe(UNLOADED);
  });

  test('goes with a reset while off, and stays with one while on', async () => {
    const machine = new TestMachine();
    await machine.write('events/hypervisor/selftest/enable', '1');
    await machine.startTracing();
    await machine.selftest();
    await machine.write('trace', '');
    expect(await state(machine)).toBe(LOADED);
    await machine.selftest();
    await machine.write('tracing_on', '0');
    expect(await state(machine)).toBe(LOADED);
    await machine.write('trace', '');
    expect(await state(machine)).toBe(UNLOADED);
  });

  test('of the first reader keeps its size when tracing starts', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('trace_pipe', constants.O_RDONLY);
    await machine.write('buffer_size_kb', '64');
    machine.hypercalls.length = 0;
    await machine.startTracing();
    expect(machine.hypercalls).toEqual(['__pkvm_update_clock_tracing', '__pkvm_enable_tracing']);
    await machine.close(fd);
  });

  test('comes back as often as it is wanted, and leaves no page behind', async () => {
    const machine = new TestMachine();
    const free = machine.pages.freePages;
    for (let round = 0; round < 3; round++) {
      await machine.setup();
      await machine.selftest(300);
      expect(await machine.drain()).toHaveLength(300);
      await machine.write('tracing_on', '0');
      expect(machine.pages.freePages).toBe(free);
    }
    expect(walkOwnership(machine.hypervisor)).toMatchObject({ shared: 0, hyp: 0 });
  });
});

describe('a start', () => {
  test('makes the hypercalls of the series, in their order', async () => {
    const machine = new TestMachine();
    await machine.write('buffer_size_kb', '16');
    await machine.startTracing();
    // 2 CPUs, each with a meta page, a reader page and a ring of four.
    expect(machine.hypercalls).toEqual([
      ...Array.from({ length: 12 }, () => '__pkvm_host_share_hyp'),
      '__pkvm_load_tracing',
      '__pkvm_update_clock_tracing',
      '__pkvm_enable_tracing',
    ]);
  });

  test('takes 100 ms, and everybody else waits that long', async () => {
    const machine = new TestMachine();
    const done: string[] = [];
    void machine.write('tracing_on', '1').then(() => done.push('start'));
    void machine.cat('tracing_on').then((text) => done.push(`tracing_on ${text}`));
    await machine.advance(99);
    expect(done).toEqual([]);
    await machine.advance(2);
    expect(done).toEqual(['start', 'tracing_on 1\n']);
  });

  test('sets the clock to the host’s boot clock, and corrects it twice a second', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.advance(1_600);
    await machine.selftest();
    const [line] = await machine.drain();
    expect(line).toBe('[000]\t 1236.268891: selftest id=1');
    expect(machine.warnings).toEqual([]);
  });

  test.each<[HypercallName, number]>([
    ['__pkvm_host_share_hyp', 1],
    ['__pkvm_host_share_hyp', 5],
    ['__pkvm_load_tracing', 1],
    ['__pkvm_update_clock_tracing', 1],
    ['__pkvm_enable_tracing', 1],
  ])('that fails at %s number %i leaves nothing behind', async (failing, nth) => {
    const machine = new TestMachine();
    const free = machine.pages.freePages;
    machine.failHypercall(failing, nth);
    const start = expect(machine.write('tracing_on', '1')).rejects.toThrow('EPERM:');
    await machine.advance(101);
    await start;

    expect(await machine.cat('tracing_on')).toBe('0\n');
    expect(await state(machine)).toBe(UNLOADED);
    expect(machine.pages.freePages).toBe(free);
    expect(walkOwnership(machine.hypervisor)).toEqual({
      host: 1_024,
      shared: 0,
      hyp: 0,
      guest: 0,
      pending: 0,
      pinned: 0,
    });
    await machine.startTracing();
    expect(await machine.cat('tracing_on')).toBe('1\n');
  });

  test('that is one already does nothing, and so does a stop', async () => {
    const machine = new TestMachine();
    await machine.write('tracing_on', '0');
    expect(machine.hypercalls).toEqual([]);
    await machine.startTracing();
    machine.hypercalls.length = 0;
    await machine.write('tracing_on', '5');
    expect(machine.hypercalls).toEqual([]);
  });
});

test('a stop delivers what there is before its write returns', async () => {
  const machine = new TestMachine();
  await machine.setup();
  const fd = await machine.open('trace_pipe', constants.O_RDONLY);
  const order: string[] = [];
  const reading = machine.read(fd).then((text) => order.push(text.trim()));
  await machine.selftest();
  await machine.write('tracing_on', '0').then(() => order.push('stopped'));
  await reading;
  expect(order).toEqual([expect.stringContaining('selftest id=1'), 'stopped']);
});

describe('after somebody else has torn the buffer down', () => {
  async function tornDown(): Promise<TestMachine> {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(3);
    machine.hypervisor.onTasksCpu(0, (cpu) =>
      machine.hypervisor.call(cpu, '__pkvm_teardown_tracing'),
    );
    return machine;
  }

  test('a reset succeeds, and nobody is told that the hypervisor refused it', async () => {
    const machine = await tornDown();
    await machine.write('trace', '');
    await machine.write('per_cpu/cpu0/trace', '');
    expect(machine.hypercalls.filter((name) => name === '__pkvm_reset_tracing')).toHaveLength(3);
  });

  test.each(['trace_pipe', 'per_cpu/cpu0/trace_pipe_raw', '../trace_pipe'])(
    'a read of %s finds no data, and no error',
    async (pipe) => {
      const machine = await tornDown();
      const fd = await machine.open(pipe, constants.O_RDONLY);
      const io = machine.io({ nonblock: true });
      await expect(machine.read(fd, 8_192, 0, io)).rejects.toThrow('EAGAIN:');
      await machine.close(fd);
    },
  );
});

test('a reset succeeds, also when the hypervisor refuses it', async () => {
  const machine = new TestMachine();
  await machine.setup();
  await machine.selftest(3);
  machine.failHypercall('__pkvm_reset_tracing', 1);
  await machine.write('trace', '');
  await machine.write('../trace', '');
});

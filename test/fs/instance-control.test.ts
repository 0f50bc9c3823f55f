import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { TestMachine } from '../support/machine.ts';

/** write(2) of a file of the top level: how much was taken, or the name of the error. */
async function write(machine: TestMachine, file: string, text: string): Promise<number | string> {
  const fd = await machine.open(`../${file}`, constants.O_WRONLY);
  try {
    return await machine.fs.write(fd, Buffer.from(text), machine.io());
  } catch (error) {
    return (error as { code: string }).code;
  } finally {
    await machine.close(fd);
  }
}

const selftestIds = (text: string): number[] =>
  [...text.matchAll(/selftest: id=(\d+)$/gm)].map(([, id]) => Number(id));

/** What a real 6.18 answered to the same, of events of its own. */
describe('set_event', () => {
  const SELFTEST = 'hypervisor:selftest\n';

  test.each([
    ['hypervisor:selftest hypervisor:host_smc\n', 20, SELFTEST], // A word at a time.
    ['hypervisor:selftest', 19, SELFTEST],
    [' selftest\n', 10, SELFTEST],
    ['*:selftest', 10, SELFTEST],
    [':selftest', 9, SELFTEST],
    ['hypervisor:selftes', 'EINVAL', ''],
    ['hypervisor:self*', 'EINVAL', ''],
    ['no:selftest', 'EINVAL', ''],
    ['*', 'EINVAL', ''],
    ['!', 'EINVAL', ''],
    ['\n', 1, ''],
    [' \n', 2, ''],
  ])('answers %j with %j', async (text, taken, shown) => {
    const machine = new TestMachine();
    expect(await write(machine, 'set_event', text)).toBe(taken);
    expect(await machine.cat('../set_event')).toBe(shown);
    expect((await machine.fs.stat('/set_event')).size).toBe(shown.length);
  });

  test('enables all, disables some, and is cleared by who truncates it', async () => {
    const machine = new TestMachine();
    expect(await write(machine, 'set_event', 'hypervisor:')).toBe(11);
    expect(await machine.cat('events/enable')).toBe('1\n');
    expect(await write(machine, 'set_event', '!selftest')).toBe(9);
    expect(await machine.cat('../set_event')).not.toContain('selftest');
    expect(await machine.cat('../set_event')).toContain('hypervisor:hyp_enter\n');
    await machine.write('../set_event', 'selftest');
    expect(await machine.cat('../set_event')).toBe('hypervisor:selftest\n');
    expect(await write(machine, 'set_event', '!:')).toBe(2);
    expect(await machine.cat('../set_event')).toBe('');
  });
});

describe('tracing_cpumask', () => {
  test.each([
    ['1\n', 2, '1\n'],
    ['1,\n', 3, '1\n'],
    [' 1 ', 3, '1\n'],
    ['0', 1, '0\n'],
    ['ff', 'EOVERFLOW', '3\n'],
    ['1 2', 'EOVERFLOW', '3\n'],
    ['0,1', 'EOVERFLOW', '3\n'],
    ['00000000000000003', 'EOVERFLOW', '3\n'],
    ['0x1', 'EINVAL', '3\n'],
    ['x', 'EINVAL', '3\n'],
    ['\n', 'EINVAL', '3\n'],
  ])('answers %j with %j', async (text, taken, shown) => {
    const machine = new TestMachine();
    expect(await write(machine, 'tracing_cpumask', text)).toBe(taken);
    expect(await machine.cat('../tracing_cpumask')).toBe(shown);
  });

  test('groups the digits of many CPUs', async () => {
    const machine = new TestMachine({ cpus: 40, memory: 16 * 1024 * 1024 });
    expect(await machine.cat('../tracing_cpumask')).toBe('ff,ffffffff\n');
    await machine.write('../tracing_cpumask', '1,00000002');
    expect(await machine.cat('../tracing_cpumask')).toBe('01,00000002\n');
  });

  test('keeps the events of other CPUs away', async () => {
    const machine = new TestMachine();
    await machine.setup();
    for (const cpu of [0, 1, 0, 1]) {
      machine.cpu = cpu;
      await machine.selftest();
    }
    await machine.write('../tracing_cpumask', '2');
    expect(selftestIds(await machine.cat('../trace'))).toEqual([2, 4]);
    expect(selftestIds((await machine.drain('../trace_pipe')).join('\n'))).toEqual([2, 4]);
  });
});

describe('the options', () => {
  test('are shown and set by name, and each in a file', async () => {
    const machine = new TestMachine();
    expect(await machine.cat('../trace_options')).toBe(
      'context-info\nnodisable_on_free\nfunction-trace\nirq-info\noverwrite\n',
    );
    await machine.write('../trace_options', ' disable_on_free\n');
    expect(await machine.cat('../options/disable_on_free')).toBe('1\n');
    await machine.write('../options/disable_on_free', '0\n');
    expect(await machine.cat('../trace_options')).toContain('\nnodisable_on_free\n');
  });

  test.each([
    ['trace_options', 'nonooverwrite'],
    ['trace_options', 'overwrite nooverwrite'],
    ['trace_options', '\n'],
    ['trace_options', 'nooverwrite'], // The hypervisor's rings cannot do that.
    ['options/overwrite', '2'],
    ['options/irq-info', ' 1'],
  ])('refuse to %s: %j', async (file, text) => {
    expect(await write(new TestMachine(), file, text)).toBe('EINVAL');
  });

  test('change the lines of trace as the kernel’s do', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    await machine.write('../options/irq-info', '0');
    expect(await machine.cat('../trace')).toMatch(
      /#\n# {11}TASK-PID {5}CPU# {5}TIMESTAMP {2}FUNCTION\n# {14}\| \| {9}\| {9}\| {9}\|\n {10}<idle>-0 {7}\[000\] +[\d.]+: selftest: id=1\n$/,
    );
    await machine.write('../options/context-info', '0');
    expect(await machine.cat('../trace')).toBe('# tracer: nop\n#\nselftest: id=1\n');
  });
});

describe('free_buffer', () => {
  test('gives the buffer back when it is closed', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    await machine.write('../free_buffer', 'x');
    expect(await machine.cat('../tracing_on')).toBe('1\n');
    expect(selftestIds(await machine.cat('../trace'))).toEqual([]);
  });

  test('stops tracing before that, with disable_on_free', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    await machine.write('../options/disable_on_free', '1');
    await machine.write('../free_buffer', 'x');
    expect(await machine.cat('../tracing_on')).toBe('0\n');
    expect(await machine.cat('buffer_size_kb')).toBe('16 (unloaded)\n');
  });
});

test('error_log shows the last eight errors of filters, until it is truncated', async () => {
  const machine = new TestMachine();
  await write(machine, 'events/hypervisor/selftest/filter', 'bogus == 1\n');
  await write(machine, 'events/hypervisor/selftest/filter', '(id == 1');
  const log = await machine.cat('../error_log');
  expect(log.replace(/^\[ *\d+\.\d{6}\]/gm, '[TIME]')).toBe(
    [
      '[TIME] event filter parse error: error: Field not found',
      '  Command: bogus == 1',
      '                 ^',
      "[TIME] event filter parse error: error: Too many '('",
      '  Command: (id == 1',
      '           ^',
      '',
    ].join('\n'),
  );
  await write(machine, 'events/hypervisor/filter', 'bogus == 3');
  expect((await machine.cat('../error_log')).match(/Couldn't find or set field/g)).toHaveLength(8);
  expect(await write(machine, 'error_log', 'x')).toBe(1);
  expect(await machine.cat('../error_log')).not.toBe('');
  await machine.write('../error_log', '');
  expect(await machine.cat('../error_log')).toBe('');
});

test.each(['selftest/filter', 'filter'])(
  'events/hypervisor/%s takes less than a page, as the kernel’s; a longer text changes nothing',
  async (file) => {
    const machine = new TestMachine();
    const filter = `events/hypervisor/${file}`;
    const text = (length: number): string => `id == ${length}`.padEnd(length);
    expect(await write(machine, filter, text(4_095))).toBe(4_095);
    expect(await write(machine, filter, text(4_096))).toBe('EINVAL');
    expect(await write(machine, filter, '!'.repeat(130_000))).toBe('EINVAL');
    expect(await machine.cat(`../${filter}`)).toContain('id == 4095\n');
    expect(await machine.cat('../error_log')).not.toContain('!');
  },
);

test('an event has no triggers, and takes none', async () => {
  const machine = new TestMachine();
  const trigger = 'events/hypervisor/selftest/trigger';
  expect(await machine.cat(`../${trigger}`)).toBe('# Available triggers:\n#\n');
  expect(await write(machine, trigger, 'traceoff')).toBe('EINVAL');
});

import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { HYP_REASON } from '../../src/hypervisor-sim/hyp-events.ts';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { NS_PER_MS, PAGE_SIZE } from '../../src/units.ts';
import { TestMachine } from '../support/machine.ts';

const INSTANCE = '../instances/hypervisor';

test('the top level and the instance have a tracefs’s files, beside the strict directory', () => {
  const { fs } = new TestMachine({ cpus: 1 });
  const common = [
    'buffer_size_kb',
    'buffer_total_size_kb',
    'current_tracer',
    'error_log',
    'events',
    'free_buffer',
    'options',
    'per_cpu',
    'set_event',
    'timestamp_mode',
    'trace',
    'trace_clock',
    'trace_options',
    'trace_pipe',
    'tracing_cpumask',
    'tracing_on',
  ];
  expect(fs.readdir('/instances/hypervisor').sort()).toEqual(common);
  expect(fs.readdir('/').sort()).toEqual(
    [
      ...common,
      'README',
      'available_events',
      'available_tracers',
      'hypervisor',
      'instances',
      'printk_formats',
      'saved_cmdlines',
    ].sort(),
  );
  expect(fs.readdir('/events').sort()).toEqual([
    'enable',
    'ftrace',
    'header_event',
    'header_page',
    'hypervisor',
  ]);
  expect(fs.readdir('/instances/hypervisor/events/hypervisor/selftest')).toEqual([
    'enable',
    'filter',
    'format',
    'id',
    'trigger',
  ]);
  expect(fs.readdir('/per_cpu/cpu0')).toEqual(['stats', 'trace', 'trace_pipe', 'trace_pipe_raw']);
});

/** A machine with some events, on a CPU that has run a vCPU. */
async function traced(): Promise<TestMachine> {
  const machine = new TestMachine();
  await machine.write('buffer_size_kb', '64\n');
  await machine.write(`${INSTANCE}/events/hypervisor/enable`, '1\n');
  await machine.startTracing();
  return machine;
}

describe('an instance’s events', () => {
  test('have the four common fields, of which the pid is the vCPU’s thread', async () => {
    const machine = await traced();
    const { hypervisor } = machine;
    const hyp = hypervisor.cpu(1);
    machine.cpu = 1;
    await machine.write('selftest_event', '1');
    hyp.pcpu.acquire();
    hyp.pcpu.vcpu = 1029;
    hyp.exit(HYP_REASON.eret_guest);
    machine.tick(200 * NS_PER_MS);
    hyp.enter(HYP_REASON.guest_exit);
    hyp.pcpu.vcpu = 0;
    hyp.exit(HYP_REASON.eret_host);
    hyp.pcpu.release();
    machine.cpu = 0; // Where the reader makes its hypercalls.

    const fd = await machine.open(`${INSTANCE}/per_cpu/cpu1/trace_pipe_raw`, constants.O_RDONLY);
    const page = Buffer.from(await machine.read(fd, PAGE_SIZE), 'latin1');
    await machine.close(fd);
    const image = getPageImage(page);
    const data = Buffer.from(image.data);
    const events = [...pageEvents(image)].map(({ ts, at }) => ({
      id: data.readUInt16LE(at),
      flags: data.readUInt16LE(at + 2),
      pid: data.readInt32LE(at + 4),
      ts,
      first: data.readUInt8(at + 8),
      vcpu: data.readInt32LE(at + 9),
    }));
    expect(events.map(({ id, pid }) => [id, pid])).toEqual([
      [60006, 0],
      [60011, 0],
      [60003, 0],
      [60007, 0],
      [60007, 1029],
      [60006, 1029],
      [60007, 0],
    ]);
    expect(events.every(({ flags }) => flags === 0)).toBe(true);
    expect(events.at(-2)).toMatchObject({ first: 5, vcpu: 1029 });
    const [before, after] = events.slice(-3);
    expect((after?.ts ?? 0) - (before?.ts ?? 0)).toBe(200 * NS_PER_MS);
    expect(await machine.cat('../saved_cmdlines')).toBe('1029 vm64-vcpu5\n');
  });

  test('are announced as they are', async () => {
    const machine = new TestMachine();
    expect(await machine.cat('../events/hypervisor/hyp_exit/format')).toBe(
      [
        'name: hyp_exit',
        'ID: 60007',
        'format:',
        '\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;',
        '\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;',
        '\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;',
        '\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;',
        '',
        '\tfield:u8 reason;\toffset:8;\tsize:1;\tsigned:0;',
        '\tfield:pid_t vcpu;\toffset:9;\tsize:4;\tsigned:1;',
        '',
        /^print fmt: .*$/m.exec(await machine.cat('events/hypervisor/hyp_exit/format'))?.[0],
        '',
      ].join('\n'),
    );
    expect(await machine.cat('../events/hypervisor/hyp_exit/id')).toBe('60007\n');
    expect(await machine.cat('../available_events')).toContain('hypervisor:hyp_exit\n');
  });

  test('fill as many pages as they need, and lose nothing between them', async () => {
    const machine = new TestMachine();
    await machine.setup(64);
    await machine.selftest(600);
    const fd = await machine.open('../per_cpu/cpu0/trace_pipe_raw', constants.O_RDONLY);
    const pages = Buffer.from(await machine.read(fd, 131_072), 'latin1');
    await machine.close(fd);
    const ids: number[] = [];
    for (let at = 0; at < pages.length; at += PAGE_SIZE) {
      const image = getPageImage(pages.subarray(at, at + PAGE_SIZE));
      const data = Buffer.from(image.data);
      for (const event of pageEvents(image)) ids.push(data.readUInt32LE(event.at + 8));
    }
    expect(ids).toEqual(Array.from({ length: 600 }, (_, n) => n + 1));
  });
});

test('an instance’s page has always room to say how many events were lost', async () => {
  const machine = new TestMachine();
  await machine.setup(8);
  await machine.selftest(2_000);
  const fd = await machine.open('../per_cpu/cpu0/trace_pipe_raw', constants.O_RDONLY);
  const page = Buffer.from(await machine.read(fd, PAGE_SIZE), 'latin1');
  await machine.close(fd);
  const image = getPageImage(page);
  const [first] = pageEvents(image);
  const id = Buffer.from(image.data).readUInt32LE((first?.at ?? 0) + 8);
  expect(image.lost).toBe(id - 1);
  expect(image.lost).toBeGreaterThan(0);
});

describe('an instance’s trace', () => {
  test('shows what waits, oldest first, and takes nothing', async () => {
    const machine = new TestMachine();
    await machine.setup(64);
    for (const cpu of [0, 1, 0, 1]) {
      machine.cpu = cpu;
      await machine.selftest();
    }
    const text = await machine.cat(`${INSTANCE}/trace`);
    expect(text).toContain('# tracer: nop\n#\n# entries-in-buffer/entries-written: 4/4   #P:2\n');
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.map((line) => line.replace(/[\d.]+: /, 'TIME: '))).toEqual([
      '          <idle>-0       [000] .....  TIME: selftest: id=1',
      '          <idle>-0       [001] .....  TIME: selftest: id=2',
      '          <idle>-0       [000] .....  TIME: selftest: id=3',
      '          <idle>-0       [001] .....  TIME: selftest: id=4',
    ]);
    expect(await machine.cat(`${INSTANCE}/trace`)).toBe(text);
    expect(await machine.cat(`${INSTANCE}/per_cpu/cpu1/trace`)).toMatch(/id=2\n.*id=4\n$/);
    expect(await machine.drain()).toHaveLength(4);
    expect(await machine.cat(`${INSTANCE}/trace`)).toContain('entries-written: 0/4 ');
  });

  test('shows all pages of a ring that turned, and none of what was read', async () => {
    const machine = new TestMachine();
    await machine.setup(16);
    await machine.selftest(2_000);
    const pipe = await machine.open('trace_pipe', constants.O_RDONLY);
    await machine.read(pipe, 8_000);
    const shown = [...(await machine.cat('../trace')).matchAll(/id=(\d+)$/gm)].map(([, id]) =>
      Number(id),
    );
    expect(shown.at(-1)).toBe(2_000);
    expect(shown.every((id, index) => index === 0 || id === (shown[index - 1] ?? 0) + 1)).toBe(
      true,
    );
    expect(shown.length).toBeGreaterThan(500);
    expect(await machine.drain()).toHaveLength(shown.length);
    await machine.close(pipe);
  });

  test('is emptied by O_TRUNC of a writer, and by nothing else', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(3);
    const fd = await machine.open('../trace', constants.O_WRONLY | constants.O_APPEND);
    await machine.fs.write(fd, Buffer.from('0'), machine.io());
    await machine.close(fd);
    expect(await machine.cat('../trace')).toContain('id=3');
    await machine.write('../trace', '0');
    expect(await machine.cat('../trace')).not.toContain('id=');
    expect(await machine.cat('../per_cpu/cpu0/stats')).toContain('entries: 0\n');
  });
});

test('an instance’s trace_pipe names the tasks', async () => {
  const machine = new TestMachine();
  await machine.setup();
  await machine.selftest();
  expect(await machine.drain(`${INSTANCE}/trace_pipe`)).toEqual([
    expect.stringMatching(/^ {10}<idle>-0 {7}\[000\] \.{5} +\d+\.\d{6}: selftest: id=1$/),
  ]);
});

test('an instance’s trace_pipe ends when tracing is off and all was read, a strict one never', async () => {
  const machine = new TestMachine();
  await machine.setup();
  await machine.selftest();
  const fd = await machine.open('../trace_pipe', constants.O_RDONLY);
  await machine.write('tracing_on', '0');
  expect(await machine.read(fd)).toContain('id=1\n');
  expect(await machine.read(fd)).toBe('');
  await expect(machine.read(fd, 100, 0, machine.io({ nonblock: true }))).rejects.toThrow('EAGAIN:');
  await machine.startTracing();
  const reading = machine.read(fd);
  await machine.selftest();
  await machine.advance(101);
  expect(await reading).toContain('id=2\n');
  await machine.close(fd);
});

test.each([
  ['current_tracer', 'nop', 'function', 'nop\n'],
  ['trace_clock', 'boot', 'local', '[boot]\n'],
  [
    'events/hypervisor/selftest/filter',
    '0',
    'foo == 1',
    'foo == 1\n    ^\nparse_error: Field not found\n\n',
  ],
  ['events/enable', '0', '2', '0\n'],
  ['events/hypervisor/selftest/enable', '1', 'x', '1\n'],
])('%s takes %s and refuses %s', async (file, good, bad, shown) => {
  const machine = new TestMachine();
  await machine.write(`../${file}`, `${good}\n`);
  await expect(machine.write(`../${file}`, `${bad}\n`)).rejects.toThrow('EINVAL:');
  expect(await machine.cat(`../${file}`)).toBe(shown);
});

describe('an instance’s filter', () => {
  const ids = (text: string): number[] =>
    [...text.matchAll(/id=(\d+)$/gm)].map(([, id]) => Number(id));

  async function filtered(filter: string): Promise<TestMachine> {
    const machine = new TestMachine();
    await machine.setup();
    await machine.write('../events/hypervisor/selftest/filter', filter);
    await machine.selftest(9);
    return machine;
  }

  test('keeps events from the trace, the pipes and the pages', async () => {
    const machine = await filtered('id >= 4 && !(id == 6)\n');
    expect(await machine.cat('../events/hypervisor/selftest/filter')).toBe(
      'id >= 4 && !(id == 6)\n',
    );
    const trace = await machine.cat('../trace');
    expect(ids(trace)).toEqual([4, 5, 7, 8, 9]);
    expect(trace).toContain('entries-in-buffer/entries-written: 5/9 ');
    expect(ids((await machine.drain('../trace_pipe')).join('\n'))).toEqual([4, 5, 7, 8, 9]);

    await machine.selftest(3);
    await machine.write('../events/hypervisor/selftest/filter', 'id == 11');
    const fd = await machine.open('../per_cpu/cpu0/trace_pipe_raw', constants.O_RDONLY);
    const image = getPageImage(Buffer.from(await machine.read(fd, PAGE_SIZE), 'latin1'));
    await machine.close(fd);
    const data = Buffer.from(image.data);
    expect([...pageEvents(image)].map(({ at }) => data.readUInt32LE(at + 8))).toEqual([11]);
  });

  test('is gone with 0, and of one that is refused nothing is left but what is wrong', async () => {
    const machine = await filtered('id == 1');
    await machine.write('../events/hypervisor/selftest/filter', '0\n');
    expect(await machine.cat('../events/hypervisor/selftest/filter')).toBe('none\n');
    await expect(machine.write('../events/hypervisor/selftest/filter', '(id == 1')).rejects.toThrow(
      'ENOENT:',
    );
    expect(ids(await machine.cat('../trace'))).toHaveLength(9);
  });

  test('of all events is set where the fields are, and says when there are none', async () => {
    const machine = await filtered('0');
    await machine.write('../events/hypervisor/filter', 'id == 2');
    expect(await machine.cat('../events/hypervisor/selftest/filter')).toBe('id == 2\n');
    expect(await machine.cat('../events/hypervisor/hyp_exit/filter')).toBe('none\n');
    expect(await machine.cat('../events/hypervisor/filter')).toMatch(
      /^### global filter ###\n(#.*\n){3}id == 2\n$/,
    );
    await machine.write('../events/hypervisor/filter', 'foo == 2');
    expect(await machine.cat('../events/hypervisor/filter')).toMatch(
      /\nfoo == 2\n\^\nparse_error: Couldn't find or set field in one of a subsystem's events\n\n$/,
    );
    await machine.write('../events/hypervisor/filter', '0');
    expect(await machine.cat('../events/hypervisor/selftest/filter')).toBe('none\n');
    expect(await machine.cat('../events/hypervisor/filter')).toBe('none\n');
  });

  test('looks at the CPU, the task and the common fields too', async () => {
    const machine = await filtered(
      'CPU == 0 && common_pid == 0 && comm == "<idle>" && common_type == 60011',
    );
    expect(ids(await machine.cat('../trace'))).toHaveLength(9);
    await machine.write('../events/hypervisor/selftest/filter', 'comm ~ "vm*"');
    expect(ids(await machine.cat('../trace'))).toHaveLength(0);
  });
});

test('events are switched for both views at once', async () => {
  const machine = new TestMachine();
  await machine.write(`${INSTANCE}/events/hypervisor/selftest/enable`, '1');
  expect(await machine.cat('events/hypervisor/selftest/enable')).toBe('1\n');
  expect(await machine.cat('../events/enable')).toBe('X\n');
  await machine.write('events/enable', '1');
  expect(await machine.cat(`${INSTANCE}/events/hypervisor/enable`)).toBe('1\n');
  expect(await machine.cat('../buffer_total_size_kb')).toBe('14\n');
});

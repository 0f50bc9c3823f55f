import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Node } from '../../src/fs/nodes.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { TestMachine } from '../support/machine.ts';

test('the tree is the kernel series’', () => {
  const { fs } = new TestMachine({ cpus: 1 });
  expect(tree(fs.lookup('/hypervisor'), 'hypervisor')).toEqual([
    'hypervisor/ 750',
    'hypervisor/buffer_size_kb 640',
    'hypervisor/events/ 755',
    'hypervisor/events/enable 640',
    'hypervisor/events/header_event 440',
    'hypervisor/events/header_page 440',
    'hypervisor/events/hypervisor/ 755',
    ...[
      '__hyp_printk',
      'host_ffa_call',
      'host_hcall',
      'host_mem_abort',
      'host_smc',
      'hyp_enter',
      'hyp_exit',
      'iommu_idmap',
      'iommu_idmap_complete',
      'psci_mem_protect',
      'selftest',
      'vcpu_illegal_trap',
    ].flatMap((event) => [
      `hypervisor/events/hypervisor/${event}/ 755`,
      `hypervisor/events/hypervisor/${event}/enable 640`,
      `hypervisor/events/hypervisor/${event}/format 440`,
      `hypervisor/events/hypervisor/${event}/id 440`,
    ]),
    'hypervisor/per_cpu/ 750',
    'hypervisor/per_cpu/cpu0/ 750',
    'hypervisor/per_cpu/cpu0/stats 440',
    'hypervisor/per_cpu/cpu0/trace 440',
    'hypervisor/per_cpu/cpu0/trace_pipe 440',
    'hypervisor/per_cpu/cpu0/trace_pipe_raw 440',
    'hypervisor/selftest_event 640',
    'hypervisor/trace 640',
    'hypervisor/trace_clock 440',
    'hypervisor/trace_pipe 640',
    'hypervisor/tracing_on 640',
  ]);
});

function tree(node: Node, path: string): string[] {
  if (node.kind === 'file') return [`${path} ${node.mode.toString(8)}`];
  const below = Object.entries(node.children).flatMap(([name, child]) =>
    tree(child, path === '' ? name : `${path}/${name}`),
  );
  return path === '' ? below : [`${path}/ ${node.mode.toString(8)}`, ...below];
}

/** What a write gives: an errno, or what the file reads afterwards. */
interface Row {
  readonly written: string;
  readonly errno?: string;
  readonly reads?: string;
}

async function check(machine: TestMachine, file: string, { written, errno, reads }: Row) {
  const before = await machine.cat(file);
  const result = machine.write(file, written);
  if (errno === undefined) {
    await machine.advance(101);
    await result;
  } else await expect(result).rejects.toThrow(`${errno}:`);
  expect(await machine.cat(file)).toBe(reads ?? before);
}

/** kstrtoul's, the same for every file that takes a number. */
const NOT_NUMBERS: Row[] = [
  '',
  '\n',
  ' ',
  '\0',
  ' 1',
  '1 ',
  '\t1\n',
  '-1',
  '++1',
  '1\n\n',
  '1\n0\n',
  '0x1',
  '1x',
  '1.0',
  '1e3',
  'on',
  'y',
  '\xff',
].map((written) => ({ written, errno: 'EINVAL' }));
const TOO_LARGE: Row[] = ['18446744073709551616', '9'.repeat(40), '1'.repeat(5000)].map(
  (written) => ({ written, errno: 'ERANGE' }),
);

describe('tracing_on', () => {
  test.each<Row>([
    { written: '1\n', reads: '1\n' },
    { written: '1', reads: '1\n' },
    { written: '+1', reads: '1\n' },
    { written: '010', reads: '1\n' },
    { written: '2', reads: '1\n' },
    { written: '18446744073709551615', reads: '1\n' },
    { written: '1\0junk', reads: '1\n' },
    { written: `${'0'.repeat(63)}1`, reads: '1\n' },
    { written: '0\n', reads: '0\n' },
    // Of 70 digits the kernel copies 66.
    { written: `${'0'.repeat(66)}1111`, reads: '0\n' },
    ...NOT_NUMBERS,
    ...TOO_LARGE,
  ])('$written', async (row) => {
    await check(new TestMachine(), 'tracing_on', row);
  });

  test('is read a byte at a time as well', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('tracing_on', constants.O_RDONLY);
    expect(await machine.read(fd, 1, 0)).toBe('0');
    expect(await machine.read(fd, 1, 1)).toBe('\n');
    expect(await machine.read(fd, 1, 2)).toBe('');
    expect(await machine.read(fd, 1, 3)).toBe(''); // As when the text has become shorter meanwhile.
  });
});

describe('buffer_size_kb', () => {
  test.each<Row>([
    { written: '16\n', reads: '16 (unloaded)\n' },
    { written: '+8', reads: '8 (unloaded)\n' },
    { written: '1', reads: '1 (unloaded)\n' },
    { written: '18014398509481983', reads: '18014398509481983 (unloaded)\n' },
    { written: '18014398509481984', reads: '0 (unloaded)\n' }, // 2^54 KiB wrap, as in the kernel.
    { written: '0', errno: 'EINVAL' },
    ...NOT_NUMBERS,
    ...TOO_LARGE,
  ])('$written', async (row) => {
    await check(new TestMachine(), 'buffer_size_kb', row);
  });

  test('counts at the next load only', async () => {
    const machine = new TestMachine();
    await machine.startTracing();
    await machine.write('buffer_size_kb', '32');
    expect(await machine.cat('buffer_size_kb')).toBe('32 (loaded)\n');
  });

  test.each([
    { kb: '2200', errno: 'ENOMEM' }, // of 4 MiB for 2 CPUs
    { kb: '1000000', errno: 'ENOMEM' },
    { kb: '18014398509481983', errno: 'E2BIG' },
  ])('$kb KiB cannot be had: $errno, and nothing is left of the try', async ({ kb, errno }) => {
    const machine = new TestMachine();
    const free = machine.pages.freePages;
    await machine.write('buffer_size_kb', kb);
    await expect(machine.write('tracing_on', '1')).rejects.toThrow(`${errno}:`);
    await expect(machine.open('trace_pipe', constants.O_RDONLY)).rejects.toThrow(`${errno}:`);
    expect(await machine.cat('tracing_on')).toBe('0\n');
    expect(await machine.cat('buffer_size_kb')).toBe(`${kb} (unloaded)\n`);
    expect(machine.pages.freePages).toBe(free);
    expect(walkOwnership(machine.hypervisor)).toMatchObject({ shared: 0, hyp: 0 });
  });
});

describe('trace_clock', () => {
  test('is the boot clock, and stays it', async () => {
    const machine = new TestMachine();
    expect(await machine.cat('trace_clock')).toBe('[boot]\n');
    await expect(machine.write('trace_clock', 'mono')).rejects.toThrow('EINVAL:');
  });
});

describe('trace', () => {
  test.each(['trace', 'per_cpu/cpu1/trace'])('%s cannot be opened to read', async (file) => {
    const machine = new TestMachine();
    await expect(machine.open(file, constants.O_RDONLY)).rejects.toThrow('EPERM:');
  });

  test.each([
    ['O_WRONLY', constants.O_WRONLY],
    ['O_RDWR', constants.O_RDWR],
    ['O_WRONLY|O_TRUNC', constants.O_WRONLY | constants.O_TRUNC],
    ['O_WRONLY|O_APPEND', constants.O_WRONLY | constants.O_APPEND],
  ])('opened with %s resets once; what is written then does not', async (_name, flags) => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(3);
    const fd = await machine.open('trace', flags);
    await machine.selftest(2);
    expect(await machine.fs.write(fd, Buffer.from('anything'), machine.io())).toBe(8);
    await machine.close(fd);
    expect(await machine.drain()).toHaveLength(2);
  });

  test('cannot be read through a descriptor that may', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('trace', constants.O_RDWR);
    await expect(machine.read(fd)).rejects.toThrow('EINVAL:');
  });

  test('of one CPU resets that CPU', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(2);
    machine.cpu = 1;
    await machine.selftest(1);
    await machine.write('per_cpu/cpu0/trace', '');
    expect(await machine.drain()).toEqual([expect.stringContaining('[001]')]);
  });

  test('without a buffer is nothing to reset', async () => {
    const machine = new TestMachine();
    await machine.write('trace', '0');
    expect(machine.hypercalls).toEqual([]);
  });
});

describe('events/hypervisor/EVENT', () => {
  test.each<Row>([
    { written: '1', reads: '1\n' },
    { written: '1\n', reads: '1\n' },
    { written: '1x', reads: '1\n' },
    { written: '0', reads: '0\n' },
    ...['', '2', 'x', '\n', ' 1', '11\n', '1\n\n'].map((written) => ({ written, errno: 'EINVAL' })),
  ])('enable: $written', async (row) => {
    await check(new TestMachine(), 'events/hypervisor/hyp_enter/enable', row);
  });

  test('makes a hypercall only for a change', async () => {
    const machine = new TestMachine();
    for (const value of ['0', '1', '1', '0']) {
      await machine.write('events/hypervisor/selftest/enable', value);
    }
    expect(machine.hypercalls).toEqual(['__pkvm_enable_event', '__pkvm_enable_event']);
  });

  test('says its id and its format, and takes neither', async () => {
    const machine = new TestMachine();
    expect(await machine.cat('events/hypervisor/selftest/id')).toBe('1011\n');
    expect(await machine.cat('events/hypervisor/selftest/format')).toBe(
      [
        'name: selftest',
        'ID: 1011',
        'format:',
        '\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;',
        '',
        '\tfield:u64 id;\toffset:2;\tsize:8;\tsigned:0;',
        '',
        'print fmt: "id=%llu", REC->id',
        '',
      ].join('\n'),
    );
    await expect(machine.write('events/hypervisor/selftest/id', '1')).rejects.toThrow('EINVAL:');
  });
});

describe('events/enable', () => {
  test('is 0, 1, or X for a mixture, and sets them all', async () => {
    const machine = new TestMachine();
    expect(await machine.cat('events/enable')).toBe('0\n');
    await machine.write('events/hypervisor/hyp_exit/enable', '1');
    expect(await machine.cat('events/enable')).toBe('X\n');
    await machine.write('events/enable', '255\n');
    expect(await machine.cat('events/enable')).toBe('1\n');
    expect(await machine.cat('events/hypervisor/selftest/enable')).toBe('1\n');
    await machine.write('events/enable', '0');
    expect(await machine.cat('events/enable')).toBe('0\n');
  });

  test.each<Row>([
    { written: '256', errno: 'ERANGE' },
    { written: '-1', errno: 'EINVAL' },
    { written: 'X', errno: 'EINVAL' },
  ])('$written is $errno', async (row) => {
    await check(new TestMachine(), 'events/enable', row);
  });
});

test('events/header_page and header_event are the kernel’s', async () => {
  const machine = new TestMachine();
  expect((await machine.cat('events/header_page')).split('\n')).toEqual([
    '\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;',
    '\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;',
    '\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;',
    '\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;',
    '',
  ]);
  expect((await machine.cat('events/header_event')).split('\n')).toEqual([
    '# compressed entry header',
    '\ttype_len    :    5 bits',
    '\ttime_delta  :   27 bits',
    '\tarray       :   32 bits',
    '',
    '\tpadding     : type == 29',
    '\ttime_extend : type == 30',
    '\ttime_stamp : type == 31',
    '\tdata max type_len  == 28',
    '',
  ]);
});

describe('selftest_event', () => {
  test.each([
    ['O_WRONLY', constants.O_WRONLY, 1],
    ['O_RDWR', constants.O_RDWR, 1],
    ['O_WRONLY|O_TRUNC', constants.O_WRONLY | constants.O_TRUNC, 1],
    ['O_RDONLY', constants.O_RDONLY, 0],
  ])('opened with %s', async (_name, flags, events) => {
    const machine = new TestMachine();
    await machine.setup();
    const fd = await machine.open('selftest_event', flags);
    if (events > 0) {
      await machine.fs.write(fd, Buffer.from('a'), machine.io());
      await machine.fs.write(fd, Buffer.from('b'), machine.io());
    } else await expect(machine.read(fd)).rejects.toThrow('EINVAL:');
    await machine.close(fd);
    expect(await machine.drain()).toHaveLength(events);
  });

  test('happens on the CPU that its task is on', async () => {
    const machine = new TestMachine();
    await machine.setup();
    for (machine.cpu of [1, 0, 3]) await machine.selftest();
    expect(await machine.drain()).toEqual([
      expect.stringMatching(/^\[001\]\t.* selftest id=1$/),
      expect.stringMatching(/^\[000\]\t.* selftest id=2$/),
      expect.stringMatching(/^\[001\]\t.* selftest id=3$/), // The machine has two.
    ]);
  });
});

describe('per_cpu/cpuN/stats', () => {
  test('has the kernel’s eight lines, before a buffer is there too', async () => {
    const machine = new TestMachine();
    expect((await machine.cat('per_cpu/cpu0/stats')).split('\n')).toEqual([
      'entries: 0',
      'overrun: 0',
      'commit overrun: 0',
      'bytes: 0',
      'oldest event ts:     0.000000',
      'now ts:  1234.567890',
      'dropped events: 0',
      'read events: 0',
      '',
    ]);
  });

  test('counts what is there, what was lost and what was read', async () => {
    const machine = new TestMachine();
    await machine.setup(8);
    await machine.selftest(2 * 255 + 1); // 255 a page, on two pages: the first of them is lost.
    expect(await machine.cat('per_cpu/cpu0/stats')).toContain(
      `entries: 256\noverrun: 255\ncommit overrun: 0\nbytes: ${256 * 16}\n`,
    );
    await machine.drain();
    expect(await machine.cat('per_cpu/cpu0/stats')).toContain('entries: 0\noverrun: 255\n');
    expect(await machine.cat('per_cpu/cpu0/stats')).toContain('bytes: 0\n');
    expect(await machine.cat('per_cpu/cpu0/stats')).toContain('read events: 256\n');
  });
});

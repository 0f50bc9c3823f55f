import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PHYS_BASE } from '../../src/hypervisor-sim/memory.ts';
import { SMC_FUNCTIONS } from '../../src/hypervisor-sim/smccc.ts';
import { TestMachine } from '../support/machine.ts';

const PIPE = 'trace_pipe';

describe('a read of trace_pipe', () => {
  test('gives the line of each event, as the kernel prints it', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(2);
    const [first, second] = await machine.drain();
    expect(first).toBe('[000]\t 1234.668891: selftest id=1');
    expect(second).toBe('[000]\t 1234.668892: selftest id=2');
  });

  test('waits for the next look at the ring, and not longer', async () => {
    const machine = new TestMachine();
    await machine.setup();
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    let text: string | undefined;
    const reading = machine.read(fd).then((read) => {
      text = read;
    });
    await machine.advance(1_000);
    expect(text).toBeUndefined();

    await machine.selftest();
    expect(text).toBeUndefined();
    await machine.advance(100);
    await reading;
    expect(text).toContain('selftest id=1\n');
  });

  test('keeps what did not fit for the next one, cut anywhere', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(2);
    machine.tick(10_000);
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    expect(await machine.read(fd, 0)).toBe('');
    expect(await machine.read(fd, 7)).toBe('[000]\t ');
    expect(await machine.read(fd, 65_536)).toMatch(/^1234.*id=1\n$/);
    expect(await machine.read(fd, 65_536)).toMatch(/^\[000\].*id=2\n$/);
  });

  test('gives whole lines, as many as go into a large one', async () => {
    const machine = new TestMachine();
    await machine.setup(64);
    await machine.selftest(600);
    machine.tick(10_000);
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    for (const size of [8_155, 10_000]) {
      const text = await machine.read(fd, size);
      expect(text.length).toBeGreaterThan(size - 40);
      expect(text.length).toBeLessThanOrEqual(size);
      expect(text).toMatch(/^\[000\]\t.*\n$/s);
    }
    const rest = await machine.read(fd, 131_072);
    expect(rest).toMatch(/^\[000\]\t.*id=600\n$/s);
    await machine.close(fd);
  });

  test('never fills a large one, lest FUSE ask for the rest of a longer read', async () => {
    const withEvents = async (): Promise<{ machine: TestMachine; fd: number }> => {
      const machine = new TestMachine();
      await machine.setup(64);
      await machine.selftest(600);
      machine.tick(10_000);
      return { machine, fd: await machine.open(PIPE, constants.O_RDONLY) };
    };
    const known = await withEvents();
    const text = await known.machine.read(known.fd, 131_072);
    const exact = text.indexOf('\n', 9_000) + 1; // As long as its lines are.
    const { machine, fd } = await withEvents();
    const read = await machine.read(fd, exact);
    expect(read).toBe(text.slice(0, text.lastIndexOf('\n', exact - 2) + 1));
    expect(await machine.read(fd, 131_072)).toBe(text.slice(read.length));
  });

  test('is EAGAIN for who may not wait', async () => {
    const machine = new TestMachine();
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    const io = machine.io({ nonblock: true });
    await expect(machine.read(fd, 100, 0, io)).rejects.toThrow('EAGAIN:');
  });

  test('is EINTR for who was signalled, and for nobody else', async () => {
    const machine = new TestMachine();
    await machine.setup();
    const [a, b] = [
      await machine.open(PIPE, constants.O_RDONLY),
      await machine.open(PIPE, constants.O_RDONLY),
    ];
    let signal = (): void => {};
    const interrupted = machine.read(
      a,
      100,
      0,
      machine.io({
        onInterrupt: (callback) => {
          signal = callback;
        },
      }),
    );
    const undisturbed = machine.read(b);
    signal();
    await expect(interrupted).rejects.toThrow('EINTR:');
    await machine.close(a);
    await machine.selftest();
    await machine.advance(100);
    expect(await undisturbed).toContain('id=1');
  });

  test('has no end: neither a stop nor a reset makes it return', async () => {
    const machine = new TestMachine();
    await machine.setup();
    const fd = await machine.open(PIPE, constants.O_RDONLY);
    let returned = false;
    void machine.read(fd).then(() => {
      returned = true;
    });
    await machine.write('trace', '');
    await machine.write('tracing_on', '0');
    await machine.advance(1_000);
    expect(returned).toBe(false);
  });

  test('cannot be a write', async () => {
    const machine = new TestMachine();
    await expect(machine.write(PIPE, 'x')).rejects.toThrow('EINVAL:');
  });
});

describe('all CPUs together', () => {
  test('come in the order of time, the lowest CPU first in a tie', async () => {
    const machine = new TestMachine({ cpus: 3 });
    await machine.setup();
    for (machine.cpu of [2, 0, 1, 2, 0]) await machine.selftest();
    for (machine.cpu of [1, 0]) await machine.write('selftest_event', ''); // At the same ns.
    const cpus = (await machine.drain()).map((line) => line.slice(1, 4));
    expect(cpus).toEqual(['002', '000', '001', '002', '000', '000', '001']);
  });

  test('share their events: each goes to one reader', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    machine.cpu = 1;
    await machine.selftest();
    expect(await machine.drain('per_cpu/cpu1/trace_pipe')).toEqual([
      expect.stringContaining('id=2'),
    ]);
    expect(await machine.drain()).toEqual([expect.stringContaining('id=1')]);
    expect(await machine.drain()).toEqual([]);
  });
});

describe('lost events', () => {
  // A ring of four pages holds 4 * 255; the 1021st event takes the first page.
  test.each([
    { written: 1_020, lost: 0 },
    { written: 1_021, lost: 255 },
    { written: 2_000, lost: 1_020 },
  ])('of $written, $lost are told before the first that is left', async ({ written, lost }) => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest(written);
    const lines = await machine.drain();
    if (lost > 0) expect(lines.shift()).toBe(`CPU:0 [LOST ${lost} EVENTS]`);
    expect(lines).toHaveLength(written - lost);
    expect(lines[0]).toContain(`id=${lost + 1}`);
    expect(lines.at(-1)).toContain(`id=${written}`);
  });

  test('are those of the CPU that lost them', async () => {
    const machine = new TestMachine();
    await machine.setup();
    await machine.selftest();
    machine.cpu = 1;
    await machine.selftest(1_021);
    const lines = await machine.drain();
    expect(lines.slice(0, 3)).toEqual([
      expect.stringContaining('id=1'),
      'CPU:1 [LOST 255 EVENTS]',
      expect.stringContaining('id=257'),
    ]);
  });
});

test('a CPU’s trace alternates between enter and exit, tracing’s own hypercalls included', async () => {
  const machine = new TestMachine({ cpus: 1 });
  await machine.write('events/enable', '1');
  await machine.startTracing();
  await machine.selftest();
  machine.hypervisor.smc(0, SMC_FUNCTIONS.SMCCC_VERSION);
  machine.hypervisor.hostAccess(0, PHYS_BASE, 'write');
  machine.hypervisor.sysreg(0);
  const lines = (await machine.drain()).map((line) => line.replace(/^.*: /, ''));
  expect(lines).toEqual([
    'host_hcall id=28 invalid=0', // The one that started it.
    'hyp_exit reason=eret_host vcpu=0',
    'hyp_enter reason=hvc vcpu=0',
    'selftest id=1',
    'host_hcall id=32 invalid=0',
    'hyp_exit reason=eret_host vcpu=0',
    'hyp_enter reason=smc vcpu=0',
    'hyp_exit reason=smc vcpu=0',
    'hyp_enter reason=smc vcpu=0',
    'host_smc id=2147483648 forwarded=1',
    'hyp_exit reason=eret_host vcpu=0',
    'hyp_enter reason=host_abort vcpu=0',
    'iommu_idmap from=0x40000000 to=0x40001000 prot=0x7',
    'iommu_idmap_complete map=1',
    'host_mem_abort esr=0x92000047 addr=0x40000000',
    'hyp_exit reason=eret_host vcpu=0',
    'hyp_enter reason=sys vcpu=0',
    'hyp_exit reason=eret_host vcpu=0',
    'hyp_enter reason=hvc vcpu=0', // The swap that this reading made.
    'host_hcall id=30 invalid=0',
    'hyp_exit reason=eret_host vcpu=0',
  ]);
});

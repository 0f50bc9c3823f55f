import { constants } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { HypTrace } from '../../src/daemon/hyp-trace.ts';
import { switchOnVirtual } from '../../src/daemon/machine.ts';
import { loadScenario } from '../../src/daemon/scenarios.ts';
import { SimControl } from '../../src/daemon/sim-control.ts';
import { Deferred } from '../../src/deferred.ts';
import { tracefsRoot } from '../../src/fs/hypervisor-dir.ts';
import type { Io } from '../../src/fs/nodes.ts';
import { TraceRemote } from '../../src/fs/trace-remote.ts';
import { VirtualHost } from '../../src/host-sim/virtual-host.ts';
import { pfnOf, physToVirt } from '../../src/hypervisor-sim/memory.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { PSCI_POWER_DOWN, SMC_FUNCTIONS } from '../../src/hypervisor-sim/smccc.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { PathTracefs } from '../support/path-tracefs.ts';
import { TASK } from '../support/ring.ts';

/** A mount's tree on a machine in virtual time, without the mount. */
class Sim {
  readonly #machine;
  readonly fs: PathTracefs;
  readonly hypervisor;

  private constructor(name: string, cpus: number, isVirtual: boolean, host?: VirtualHost) {
    const scenario = loadScenario(name);
    this.#machine = switchOnVirtual({ cpus, memoryMib: 8, counterHz: 1_000_000_000 }, scenario);
    const { hypervisor, time, pages } = this.#machine;
    this.hypervisor = hypervisor;
    const workload = host ?? new VirtualHost(hypervisor, time, pages);
    const sim = new SimControl({
      machine: this.#machine,
      workload,
      virtual: isVirtual ? workload : undefined,
      scenario,
      seed: 1,
    });
    const remote = new TraceRemote(new HypTrace(this.#machine));
    this.fs = new PathTracefs(tracefsRoot(remote, sim), { uid: 0, gid: 0 });
  }

  static async start({ name = 'boot', cpus = 2, isVirtual = true } = {}): Promise<Sim> {
    const sim = new Sim(name, cpus, isVirtual);
    await sim.write('sim/scenario', name);
    return sim;
  }

  /** Where the host has free pages. */
  page(): number {
    return this.#machine.pages.alloc(PAGE_SIZE);
  }

  async cat(path: string): Promise<string> {
    const fd = await this.fs.open(`/${path}`, constants.O_RDONLY, TASK);
    const text = await this.read(fd);
    await this.fs.release(fd);
    return text;
  }

  async read(fd: number, io = IO): Promise<string> {
    const bytes = Buffer.alloc(65_536);
    return bytes.toString('utf8', 0, await this.fs.read(fd, bytes, 0, io));
  }

  async write(path: string, text: string, io = IO): Promise<void> {
    const fd = await this.fs.open(`/${path}`, constants.O_WRONLY, TASK);
    try {
      await this.fs.write(fd, Buffer.from(`${text}\n`), io);
    } finally {
      await this.fs.release(fd);
    }
  }
}

const IO: Io = {
  task: TASK,
  nonblock: false,
  forCache: false,
  isPageFault: () => false,
  onInterrupt: () => {},
};

test('sim/ has these files, beside a hypervisor/ that stays as it is', async () => {
  const { fs } = await Sim.start();
  expect(fs.readdir('/')).toContain('sim');
  expect(fs.readdir('/sim')).toEqual([
    'clock',
    'cpus',
    'hypercall',
    'memory',
    'rate',
    'scenario',
    'seed',
    'stats',
    'vms',
  ]);
  expect(fs.readdir('/hypervisor')).not.toContain('sim');
});

describe('sim/clock', () => {
  test('moves virtual time, and all that happens in it', async () => {
    const sim = await Sim.start();
    expect(await sim.cat('sim/clock')).toBe('virtual 0.000000000\n');
    await sim.write('sim/clock', 'advance 1500us');
    expect(await sim.cat('sim/clock')).toBe('virtual 0.001500000\n');
    expect(sim.fs.readdir('/sim/vms')).toEqual(['0x1000', '0x1001']);
    await sim.write('sim/clock', 'suspend 2s');
    expect(await sim.cat('sim/clock')).toBe('virtual 2.001500000\n');
  });

  test.each([
    '',
    'advance',
    'advance 10',
    'advance 10m',
    'suspend -1s',
    'stop',
    'advance 1s 2s',
    'advance 3601s',
  ])('refuses "%s": EINVAL', async (text) => {
    await expect((await Sim.start()).write('sim/clock', text)).rejects.toThrow('EINVAL:');
  });

  test('of real time only tells it', async () => {
    const sim = await Sim.start({ isVirtual: false });
    expect(await sim.cat('sim/clock')).toMatch(/^real \d+\.\d{9}\n$/);
    await expect(sim.write('sim/clock', 'advance 1ms')).rejects.toThrow('EOPNOTSUPP:');
  });

  test('stops when its writer is interrupted', async () => {
    const sim = await Sim.start({ name: 'storm' });
    let interrupt = (): void => {};
    const io = { ...IO, onInterrupt: (callback: () => void) => (interrupt = callback) };
    const write = sim.write('sim/clock', 'advance 3600s', io);
    setTimeout(() => interrupt(), 20);
    await expect(write).rejects.toThrow('EINTR:');
  });
});

test('a write that changes what runs ends by a signal, and the change goes on', async () => {
  const sim = await Sim.start({ name: 'storm' });
  const mayEnd = new Deferred();
  const windDown = VirtualHost.prototype.windDown;
  vi.spyOn(VirtualHost.prototype, 'windDown').mockImplementation(async function (
    this: VirtualHost,
  ) {
    await mayEnd.promise;
    await windDown.call(this);
  });
  const interrupted = new Deferred();
  const onInterrupt = (callback: () => void) => void interrupted.promise.then(callback);
  const write = sim.write('sim/seed', '7', { ...IO, onInterrupt });
  setImmediate(interrupted.resolve);
  await expect(write).rejects.toThrow('EINTR:');
  expect(await sim.cat('sim/seed')).toBe('1\n');
  mayEnd.resolve();
  await sim.write('sim/scenario', 'storm'); // It comes after.
  expect(await sim.cat('sim/seed')).toBe('7\n');
});

describe('while time advances', () => {
  /** A write that can be interrupted, before it listens for that or after. */
  const begin = (sim: Sim, file: string, text: string) => {
    const interrupted = new Deferred();
    const onInterrupt = (callback: () => void) => void interrupted.promise.then(callback);
    const written = sim.write(file, text, { ...IO, onInterrupt });
    written.catch(() => {}); // Each is looked at later.
    return { written, interrupt: () => interrupted.resolve() };
  };

  test.each([
    ['sim/seed', '7', '1\n'],
    ['sim/scenario', 'ffa', 'storm\n'],
    ['sim/scenario', 'test/mount/sysregs.yaml', 'storm\n'],
    ['sim/clock', 'suspend 1s', undefined],
  ])('%s can be interrupted in its wait to become %s, and then never does', async (...args) => {
    const [file, text, shown] = args;
    const sim = await Sim.start({ name: 'storm' });
    const advance = begin(sim, 'sim/clock', 'advance 3600s');
    const waiting = begin(sim, file, text);
    const next = begin(sim, 'sim/seed', '3');
    waiting.interrupt();
    await expect(waiting.written).rejects.toThrow('EINTR:');
    if (shown !== undefined) expect(await sim.cat(file)).toBe(shown);
    advance.interrupt();
    await expect(advance.written).rejects.toThrow('EINTR:');
    await next.written;
    expect(await sim.cat('sim/seed')).toBe('3\n');
    expect(await sim.cat('sim/scenario')).toBe('storm\n');
    expect(await sim.cat('sim/clock')).toMatch(/^virtual 0\./);
  });
});

describe('tracing in virtual time', () => {
  test('starts at once, and shows what the advance made, in its time', async () => {
    const sim = await Sim.start();
    await sim.write('hypervisor/events/hypervisor/host_hcall/enable', '1');
    await sim.write('hypervisor/tracing_on', '1');
    await sim.write('sim/clock', 'advance 500us');
    const fd = await sim.fs.open('/hypervisor/trace_pipe', constants.O_RDONLY, TASK);
    const text = await sim.read(fd);
    await sim.fs.release(fd);
    const times = text
      .split('\n')
      .slice(0, -1)
      .map((line) => Number(/ ([\d.]+):/.exec(line)?.[1]));
    expect(times.length).toBeGreaterThan(1);
    expect(times.every((time) => time <= 0.0005)).toBe(true);
  });
});

describe('what files ask of the hypervisor in virtual time', () => {
  /** What a reader of an idle machine finds, all events on. */
  async function traced(sim: Sim, work: () => Promise<void>): Promise<string> {
    await sim.write('hypervisor/events/enable', '1');
    await sim.write('hypervisor/tracing_on', '1');
    await work();
    const trace = await sim.cat('trace');
    return trace.replace(/^#.*\n/gm, '').replace(/^.*: (\w+: )/gm, '$1');
  }

  test('leaves no event, takes no time, and does not count', async () => {
    const sim = await Sim.start();
    const before = await sim.cat('sim/stats');
    const trace = await traced(sim, async () => {
      const fd = await sim.fs.open('/trace_pipe', constants.O_RDONLY, TASK);
      const reading = sim.fs.read(fd, Buffer.alloc(4_096), 0, { ...IO, nonblock: true });
      await expect(reading).rejects.toThrow('EAGAIN:');
      await sim.fs.release(fd);
      await sim.write('hypervisor/events/hypervisor/selftest/enable', '0');
      await sim.write('hypervisor/tracing_on', '0');
      await sim.write('hypervisor/tracing_on', '1');
    });
    expect(trace).toBe('');
    expect(await sim.cat('sim/stats')).toBe(before);
  });

  test('wakes no CPU that sleeps', async () => {
    const sim = await Sim.start();
    sim.hypervisor.smc(0, SMC_FUNCTIONS.PSCI_CPU_SUSPEND, PSCI_POWER_DOWN);
    await traced(sim, async () => {});
    expect(sim.hypervisor.cpu(0).pcpu.entries).toBe(0);
  });

  test('shows the trap of a selftest_event', async () => {
    const sim = await Sim.start();
    const trace = await traced(sim, () => sim.write('hypervisor/selftest_event', '1'));
    expect(trace).toBe(
      'hyp_enter: reason=hvc vcpu=0\nselftest: id=1\nhost_hcall: id=32 invalid=0\n' +
        'hyp_exit: reason=eret_host vcpu=0\n',
    );
  });
});

test('saved_cmdlines names the vCPU threads that have run, though nobody has read or even traced', async () => {
  const sim = await Sim.start();
  expect(await sim.cat('saved_cmdlines')).toBe('');
  await sim.write('sim/clock', 'advance 3ms');
  expect(await sim.cat('saved_cmdlines')).toBe(
    '1024 vm64-vcpu0\n1025 vm64-vcpu1\n2048 vm128-vcpu0\n',
  );
});

describe('sim/scenario, sim/seed and sim/rate', () => {
  test('say what runs, and change it', async () => {
    const sim = await Sim.start();
    expect(await sim.cat('sim/rate')).toBe('100000\n');
    await sim.write('sim/clock', 'advance 2ms');
    await sim.write('sim/scenario', 'storm');
    expect(await sim.cat('sim/scenario')).toBe('storm\n');
    expect(await sim.cat('sim/rate')).toBe('max\n');
    expect(sim.fs.readdir('/sim/vms')).toEqual([]);
    expect(walkOwnership(sim.hypervisor)).toMatchObject({
      hyp: 0,
      guest: 0,
      shared: 0,
      pending: 0,
    });
    await sim.write('sim/seed', '42');
    expect(await sim.cat('sim/seed')).toBe('42\n');
    await sim.write('sim/rate', '12.5');
    expect(await sim.cat('sim/rate')).toBe('12.5\n');
  });

  test.each([
    ['scenario', 'nope'],
    ['scenario', ''],
    ['seed', '-1'],
    ['seed', '4294967296'],
    ['seed', ''],
    ['rate', 'fast'],
    ['rate', '-5'],
  ])('%s refuses "%s": EINVAL, and all stays as it was', async (file, text) => {
    const sim = await Sim.start();
    const before = await sim.cat(`sim/${file}`);
    await expect(sim.write(`sim/${file}`, text)).rejects.toThrow('EINVAL:');
    expect(await sim.cat(`sim/${file}`)).toBe(before);
  });
});

describe('sim/hypercall', () => {
  test('makes one, and shows what came of the last one', async () => {
    const sim = await Sim.start();
    expect(await sim.cat('sim/hypercall')).toBe('');
    const pfn = `0x${pfnOf(sim.page()).toString(16)}`;
    for (const [text, result] of [
      [
        `cpu=1 __pkvm_host_share_hyp ${pfn} 1`,
        `cpu=1 __pkvm_host_share_hyp ${pfn} 0x1 = x0=0 x1=0`,
      ],
      [`9 ${pfn} 1`, `cpu=0 9 ${pfn} 0x1 = x0=0 x1=-1 (EPERM)`],
      [`__pkvm_host_share_hyp 5 1`, 'cpu=0 __pkvm_host_share_hyp 0x5 0x1 = x0=0 x1=-22 (EINVAL)'],
      ['__pkvm_init', 'cpu=0 __pkvm_init = x0=-1 (NOT_SUPPORTED) x1=0'],
      ['4711', 'cpu=0 4711 = x0=-1 (NOT_SUPPORTED) x1=0'],
      [
        '  __pkvm_teardown_vm   0XFFFFFFFFFFFFFFFF ',
        'cpu=0 __pkvm_teardown_vm 0xffffffffffffffff = x0=0 x1=-2 (ENOENT)',
      ],
    ] as const) {
      await sim.write('sim/hypercall', text);
      expect(await sim.cat('sim/hypercall')).toBe(`${result}\n`);
    }
  });

  test.each([
    '',
    'cpu=0',
    'nope',
    'cpu=2 9',
    'cpu=x 9',
    'cpu=-1 9',
    '9 1 2 3 4 5',
    '9 0x1ffffffffffffffff',
    '9 -1',
    '9 abc',
  ])('refuses "%s": EINVAL', async (text) => {
    await expect((await Sim.start()).write('sim/hypercall', text)).rejects.toThrow('EINVAL:');
  });

  test('on a CPU that is off is ENXIO', async () => {
    const sim = await Sim.start();
    await sim.write('sim/cpus/cpu1/online', '0');
    await expect(sim.write('sim/hypercall', 'cpu=1 9')).rejects.toThrow('ENXIO:');
  });

  test('that takes the trace buffer away only ends the reading', async () => {
    const sim = await Sim.start();
    await sim.write('hypervisor/events/enable', '1');
    await sim.write('hypervisor/tracing_on', '1');
    await sim.write('sim/clock', 'advance 1ms');
    await sim.write('sim/hypercall', '__pkvm_teardown_tracing');
    const fd = await sim.fs.open('/hypervisor/trace_pipe', constants.O_RDONLY, TASK);
    await expect(sim.read(fd, { ...IO, nonblock: true })).rejects.toThrow('EAGAIN:');
    await sim.fs.release(fd);
    await sim.write('hypervisor/tracing_on', '0');
    walkOwnership(sim.hypervisor);
  });

  test('that makes use of the trace buffer’s page does not stop it from going away', async () => {
    const sim = await Sim.start({ name: 'idle' });
    await sim.write('hypervisor/tracing_on', '1');
    await sim.write('sim/hypercall', '__pkvm_teardown_tracing');
    const hyp = sim.hypervisor.machine.ownership;
    let shared = -1;
    hyp.forEach((page) => {
      if (shared === -1 && hyp.state(page, 'hyp') === 2) shared = page;
    });
    hyp.hypPinShared(shared);
    await sim.write('hypervisor/tracing_on', '0');
    expect(await sim.cat('hypervisor/buffer_size_kb')).toBe('7 (unloaded)\n');
    expect(walkOwnership(sim.hypervisor)).toMatchObject({ shared: 1, pinned: 1, hyp: 0 });
    await sim.write('hypervisor/tracing_on', '1'); // And it is not used again.
    expect(await sim.cat('hypervisor/tracing_on')).toBe('1\n');
  });
});

describe('sim/cpus', () => {
  test('bring CPUs up and down, but for the first one', async () => {
    const sim = await Sim.start();
    expect(await sim.cat('sim/cpus/cpu1/online')).toBe('1\n');
    await sim.write('sim/cpus/cpu1/online', '0');
    await sim.write('sim/cpus/cpu1/online', '0');
    expect(await sim.cat('sim/cpus/cpu1/online')).toBe('0\n');
    await sim.write('sim/cpus/cpu1/online', '1');
    expect(await sim.cat('sim/cpus/cpu1/online')).toBe('1\n');
    await expect(sim.write('sim/cpus/cpu0/online', '0')).rejects.toThrow('EBUSY:');
    await expect(sim.write('sim/cpus/cpu1/online', '2')).rejects.toThrow('EINVAL:');
  });

  test('that were up at the load have a ring, also when they go off before the first read', async () => {
    const sim = await Sim.start();
    await sim.write('hypervisor/events/enable', '1');
    await sim.write('hypervisor/tracing_on', '1');
    await sim.write('sim/cpus/cpu1/online', '0');
    expect(await sim.cat('hypervisor/per_cpu/cpu1/stats')).toMatch(/^entries: [1-9]/);
    expect(await sim.cat('hypervisor/per_cpu/cpu1/trace_pipe')).toContain('[001]');
  });

  test('that were never up have no ring; one that was keeps it', async () => {
    const sim = await Sim.start({ name: 'hotplug', cpus: 4 });
    const pipe = (cpu: number) =>
      sim.fs.open(`/hypervisor/per_cpu/cpu${cpu}/trace_pipe`, constants.O_RDONLY, TASK);
    await expect(pipe(3)).rejects.toThrow('ENODEV:');
    await expect(pipe(2)).rejects.toThrow('ENODEV:');
    await sim.write('hypervisor/events/hypervisor/hyp_exit/enable', '1');
    await sim.write('hypervisor/tracing_on', '1');
    await expect(pipe(2)).rejects.toThrow('ENODEV:');
    await sim.write('sim/cpus/cpu2/online', '1');
    await sim.write('sim/cpus/cpu2/online', '0');
    const fd = await pipe(2);
    expect(await sim.read(fd)).toContain('reason=psci');
    await sim.fs.release(fd);
    await expect(pipe(3)).rejects.toThrow('ENODEV:');
    expect(await sim.cat('hypervisor/per_cpu/cpu3/stats')).toContain('entries: 0\n');
  });
});

describe('sim/vms', () => {
  test('shows each VM while there is one', async () => {
    const sim = await Sim.start();
    await sim.write('sim/clock', 'advance 1ms');
    expect(await sim.cat('sim/vms/0x1000/state')).toBe('running protected\n');
    expect(await sim.cat('sim/vms/0x1000/vcpus')).toMatch(/^0 pid=1024 on\n1 pid=1025 (on|off)\n$/);
    expect(await sim.cat('sim/vms/0x1000/pages')).toMatch(
      /^(ipa=0x[0-9a-f]+ pfn=0x[0-9a-f]+ owned\n)+$/,
    );
    const fd = await sim.fs.open('/sim/vms/0x1000/state', constants.O_RDONLY, TASK);
    await sim.write('sim/scenario', 'idle');
    expect(() => sim.fs.lookup('/sim/vms/0x1000')).toThrow('ENOENT:');
    await expect(sim.read(fd)).rejects.toThrow('ENOENT:');
  });

  test('shows a VM without vCPUs as created', async () => {
    const sim = await Sim.start({ name: 'idle' });
    const [kvm, state] = [sim.page(), sim.page()];
    const pgd = [sim.page(), sim.page(), sim.page(), sim.page()][0] ?? 0;
    sim.hypervisor.machine.ram.view.setUint32(kvm, 1, true);
    await sim.write('sim/hypercall', `__pkvm_host_share_hyp ${pfnOf(kvm)} 1`);
    const addresses = [kvm, state, pgd].map((at) => `0x${physToVirt(at).toString(16)}`);
    await sim.write('sim/hypercall', `__pkvm_init_vm ${addresses.join(' ')}`);
    expect(await sim.cat('sim/hypercall')).toMatch(/ = x0=0 x1=4096\n$/);
    expect(await sim.cat('sim/vms/0x1000/state')).toBe('created normal\n');
    expect(await sim.cat('sim/vms/0x1000/vcpus')).toBe('');
    expect(await sim.cat('sim/memory')).toBe(
      'host: 2043\nhyp: 5\nguest: 0\nshared: 1\npending: 0\npinned: 1\n',
    );
  });
});

test('sim/stats counts calls, errors and time', async () => {
  const sim = await Sim.start({ name: 'idle' });
  expect(await sim.cat('sim/stats')).toMatch(/^name +calls +errors +us\n$/);
  await sim.write('sim/hypercall', '__pkvm_host_share_hyp 5 1');
  await sim.write('sim/hypercall', '__pkvm_host_unshare_hyp 5 1');
  await sim.write('sim/hypercall', '__kvm_flush_cpu_context');
  await sim.write('sim/hypercall', '4711');
  const rows = (await sim.cat('sim/stats'))
    .split('\n')
    .slice(1, -1)
    .map((row) => row.split(/\s+/));
  expect(rows).toEqual([
    ['hvc', '4', '3', '0'],
    ['__pkvm_host_share_hyp', '1', '1', '0'],
    ['__pkvm_host_unshare_hyp', '1', '1', '0'],
    ['__kvm_flush_cpu_context', '1', '0', '0'],
  ]);
  await sim.write('sim/scenario', 'storm');
  await sim.write('sim/clock', 'advance 1ms');
  expect(await sim.cat('sim/stats')).toMatch(/^guest_exit? |^hvc +\d+ +\d+ +[1-9]\d*$/m);
});

import { unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { Child, type Daemon, MAIN, test, until } from '../support/daemon.ts';

/** As a user who may neither mount nor see /dev/fuse. */
const asNobody = (...args: string[]): Child =>
  new Child('setpriv', [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    process.execPath,
    MAIN,
    ...args,
  ]);

describe('pkvm-tracefs run', () => {
  test('prints the same bytes each time, for anybody', async () => {
    const args = ['run', '--scenario', 'boot', '--seed', '7', '--for', '20ms'];
    const runs = [asNobody(...args), new Child(process.execPath, [MAIN, ...args])];
    for (const run of runs) expect(await run.exit()).toBe(0);
    const [first, second] = runs.map(({ stdout }) => stdout);
    expect(first).toContain('vm 0x1000 created with 2 vcpus');
    expect(second).toBe(first);
    expect(runs.map(({ stderr }) => stderr)).toEqual(['', '']);
  });

  test('ends quietly when nobody reads on', async () => {
    const shell = new Child('bash', [
      '-c',
      `set -o pipefail; ${process.execPath} ${MAIN} run --scenario storm --for 500ms | head -n 2`,
    ]);
    expect(await shell.exit()).toBe(0);
    expect(shell.lines).toHaveLength(2);
    expect(shell.stderr).toBe('');
  });

  test('wants more memory than there is: 69, in one line', async () => {
    const run = new Child(process.execPath, [MAIN, 'run', '--cpus', '64', '--memory', '4']);
    expect(await run.exit()).toBe(69);
    expect(run.stderr).toMatch(/^pkvm-tracefs: the machine has too little --memory [^\n]*\n$/);
  });

  test.each([
    ['--for', '5', 'It must be a time'],
    ['--seed', '-1', 'It must be a whole number'],
    ['--events', 'nope', 'There is no event nope'],
  ])('%s %s is refused: 64', async (option, value, message) => {
    const run = new Child(process.execPath, [MAIN, 'run', option, value]);
    expect(await run.exit()).toBe(64);
    expect(run.stderr).toContain(message);
  });
});

describe('a scenario', () => {
  test('that is malformed is refused before the mount, with its line', async ({ daemon }) => {
    const file = join(daemon.dir, 'bad.yaml');
    writeFileSync(file, 'description: d\ntasks:\n  - steps:\n      - share_hyp: many\n');
    const mount = daemon.run('mount', daemon.dir, '--scenario', file);
    expect(await mount.exit()).toBe(65);
    expect(mount.stdout).toBe('');
    expect(mount.stderr).toBe(
      `pkvm-tracefs: ${file}:4: tasks.0.steps.0.share_hyp: expected a whole number from 1 to 64\n`,
    );
    unlinkSync(file);
  });

  test('that is of the user’s own runs', async ({ daemon }) => {
    await daemon.start('--scenario', 'test/mount/sysregs.yaml');
    await daemon.sh('echo 1 > events/hypervisor/hyp_enter/enable; echo 1 > tracing_on');
    const { stdout } = await daemon.sh('head -n 20 trace_pipe');
    expect(stdout).toContain('hyp_enter reason=sys vcpu=0');
  });

  test('takes over from another while somebody reads', async ({ daemon }) => {
    await daemon.start('--scenario', 'boot', '--rate', '2000');
    await daemon.sh('echo 1 > events/hypervisor/hyp_enter/enable; echo 1 > tracing_on');
    const reader = daemon.spawn('cat', 'trace_pipe');
    await until(() => reader.stdout.includes('reason=guest_exit'));
    await daemon.sh('echo ffa > ../sim/scenario');
    expect((await daemon.sh('cat ../sim/scenario ../sim/rate')).stdout).toBe('ffa\n2000\n');
    await until(() => reader.stdout.includes('reason=smc'));
    expect((await daemon.sh('ls ../sim/vms')).stdout).toBe('');
    await reader.kill('SIGTERM');
    await expect(daemon.sh('echo nope > ../sim/scenario')).rejects.toThrow('Invalid argument');
  });
});

describe('sim/', () => {
  test('is for cat and echo', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '2');
    const sim = (script: string) => daemon.sh(`cd ../sim; ${script}`).then(({ stdout }) => stdout);
    expect(
      await sim("echo 'cpu=1 __pkvm_host_share_hyp 0x1234 1' > hypercall; cat hypercall"),
    ).toBe('cpu=1 __pkvm_host_share_hyp 0x1234 0x1 = x0=0 x1=-22 (EINVAL)\n');
    expect(await sim('echo 0 > cpus/cpu1/online; cat cpus/cpu1/online')).toBe('0\n');
    expect(await sim('echo 1 > cpus/cpu1/online; cat cpus/cpu1/online')).toBe('1\n');
    await expect(sim('echo 0 > cpus/cpu0/online')).rejects.toThrow('Device or resource busy');
    await expect(sim("echo 'advance 1ms' > clock")).rejects.toThrow('not supported');
    expect(await sim('cat memory')).toMatch(/^host: 32768\nhyp: 0\n/);
    expect(await sim('cat stats')).toContain('__pkvm_host_share_hyp');
  });

  test('is not there with --no-sim', async ({ daemon }) => {
    await daemon.start('--no-sim', '--rate', '0');
    expect((await daemon.sh('ls ..')).stdout.split('\n')).not.toContain('sim');
  });

  test('shows a CPU that never came up: it has no ring', async ({ daemon }) => {
    await daemon.start('--scenario', 'hotplug');
    expect((await daemon.sh('ls per_cpu')).stdout).toBe('cpu0\ncpu1\ncpu2\ncpu3\n');
    await expect(daemon.sh('cat per_cpu/cpu3/trace_pipe')).rejects.toThrow('No such device');
    await daemon.sh('echo 1 > ../sim/cpus/cpu3/online; echo 1 > tracing_on');
    const reader = daemon.spawn('cat', 'per_cpu/cpu3/trace_pipe');
    await daemon.asleep(reader);
    await daemon.sh('echo 1 > events/enable');
    await until(() => reader.stdout.includes('hyp_enter'));
    await reader.kill('SIGTERM');
  });
});

test('CPUs may go off and asleep while others want something of them', async ({ daemon }) => {
  await daemon.start('--scenario', 'hotplug', '--rate', '50000');
  await daemon.sh(`
    echo 1 > events/enable; echo 1 > tracing_on
    timeout 3 cat trace_pipe > /dev/null &
    for i in {1..60}; do
      echo $((i % 2)) > ../sim/cpus/cpu2/online
      echo 'cpu=1 __kvm_flush_cpu_context' > ../sim/hypercall
      taskset -c $((i % 2)) bash -c 'echo 1 > selftest_event'
    done
    echo 0 > tracing_on; wait || true`);
  expect(daemon.child.ended).toBe(false);
  expect(daemon.child.stderr).toBe('');
});

describe('a mount in virtual time', () => {
  const traced = async (daemon: Daemon): Promise<string> => {
    await daemon.start('--virtual', '--scenario', 'boot', '--seed', '7', '--cpus', '2');
    const { stdout } = await daemon.sh(`
      taskset -pc 0 $$ > /dev/null; echo 64 > buffer_size_kb
      echo 1 > events/hypervisor/hyp_exit/enable; echo 1 > tracing_on
      echo 'advance 2ms' > ../sim/clock; cat ../sim/clock; echo 'suspend 1s' > ../sim/clock
      echo 'advance 1ms' > ../sim/clock; echo 0 > tracing_on; timeout 0.5 cat trace_pipe || true`);
    return stdout;
  };

  test('has time stand still until it is told to move', async ({ daemon }) => {
    const lines = (await traced(daemon)).split('\n').slice(0, -1);
    expect(lines[0]).toBe('virtual 0.002000000');
    const times = lines.slice(1).map((line) => Number(/([\d.]+):/.exec(line)?.[1]));
    expect(times.length).toBeGreaterThan(100);
    expect(times.some((time) => time > 0.002 && time < 1.002)).toBe(false);
    expect(times.at(-1)).toBeGreaterThan(1.002);
  });

  test('gives the same trace each time', async ({ daemon }) => {
    const first = await traced(daemon);
    await daemon.child.kill('SIGTERM');
    expect(await traced(daemon)).toBe(first);
  });

  test('can be interrupted in a long advance', async ({ daemon }) => {
    await daemon.start('--virtual', '--scenario', 'storm');
    const writer = daemon.spawn('bash', '-c', "echo 'advance 1000s' > ../sim/clock");
    const now = () =>
      daemon.sh('cat ../sim/clock').then(({ stdout }) => Number(stdout.split(' ')[1]));
    await until(async () => (await now()) > 0.01);
    expect(await writer.kill('SIGTERM')).toBe('SIGTERM');
    const stopped = await now();
    expect(await now()).toBe(stopped);
  });

  // Not sim/clock: of two writes to one file the kernel passes on one at a time.
  test.for([
    ['seed', '7'],
    ['scenario', 'ffa'],
  ] as const)(
    'lets a write to sim/%s be interrupted while it waits for an advance',
    async ([file, text], { daemon }) => {
      await daemon.start('--virtual', '--scenario', 'storm', '--cpus', '2');
      const begin = async (to: string, what: string): Promise<Child> => {
        const shell = `exec 3> ../sim/${to}; echo opened; echo '${what}' >&3`;
        const child = daemon.spawn('bash', '-c', shell);
        await until(() => child.stdout === 'opened\n');
        await daemon.blocked(child);
        return child;
      };
      const advance = await begin('clock', 'advance 3600s');
      const writer = await begin(file, text);
      expect(await writer.kill('SIGTERM')).toBe('SIGTERM');
      expect(advance.ended).toBe(false);
      expect(await advance.kill('SIGTERM')).toBe('SIGTERM');
      const { stdout } = await daemon.sh('cd ../sim; cat seed scenario clock');
      expect(stdout).toMatch(/^1\nstorm\nvirtual 0\./);
    },
  );
});

import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Child, MAIN, until, test as withDaemon } from '../support/daemon.ts';

/** A directory of the test's own, which any user may write to. */
let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-test-exec-'));
  chmodSync(dir, 0o777);
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A directory whose name has a blank, for TMPDIR. */
function blank(): string {
  const path = join(dir, 'a blank');
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o777);
  return path;
}

const EXEC = [process.execPath, MAIN, 'exec', '--rate', '0'];

/** Starts exec with a shell's script as its command; `before` are commands that lead to it. */
function exec(script: string, options: readonly string[] = [], before: readonly string[] = []) {
  const [command = '', ...args] = [...before, ...EXEC, ...options, '--', 'bash', '-c', script];
  return new Child(command, args, { cwd: dir });
}

/** What a script prints where the simulator is the tracefs. */
async function simulated(...args: Parameters<typeof exec>): Promise<string> {
  const child = exec(...args);
  expect(await child.exit(), child.stderr).toBe(0);
  return child.stdout;
}

const OWN_MOUNTS = ['unshare', '-m', '--propagation', 'private'];

/** Leads to a command for which a shell's script has prepared the mounts, seen by nobody else. */
const prepared = (script: string): string[] => [
  ...OWN_MOUNTS,
  'bash',
  '-ec',
  `${script}; exec "$@"`,
  '-',
];

const HOST_TRACEFS = prepared('mount -t tracefs nodev /sys/kernel/tracing');
const AS_NOBODY = resolve('test/support/as-nobody.sh');

/** The settings that tracing tools might change: of tracefs, of /proc/sys, and the mounts. */
async function hostState(): Promise<string> {
  const script = `
    grep -v ' fuse.pkvm-tracefs ' /proc/1/mounts # Others may run simulators of their own.
    # These change by themselves, all others do not.
    find /proc/sys -type f -perm /222 ! -name ns_last_pid ! -path '*/random/*' |
      sort | xargs grep -sH ''
    if mount -t tracefs nodev /mnt 2> /dev/null; then
      cd /mnt
      for file in tracing_on current_tracer trace_clock buffer_size_kb events/enable set_event \
        tracing_cpumask trace_options; do grep -H '' $file || true; done
      ls instances
    fi`;
  const [unshare = '', ...args] = [...OWN_MOUNTS, 'bash', '-c', script];
  return (await promisify(execFile)(unshare, args, { maxBuffer: 2 ** 26 })).stdout;
}

describe('pkvm-tracefs exec', () => {
  test('ends as its command does', async () => {
    expect(await exec('exit 7').exit()).toBe(7);
    expect(await exec('kill -TERM $$').exit()).toBe(143);
    const [command = '', ...args] = [...EXEC, '--', 'no-such-command'];
    expect(await new Child(command, args).exit()).toBe(127);
  });

  test('passes signals on, and leaves nothing behind', async () => {
    const script = 'trap "echo caught; exit 3" TERM; echo on; while :; do sleep 0.1; done';
    const child = exec(script, [], ['env', `TMPDIR=${blank()}`]);
    await until(() => child.stdout.includes('on'));
    expect(await child.kill('SIGTERM')).toBe(3);
    expect(child.stdout).toBe('on\ncaught\n');
    expect(readdirSync(blank())).toEqual([]);
  });

  withDaemon('shows the mount of a daemon that runs already', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '3');
    const cpus = await simulated(
      'echo 33 > /sys/kernel/tracing/buffer_size_kb; ls /sys/kernel/tracing/per_cpu',
      ['--mount', daemon.dir],
    );
    expect(cpus).toBe('cpu0\ncpu1\ncpu2\n');
    expect((await daemon.sh('cat buffer_size_kb')).stdout).toBe('33 (unloaded)\n');
  });

  test('shows as many CPUs as there are simulated', async () => {
    expect(await simulated('getconf _NPROCESSORS_CONF', ['--cpus', '5'])).toBe('5\n');
  });
});

/** The processes that have a path in their command line. */
const processesWith = (path: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path);
    } catch {
      return false; // It is no process, or none any more.
    }
  });

describe('pkvm-tracefs exec that is killed leaves no daemon, mount or directory', () => {
  const isCleared = () =>
    readdirSync(blank()).length === 0 &&
    processesWith(blank()).length === 0 &&
    !readFileSync('/proc/mounts', 'utf8').includes(dir);

  test('once its command runs, which does not see the host’s tracefs instead', async () => {
    const script = `echo on; while ls /sys/kernel/tracing; do sleep 0.05; done > /dev/null 2>&1
      ls /sys/kernel/tracing`;
    const child = exec(script, [], ['env', `TMPDIR=${blank()}`]);
    await until(() => child.stdout !== '' || child.ended);
    await child.kill('SIGKILL'); // It has ended when its command has, which has its stdout too.
    expect(child.stdout).toBe('on\n');
    expect(child.stderr).toContain('Transport endpoint is not connected');
    await until(isCleared);
  });

  test('while its daemon starts', async () => {
    const child = exec('true', [], ['env', `TMPDIR=${blank()}`]);
    await until(() => processesWith(`${blank()}/`).length > 0);
    await child.kill('SIGKILL');
    await until(isCleared);
  });
});

test('the daemon of an exec removes no directory but one that an exec has made', async () => {
  const mountpoint = join(dir, 'mountpoint');
  mkdirSync(mountpoint);
  writeFileSync(join(dir, 'precious'), '');
  const daemon = new Child(process.execPath, [MAIN, 'mount', mountpoint, '--for-exec']);
  expect(await daemon.exit()).toBe(64);
  expect(readdirSync(dir)).toEqual(['mountpoint', 'precious']);
});

describe('pkvm-tracefs exec refuses in one line', () => {
  test.for([
    ['a TMPDIR that is missing', 73, ['env', 'TMPDIR=/nope'], []],
    ['a mount that is missing', 66, [], ['--mount', '/nope']],
    ['a directory that is no mount of ours', 66, [], ['--mount', '/tmp']],
    ['an empty name of a mount', 64, [], ['--mount', '']],
  ] as const)('%s', async ([, code, before, options]) => {
    const child = exec('echo runs', options, before);
    expect(await child.exit()).toBe(code);
    expect(child.stderr.trim().split('\n')).toHaveLength(1);
    expect(child.stdout).toBe('');
  });
});

describe('the host’s tracing', () => {
  /** Marks the tracefs at a path if it is the host's, and says so. */
  const MARK = `mark() { [ ! -e "$1/events/sched" ] || { echo "$1"; mkdir "$1/instances/$MARK"; }; }`;
  const mark = `pkvm-tracefs-mark-${process.pid}`;

  /** What a program may try that wants a tracefs of its own. */
  const REACH = `MARK=${mark}; ${MARK}
    mark "$(pwd -P)"; mark .
    [ -e /sys/kernel/tracing/README ] || mount -t tracefs nodev /sys/kernel/tracing
    mark /sys/kernel/tracing; mark /sys/kernel/debug/tracing
    cd "$DIR"; mkdir t d b; [ ! -s file ] || echo file
    mount -t tracefs nodev t; mark t
    mount -t debugfs nodev d; mark d/tracing
    mount --rbind /sys/kernel b; mark b/tracing; mark b/debug/tracing
    mount --bind /sys/kernel/debug b; mark b/tracing
    for at in /sys/kernel/tracing /sys/kernel/debug/tracing /sys/kernel/debug; do umount -l $at; done
    mark /sys/kernel/tracing; mark /sys/kernel/debug/tracing
    mount -t tracefs nodev /sys/kernel/tracing; mark /sys/kernel/tracing
    mark /proc/1/root/sys/kernel/tracing
    echo 1 > /proc/sys/kernel/traceoff_on_warning
    trace-cmd record -q -e hypervisor sleep 0.1 && trace-cmd reset; echo "trace-cmd $?"`;

  const SETTING = '/proc/sys/kernel/traceoff_on_warning';
  const setting = readFileSync(SETTING, 'latin1');

  /** Takes back what a command did to the host if it could. */
  const repair = async () => {
    if (readFileSync(SETTING, 'latin1') !== setting) writeFileSync(SETTING, setting);
    const script = `mount -t tracefs nodev /mnt && rmdir /mnt/instances/${mark}`;
    await new Child('unshare', [...OWN_MOUNTS.slice(1), 'sh', '-c', script]).exit();
  };

  test.for([
    ['with nothing mounted', prepared(':')],
    [
      'with tracefs and debugfs mounted, from inside',
      prepared(`mount -t tracefs nodev /sys/kernel/tracing; mount -t debugfs nodev /sys/kernel/debug
        mkdir "$DIR/again"; mount -t tracefs nodev "$DIR/again"
        touch "$DIR/file"; mount --bind "$DIR/again/README" "$DIR/file"; cd /sys/kernel/tracing`),
    ],
  ] as const)('is out of reach for whatever a command mounts: %s', async ([, before]) => {
    const state = await hostState();
    expect(state).toMatch(/^\/proc\/sys\/kernel\/kptr_restrict:/m);
    try {
      const out = await simulated(REACH, [], ['env', `DIR=${dir}`, ...before]);
      expect(out).toBe('trace-cmd 0\n');
      expect(await hostState()).toBe(state);
    } finally {
      await repair();
    }
  });

  test('is not uncovered by a plain user', async () => {
    const script = 'umount -l /sys/kernel/tracing; ls /sys/kernel/tracing/events';
    const out = await simulated(script, [], [...HOST_TRACEFS, AS_NOBODY]);
    expect(out).toBe('enable\nftrace\nheader_event\nheader_page\nhypervisor\n');
  });

  test('leaves root its rights over mounts and users', async () => {
    const script = `mkdir -p m; mount -t tmpfs none m && umount m && mount --bind /usr m && umount m
      setpriv --reuid=1234 --clear-groups id -u; touch f; chown 1234:4321 f; stat -c %u:%g f`;
    expect(await simulated(script)).toBe('1234\n1234:4321\n');
  });
});

describe('the mounts that a command finds in /proc/mounts', () => {
  const FIND = `grep tracefs /proc/mounts; sh -c 'cat /proc/mounts' | grep -c tracefs
    ls "$(grep tracefs /proc/mounts | head -n 1 | cut -d ' ' -f 2)/per_cpu" | wc -l`;
  const OURS = 'nodev /sys/kernel/tracing tracefs rw 0 0\n1\n5\n';

  withDaemon('are ours alone, with two simulators at once', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '3');
    const second = exec(`${FIND}; sleep infinity & trap "kill $!" TERM; wait`, ['--cpus', '5']);
    for (const before of [HOST_TRACEFS, [AS_NOBODY]])
      expect(await simulated(FIND, ['--cpus', '5'], before)).toBe(OURS);
    await second.kill('SIGTERM');
    expect(second.stdout).toBe(OURS);
  });

  test('have what else is mounted', async () => {
    const script = "grep '^none /mnt tmpfs rw' /proc/mounts | wc -l";
    expect(await simulated(script, [], prepared('mount -t tmpfs none /mnt'))).toBe('1\n');
  });

  test('lead a plain user’s trace-cmd to ours from a shell, with a blank in TMPDIR', async () => {
    const env = ['env', `TMPDIR=${blank()}`, AS_NOBODY];
    expect(await simulated('trace-cmd list -B; true', [], env)).toBe('hypervisor\n');
    expect(readdirSync(blank())).toEqual([]);
  });

  describe('where the kernel has no tracefs', () => {
    const hidden = [...prepared('mount -t tmpfs none /sys/kernel'), AS_NOBODY];

    test('lead a plain user’s trace-cmd to ours from a shell', async () => {
      expect(await simulated('trace-cmd list -B; true', [], hidden)).toBe('hypervisor\n');
    });

    test('have a blank of TMPDIR as getmntent(3) reads it', async () => {
      const script = 'ls "$(findmnt -F /proc/mounts -t tracefs -n -o TARGET)/instances"';
      const env = ['env', `TMPDIR=${blank()}`, ...hidden];
      expect(await simulated(script, [], env)).toBe('hypervisor\n');
    });
  });
});

import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { Child, type Daemon, MAIN, test, until } from '../support/daemon.ts';
import { PidsLimit } from '../support/pids-limit.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL'] as const;
const LIMIT_MS = 200;
/** As /proc shows it; Node has no name for it. */
const O_CLOEXEC = 0o2000000;
const READERS = 100;

const startReaders = async (daemon: Daemon, count: number): Promise<Child[]> => {
  const readers = Array.from({ length: count }, () => daemon.spawn('cat', 'trace_pipe'));
  for (const reader of readers) await daemon.blocked(reader);
  return readers;
};

const end = (readers: readonly Child[]): Promise<unknown> =>
  Promise.all(readers.map((reader) => reader.kill('SIGTERM')));

/** Enables selftest and starts tracing: the shell's next lines may make events. */
const TRACING = 'echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on;';

describe('beside readers that wait', () => {
  test.for([
    'rm -rf per_cpu',
    'rm trace_pipe',
    'rmdir ../hypervisor',
    'mv trace_pipe trace',
    'mv ../hypervisor ../other',
    'ln trace_pipe other',
    'mkdir other',
  ])('%s fails at once, and the readers go on', async (command, { daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '1');
    const readers = await startReaders(daemon, 3);
    const change = new Child('sh', ['-c', command], { cwd: daemon.hypervisor });
    expect(await change.exit()).toBe(1);
    expect(change.stderr).toMatch(/Operation not permitted/);
    await daemon.sh(
      `${TRACING} for i in 1 2 3; do echo 1 > selftest_event; done; echo 0 > tracing_on`,
    );
    await until(() => readers.reduce((sum, { lines }) => sum + lines.length, 0) === 3);
    await end(readers);
  });

  test('a second process that reads the same open pipe ends by any signal', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '1');
    const script = 'cat <&3 & echo $!; cat <&3 & echo $!; wait';
    const shell = new Child('bash', ['-c', `exec 3< trace_pipe; ${script}`], {
      cwd: daemon.hypervisor,
    });
    await until(() => shell.lines.length === 2);
    const [first = '', second = ''] = shell.lines;
    for (const pid of [first, second]) await until(() => waitsFor(pid) === 'request_wait_answer');
    process.kill(Number(second), 'SIGTERM');
    await until(() => !isAlive(second));
    expect(isAlive(first)).toBe(true);
    process.kill(Number(first), 'SIGKILL');
    expect(await shell.exit()).toBe(0);
  });

  const limited = PidsLimit.isThere();
  test.runIf(limited).for(SIGNALS)(
    '%s ends each of them, though the daemon can have no thread more',
    async (signal, { daemon, onTestFinished }) => {
      await daemon.start('--rate', '0', '--cpus', '2');
      const limit = new PidsLimit(daemon.child.pid, 20);
      onTestFinished(() => limit.remove());
      const readers = await startReaders(daemon, READERS);
      expect((await daemon.sh('cat buffer_size_kb')).stdout).toBe('7 (loaded)\n');
      for (const reader of readers.slice(0, 10)) {
        const start = performance.now();
        expect(await reader.kill(signal)).toBe(signal);
        expect(performance.now() - start).toBeLessThan(LIMIT_MS);
      }
      await end(readers.slice(10));
      await daemon.child.kill('SIGTERM');
    },
  );
});

describe('a splice(2)', () => {
  test('from trace_pipe is EINVAL, whether or not the program has read before', async ({
    daemon,
  }) => {
    await daemon.start('--rate', '0', '--cpus', '1');
    const { stdout } = await daemon.sh(`${TRACING} echo 1 > selftest_event; echo 1 > selftest_event
      python3 -c '
import os
pipe = os.open("trace_pipe", os.O_RDONLY)
_, to = os.pipe()
def splice():
    try: print(os.splice(pipe, to, 4096))
    except OSError as error: print(error.strerror)
splice()
print(len(os.read(pipe, 40)))
splice()'`);
    expect(stdout).toBe('Invalid argument\n40\nInvalid argument\n');
  });

  test('of trace_pipe fails so that busybox reads instead', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '1');
    const { stdout } = await daemon.sh(
      `${TRACING} echo 1 > selftest_event; timeout 1 busybox cat trace_pipe | cat || true`,
    );
    expect(stdout).toMatch(/selftest id=1\n$/);
  });
});

test.for([
  [': > tracing_on', '0\n'],
  ['printf 1 > tracing_on', '1\n'],
])('after %s a splice(2) gives all of the text', async ([write, text], { daemon }) => {
  await daemon.start('--rate', '0', '--cpus', '1');
  const { stdout } = await daemon.sh(
    `stat tracing_on > /dev/null; ${write}
     python3 -c 'import os
file = os.open("tracing_on", os.O_RDONLY)
here, to = os.pipe()
print(os.read(here, os.splice(file, to, 4096)).decode(), end="")'`,
  );
  expect(stdout).toBe(text);
});

test('a page fault of a mapping of pages takes no events', async ({ daemon }) => {
  await daemon.start('--rate', '0', '--cpus', '1');
  await daemon.sh(`${TRACING} echo 1 > selftest_event`);
  const mapping = daemon.spawn(
    'python3',
    '-c',
    'import mmap; raw = open("per_cpu/cpu0/trace_pipe_raw", "rb"); mmap.mmap(raw.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ)[0]',
  );
  expect(await mapping.exit()).toBe('SIGBUS');
  expect((await daemon.sh('cat per_cpu/cpu0/stats')).stdout).toMatch(/^entries: 1$/m);
});

test('a child of the daemon does not have its channel to the kernel', async ({ daemon }) => {
  await daemon.start('--rate', '0', '--cpus', '1');
  const proc = `/proc/${daemon.child.pid}`;
  const channels = readdirSync(`${proc}/fd`).filter((fd) =>
    leadsTo(`${proc}/fd/${fd}`, '/dev/fuse'),
  );
  expect(channels).toHaveLength(1);
  const info = readFileSync(`${proc}/fdinfo/${channels[0]}`, 'latin1');
  expect(Number.parseInt(/^flags:\s*(\d+)$/m.exec(info)?.[1] ?? '', 8) & O_CLOEXEC).not.toBe(0);
});

test('a mountpoint may have a path of any length', async ({ daemon }) => {
  const dir = join(daemon.dir, ...Array.from({ length: 6 }, () => 'x'.repeat(200)));
  mkdirSync(dir, { recursive: true });
  const child = new Child(process.execPath, [MAIN, 'mount', dir, '--rate', '0', '--cpus', '1']);
  await until(() => child.stdout !== '' || child.ended);
  expect(child.stdout).toBe(`ready ${dir}\n`);
  expect(readFileSync(join(dir, 'hypervisor/tracing_on'), 'utf8')).toBe('0\n');
  expect(await child.kill('SIGTERM')).toBe(0);
  expect(readdirSync(dir)).toEqual([]);
  rmSync(join(daemon.dir, 'x'.repeat(200)), { recursive: true });
});

function leadsTo(link: string, path: string): boolean {
  try {
    return readlinkSync(link) === path;
  } catch {
    return false; // It was closed meanwhile.
  }
}

function waitsFor(pid: string): string {
  return readFileSync(`/proc/${pid}/wchan`, 'latin1');
}

function isAlive(pid: string): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

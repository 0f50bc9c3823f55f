import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect } from 'vitest';
import { Child, Daemon, isMounted, MAIN, test, until } from '../support/daemon.ts';

/** JavaScript that has a link to `target` take the place of `path` once the mountpoint was looked at. */
const swapAfterCheck = (mountpoint: string, path: string, target: string): string => `
  import fs from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  const { readdirSync } = fs;
  fs.readdirSync = (dir, ...how) => {
    const names = readdirSync(dir, ...how);
    if (dir === '${mountpoint}') {
      fs.renameSync('${path}', '${path}-moved');
      fs.symlinkSync('${target}', '${path}');
    }
    return names;
  };
  syncBuiltinESMExports();`;

describe('the daemon', () => {
  test.for(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'unmounts on %s, and ends with 0',
    async (signal, { daemon }) => {
      await daemon.start();
      expect(isMounted(daemon.dir)).toBe(true);
      expect(await daemon.child.kill(signal)).toBe(0);
      expect(isMounted(daemon.dir)).toBe(false);
      expect(daemon.child.stdout).toBe(`ready ${daemon.dir}\n`);
      expect(daemon.child.stderr).toBe('');
    },
  );

  test('ends with 0 when somebody else unmounts it', async ({ daemon }) => {
    await daemon.start();
    expect(await new Child('umount', [daemon.dir]).exit()).toBe(0);
    expect(await daemon.child.exit()).toBe(0);
  });

  test('is unmounted, though busy, and frees who waited', async ({ daemon }) => {
    await daemon.start();
    const cat = daemon.spawn('cat', 'trace_pipe');
    await daemon.blocked(cat);
    expect(await daemon.child.kill('SIGTERM')).toBe(0);
    expect(isMounted(daemon.dir)).toBe(false);
    expect(await cat.exit()).toBe(1);
  });

  test('takes two signals at once for one', async ({ daemon }) => {
    await daemon.start();
    daemon.child.process.kill('SIGINT');
    expect(await daemon.child.kill('SIGTERM')).toBe(0);
    expect(isMounted(daemon.dir)).toBe(false);
  });

  test('that is killed leaves no dead mount, and frees who waited', async ({ daemon }) => {
    await daemon.start();
    const cat = daemon.spawn('cat', 'trace_pipe');
    await daemon.blocked(cat);
    await daemon.child.kill('SIGKILL');
    expect(await cat.exit()).toBe(1);
    await until(() => !isMounted(daemon.dir));
  });

  test('clears the dead mount of one that was killed together with its fusermount', async ({
    daemon,
  }) => {
    await daemon.start();
    const { stdout: fusermount } = await promisify(execFile)('pgrep', [
      '-P',
      `${daemon.child.pid}`,
    ]);
    process.kill(Number(fusermount), 'SIGKILL');
    await daemon.child.kill('SIGKILL');
    expect(isMounted(daemon.dir)).toBe(true);
    await daemon.start();
    expect((await daemon.sh('cat tracing_on')).stdout).toBe('0\n');
  });

  test('unmounts itself where it is, when a directory above was renamed', async ({ daemon }) => {
    const before = join(daemon.dir, 'before');
    const after = join(daemon.dir, 'after');
    mkdirSync(join(before, 'mount'), { recursive: true });
    const child = daemon.run('mount', join(before, 'mount'));
    await until(() => child.stdout !== '' || child.ended);
    renameSync(before, after);
    expect(isMounted(join(after, 'mount'))).toBe(true);
    expect(await child.kill('SIGTERM')).toBe(0);
    expect(child.stderr).toBe('');
    expect(isMounted(join(after, 'mount'))).toBe(false);
    rmSync(after, { recursive: true });
  });

  test.for([
    ['its mountpoint', 'above/mount', 'victim/mount'],
    ['a directory above it', 'above', 'victim'],
  ] as const)(
    'follows no link that takes the place of %s meanwhile',
    async ([, place, target], { daemon }) => {
      const inside = (path: string): string => join(daemon.dir, path);
      const mountpoint = inside('above/mount');
      const victim = inside('victim/mount');
      for (const path of [mountpoint, victim]) mkdirSync(path, { recursive: true });
      const swap = encodeURIComponent(swapAfterCheck(mountpoint, inside(place), inside(target)));
      const args = ['--import', `data:text/javascript,${swap}`, MAIN, 'mount', mountpoint];
      const child = new Child(process.execPath, args);
      await until(() => child.stdout !== '' || child.ended);
      const code = child.ended ? await child.exit() : await child.kill('SIGTERM');
      await until(() => !isMounted(victim));
      for (const name of readdirSync(daemon.dir)) rmSync(inside(name), { recursive: true });
      expect(code).toBe(66);
      expect(child.stdout).toBe('');
      expect(child.stderr).toBe(
        `pkvm-tracefs: ${mountpoint} was replaced while it was being mounted\n`,
      );
    },
  );

  test.for([
    ['in the foreground', ''],
    ['detached', '--detach'],
  ] as const)('%s ends when it cannot say that it is ready', async ([, how], { daemon }) => {
    const command = `exec node ${MAIN} mount ${how} ${daemon.dir} > /dev/full`;
    const child = new Child('bash', ['-c', command]);
    const code = await child.exit();
    if (code === 0) await new Child('umount', [daemon.dir]).exit();
    expect(code).toBe(73);
    expect(child.stderr).toMatch(/^pkvm-tracefs: cannot write to stdout: ENOSPC.*\n$/);
    await until(() => !isMounted(daemon.dir));
  });

  test('has 2 CPUs in virtual time, however many the machine has', async ({ daemon }) => {
    const mount = ['mount', '--detach', '--virtual', daemon.dir];
    const one = new Child('taskset', ['-c', '0', process.execPath, MAIN, ...mount]);
    expect(await one.exit()).toBe(0);
    expect((await daemon.sh('ls per_cpu')).stdout).toBe('cpu0\ncpu1\n');
    const exec = ['exec', '--virtual', '--', 'ls', '/sys/kernel/tracing/per_cpu'];
    const two = new Child('taskset', ['-c', '0', process.execPath, MAIN, ...exec]);
    expect(await two.exit()).toBe(0);
    expect(two.stdout).toBe('cpu0\ncpu1\n');
    expect(await daemon.run('umount', daemon.dir).exit()).toBe(0);
  });

  test('that has a bug says so with its stack, and leaves no mount and no hung shell', async ({
    daemon,
  }) => {
    const bug = 'process.on("SIGWINCH", () => { throw new Error("a bug for the test"); })';
    const child = new Child(process.execPath, [
      '--import',
      `data:text/javascript,${bug}`,
      MAIN,
      'mount',
      daemon.dir,
    ]);
    await until(() => child.stdout !== '');
    const cat = daemon.spawn('cat', 'trace_pipe');
    await daemon.blocked(cat);
    expect(await child.kill('SIGWINCH')).toBe(70);
    expect(child.stderr).toContain('a bug for the test\\n    at');
    expect(isMounted(daemon.dir)).toBe(false);
    expect(await cat.exit()).toBe(1);
  });

  test('is there when --detach returns, and goes on until umount', async ({ daemon }) => {
    const mount = daemon.run('mount', '--detach', daemon.dir);
    expect(await mount.exit()).toBe(0);
    expect(mount.stdout).toBe(`ready ${daemon.dir}\n`);
    expect((await daemon.sh('cat tracing_on')).stdout).toBe('0\n');
    const umount = daemon.run('umount', daemon.dir);
    expect(await umount.exit()).toBe(0);
    expect(isMounted(daemon.dir)).toBe(false);
  });

  test('simulates as many CPUs as it is told', async ({ daemon }) => {
    await daemon.start('--cpus', '3', '--memory', '8', '--rate', '0');
    expect((await daemon.sh('ls per_cpu')).stdout).toBe('cpu0\ncpu1\ncpu2\n');
    await expect(daemon.sh('echo 4000 > buffer_size_kb; echo 1 > tracing_on')).rejects.toThrow(
      'Cannot allocate memory',
    );
  });
});

describe('what cannot be is refused in one line, before anything is mounted:', () => {
  const USAGE = 64;
  const NO_INPUT = 66;

  interface Refusal {
    readonly args: (dir: string) => string[];
    readonly code: number;
    readonly says: string | RegExp;
    readonly prepare?: (dir: string) => void;
    readonly cleanUp?: (dir: string) => void;
  }

  const refusals: Record<string, Refusal> = {
    'no command': { args: () => [], code: USAGE, says: 'Usage' },
    'no directory': { args: () => ['mount'], code: USAGE, says: "missing required argument 'dir'" },
    'an unknown option': {
      args: (dir) => ['mount', '--fast', dir],
      code: USAGE,
      says: "unknown option '--fast'",
    },
    'a wrong value': {
      args: (dir) => ['mount', '--cpus', '0', dir],
      code: USAGE,
      says: 'whole number from 1 to 64',
    },
    'a log level that is none': {
      args: (dir) => ['mount', '--log-level', 'loud', dir],
      code: USAGE,
      says: 'Allowed choices',
    },
    'an empty name of a directory': {
      args: () => ['mount', ''],
      code: USAGE,
      says: 'It must be a path',
    },
    'to unmount an empty name': {
      args: () => ['umount', ''],
      code: USAGE,
      says: 'It must be a path',
    },
    'an empty name of a trace': {
      args: () => ['run', '--perfetto', ''],
      code: USAGE,
      says: 'It must be a path',
    },
    'an empty name of pages': {
      args: () => ['run', '--raw', ''],
      code: USAGE,
      says: 'It must be a path',
    },
    'a directory that is missing': {
      args: (dir) => ['mount', join(dir, 'no')],
      code: NO_INPUT,
      says: 'does not exist: mkdir it first',
    },
    'the same, detached': {
      args: (dir) => ['mount', '--detach', join(dir, 'no')],
      code: NO_INPUT,
      says: 'does not exist: mkdir it first',
    },
    'a file': {
      args: (dir) => ['mount', join(dir, 'file')],
      code: NO_INPUT,
      says: 'is not a directory',
      prepare: (dir) => writeFileSync(join(dir, 'file'), ''),
      cleanUp: (dir) => rmSync(join(dir, 'file')),
    },
    'a directory that is not empty': {
      args: (dir) => ['mount', dir],
      code: NO_INPUT,
      says: 'is not empty',
      prepare: (dir) => mkdirSync(join(dir, 'below')),
      cleanUp: (dir) => rmdirSync(join(dir, 'below')),
    },
    'to unmount what is not mounted': {
      args: (dir) => ['umount', dir],
      code: NO_INPUT,
      says: 'is not mounted by pkvm-tracefs',
    },
  };

  test.for(Object.entries(refusals))('%s', async ([, refusal], { daemon }) => {
    refusal.prepare?.(daemon.dir);
    const child = daemon.run(...refusal.args(daemon.dir));
    expect(await child.exit()).toBe(refusal.code);
    expect(child.stdout).toBe('');
    expect(child.stderr).toMatch(refusal.says);
    if (refusal.says !== 'Usage') expect(child.stderr.trim().split('\n')).toHaveLength(1);
    expect(isMounted(daemon.dir)).toBe(false);
    refusal.cleanUp?.(daemon.dir);
  });

  test('a directory that is mounted already', async ({ daemon }) => {
    await daemon.start();
    const second = daemon.run('mount', daemon.dir);
    expect(await second.exit()).toBe(NO_INPUT);
    expect(second.stderr).toContain('is mounted already');
    expect((await daemon.sh('cat tracing_on')).stdout).toBe('0\n');
  });

  test('a user who may not open /dev/fuse', async ({ daemon, skip }) => {
    if (process.getuid?.() !== 0) skip('takes root, to become somebody else');
    chmodSync(daemon.dir, 0o777);
    const asNobody = new Child('setpriv', [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      process.execPath,
      MAIN,
      'mount',
      daemon.dir,
    ]);
    const code = await asNobody.exit();
    if (code === 0) return; // Where /dev/fuse is for everybody.
    expect(code).toBe(77);
    expect(asNobody.stderr).toBe(
      'pkvm-tracefs: no access to /dev/fuse: run as root, or chmod it 0666\n',
    );
  });
});

test('a daemon leaves no process behind, nor a thread of another’s', async () => {
  const daemon = new Daemon();
  await daemon.start('--cpus', '4', '--rate', 'max');
  const { pid } = daemon.child;
  await daemon.stop();
  await until(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
});

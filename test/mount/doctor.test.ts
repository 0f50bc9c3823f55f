import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { Child, MAIN } from '../support/daemon.ts';

async function doctor(...before: string[]): Promise<{ code: number | string; lines: string[] }> {
  const [command = '', ...args] = [...before, process.execPath, MAIN, 'doctor'];
  const child = new Child(command, args);
  const code = await child.exit();
  expect(child.stderr).toBe('');
  return { code, lines: child.lines };
}

test('a machine that has everything is well', async () => {
  const { code, lines } = await doctor();
  expect(code).toBe(0);
  expect(lines).toHaveLength(11);
  for (const line of lines.filter((each) => each !== '')) expect(line).toMatch(/^(ok|works) /);
  expect(lines[2]).toBe("ok       namespaces  mounts of one's own, as root");
});

test('a plain user has it in a user namespace', async () => {
  const { code, lines } = await doctor(resolve('test/support/as-nobody.sh'));
  expect(code).toBe(0);
  expect(lines[2]).toBe("ok       namespaces  mounts of one's own, in a user namespace");
});

test('without /dev/fuse nothing can be mounted, and it says what to do', async () => {
  const { code, lines } = await doctor(
    'unshare',
    '-m',
    'bash',
    '-c',
    'mount -t tmpfs none /dev && exec "$@"',
    '-',
  );
  expect(code).toBe(69);
  expect(lines[0]).toBe('missing  FUSE        no /dev/fuse: load the fuse module (modprobe fuse)');
  expect(lines.slice(6).map((line) => line.split(/\s+/).slice(0, 2).join(' '))).toEqual([
    'works run',
    'cannot mount',
    'cannot exec',
    'cannot exec',
    'cannot exec',
  ]);
});

test('without trace-cmd only that is missing', async () => {
  const { code, lines } = await doctor(
    'unshare',
    '-m',
    'bash',
    '-c',
    'mount --bind /dev/null "$(command -v trace-cmd)" && exec "$@"',
    '-',
  );
  expect(code).toBe(0);
  expect(lines[4]).toBe('missing  trace-cmd   apt install trace-cmd');
  expect(lines.at(-1)).toBe('cannot   exec        trace-cmd');
});

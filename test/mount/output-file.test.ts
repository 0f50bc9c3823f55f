import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Child, MAIN } from '../support/daemon.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-test-output-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const RUN = ['run', '--scenario', 'boot'];
const CANNOT_CREATE = 73;

async function run(...args: string[]): Promise<Child> {
  const child = new Child(process.execPath, [MAIN, ...RUN, '--for', '3ms', ...args]);
  await child.exit();
  return child;
}

/** Runs into a full disk or another file that cannot be; it has to say so, in one line. */
async function refused(...args: string[]): Promise<string> {
  const child = await run(...args);
  expect(child.stderr.trim().split('\n')).toHaveLength(1);
  expect(await child.exit()).toBe(CANNOT_CREATE);
  return child.stderr;
}

/** The options that write a trace to `path`, or below it, and one of the files that they make. */
const OUTPUTS = {
  '--perfetto': () => ({ args: ['--perfetto', join(dir, 'trace')], file: join(dir, 'trace') }),
  '--raw': () => ({ args: ['--raw', dir], file: join(dir, 'cpu1') }),
};

describe.each(Object.entries(OUTPUTS))('run %s', (_option, output) => {
  test.each(['root:x:0:0:root:/root:/bin/sh\n', '\n'.repeat(4_096), '\0'.repeat(4_096)])(
    'leaves a file that is not a trace of ours, unless it is forced (%#)',
    async (text) => {
      const { args, file } = output();
      writeFileSync(file, text);
      expect(await refused(...args)).toContain(`${file} exists and is not a trace of ours`);
      expect(readFileSync(file, 'utf8')).toBe(text);
      expect(readdirSync(dir)).toHaveLength(1);
      expect(await (await run(...args, '--force')).exit()).toBe(0);
      expect(readFileSync(file, 'utf8')).not.toBe(text);
    },
  );

  test('replaces a trace of ours, and an empty file, and leaves no other', async () => {
    const { args, file } = output();
    writeFileSync(file, '');
    chmodSync(file, 0o600);
    expect(await (await run(...args)).exit()).toBe(0);
    const first = readFileSync(file);
    expect(first.length).toBeGreaterThan(4_095);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const names = readdirSync(dir);
    expect(await (await run('--seed', '2', ...args)).exit()).toBe(0);
    expect(readFileSync(file).equals(first)).toBe(false);
    expect(readdirSync(dir)).toEqual(names);
  });

  test('says that the disk is full, and replaces nothing', async () => {
    const { args, file } = output();
    symlinkSync('/dev/full', file);
    expect(await refused(...args)).toMatch(new RegExp(`cannot write to ${file}: ENOSPC`));
    expect(statSync('/dev/full').isCharacterDevice()).toBe(true);
    expect(readdirSync(dir)).toHaveLength(1);
  });

  test('follows a link to the file that it replaces', async () => {
    const { args, file } = output();
    const real = join(dir, 'real');
    writeFileSync(real, '');
    symlinkSync(real, file);
    expect(await (await run(...args)).exit()).toBe(0);
    expect(statSync(real).size).toBeGreaterThan(4_095);
  });
});

test.each(['--raw', '--perfetto'])('%s is refused where nothing can be made', async (option) => {
  for (const path of ['/proc/no-such-file', '/proc/no/such/file']) await refused(option, path);
});

test('run --raw makes the directories that are missing', async () => {
  expect(await (await run('--raw', join(dir, 'a/b'))).exit()).toBe(0);
  expect(readdirSync(join(dir, 'a/b'))).toEqual(['cpu0', 'cpu1']);
});

test('a trace that does not get whole is not there', async () => {
  const disk = join(dir, 'disk');
  mkdirSync(disk);
  const script = `mount -t tmpfs -o size=64k none ${disk}; node ${MAIN} ${RUN.join(' ')} --perfetto ${disk}/trace
    echo $?; ls -A ${disk}`;
  const child = new Child('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script]);
  await child.exit();
  expect(child.stdout).toBe(`${CANNOT_CREATE}\n`);
});

test.each(['run', 'doctor'])('%s says that the disk of its output is full', async (command) => {
  const child = new Child('bash', ['-c', `exec node ${MAIN} ${command} > /dev/full`]);
  expect(await child.exit()).toBe(CANNOT_CREATE);
  expect(child.stderr).toMatch(/^pkvm-tracefs: cannot write to stdout: ENOSPC.*\n$/);
});

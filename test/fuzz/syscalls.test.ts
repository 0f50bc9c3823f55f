import { describe, expect } from 'vitest';
import { Child, test } from '../support/daemon.ts';

const LIMIT_MS = 300_000;

describe('system calls', () => {
  test('of every kind harm neither the daemon nor their callers', {
    timeout: LIMIT_MS,
  }, async () => {
    const fuzzer = new Child('python3', [
      'test/fuzz/syscalls/fuzz.py',
      '--ops',
      '20000',
      '--renames',
      '--shared',
    ]);
    expect(await fuzzer.exit(), fuzzer.stderr).toBe(0);
  });

  test('give no byte of the daemon’s memory away', async ({ daemon }) => {
    await daemon.start('--rate', '2000', '--scenario', 'boot', '--cpus', '2');
    const leaks = new Child('python3', ['test/fuzz/syscalls/leaks.py', daemon.dir]);
    expect(await leaks.exit(), leaks.stderr).toBe(0);
    expect(leaks.stdout).toBe('{}\n');
  });
});

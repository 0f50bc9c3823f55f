import { describe, expect } from 'vitest';
import { Child, test } from '../support/daemon.ts';

const LIMIT_MS = 300_000;
/** A read through the page cache that waits is out of reach of signals; so is whoever opens the file. */
const NOT_YET = 'page-cache';

describe('system calls', () => {
  test('of every kind harm neither the daemon nor their callers', {
    timeout: LIMIT_MS,
  }, async () => {
    const fuzzer = new Child('python3', [
      'test/fuzz/syscalls/fuzz.py',
      '--ops',
      '20000',
      '--without',
      NOT_YET,
    ]);
    expect(await fuzzer.exit(), fuzzer.stderr).toBe(0);
  });

  // The binding copies what it never wrote: this says so once it no longer does.
  test.fails('give no byte of the daemon’s memory away', async ({ daemon }) => {
    await daemon.start('--rate', '2000', '--scenario', 'boot', '--cpus', '2');
    const leaks = new Child('python3', ['test/fuzz/syscalls/leaks.py', daemon.dir]);
    expect(await leaks.exit(), leaks.stderr).toBe(0);
    expect(leaks.stdout).toBe('{}\n');
  });
});

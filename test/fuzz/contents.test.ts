import { describe, expect, test } from 'vitest';
import { Child } from '../support/daemon.ts';

const LIMIT_MS = 300_000;

describe('what is written to a file, or read as a scenario,', () => {
  test.each([
    ['the tree', ['--ops', '20000']],
    ['a mount', ['--ops', '500', '--seed', '2', '--mount']],
  ])(
    'gets an errno or a message at the worst, of %s',
    { timeout: LIMIT_MS },
    async (_, options) => {
      const fuzzer = new Child('test/fuzz/contents/fuzz.sh', options);
      expect(await fuzzer.exit(), fuzzer.stderr).toBe(0);
    },
  );
});

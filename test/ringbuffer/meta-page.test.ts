import { expect, test } from 'vitest';
import { incrementEntries, initMetaPage, metaEntries } from '../../src/ringbuffer/meta-page.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../../src/units.ts';

const ENTRIES = 40;

test.each([0n, 2n ** 31n - 1n, 2n ** 32n - 1n, 2n ** 33n - 1n])(
  'one entry more than %d',
  (before) => {
    const memory = new SharedMemory(new SharedArrayBuffer(PAGE_SIZE));
    initMetaPage(memory, 0, 3);
    memory.store64(ENTRIES, before);
    incrementEntries(memory, 0);
    expect(metaEntries(memory, 0)).toBe(Number(before) + 1);
  },
);

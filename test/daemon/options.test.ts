import { describe, expect, test } from 'vitest';
import { parseCounterHz, parseCpus, parseMemoryMib, parseRate } from '../../src/daemon/options.ts';

describe.each([
  { name: '--cpus', parse: parseCpus, good: ['1', '64'], bad: ['0', '65', '-1', '1.5', '', 'two'] },
  { name: '--memory', parse: parseMemoryMib, good: ['4', '2048'], bad: ['3', '2049', '64M'] },
  { name: '--counter-hz', parse: parseCounterHz, good: ['1000', '24000000'], bad: ['999', '1e6'] },
  { name: '--rate', parse: parseRate, good: ['0', '0.5', '1000000'], bad: ['-1', 'fast', ''] },
])('$name', ({ parse, good, bad }) => {
  test.each(good)('takes %s', (text) => {
    expect(parse(text)).toBe(Number(text));
  });

  test.each(bad)('refuses "%s" in one line that says what it takes', (text) => {
    expect(() => parse(text)).toThrow(/^It must be [^\n]*\.$/);
  });
});

test('--rate max is as fast as it goes', () => {
  expect(parseRate('max')).toBe(Number.POSITIVE_INFINITY);
});

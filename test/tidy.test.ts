import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { performanceTable, publishedResults } from '../scripts/performance-table.ts';

const MAX_LINES = 300;

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '');
const sources = tracked.filter((file) => /^(src|test)\/.*\.ts$/.test(file));

/** House rules that no linter knows. */
describe('the house is tidy:', () => {
  test('no source file is longer than a reader’s patience', () => {
    const long = sources.filter(
      (file) =>
        file.startsWith('src/') && readFileSync(file, 'utf8').split('\n').length - 1 > MAX_LINES,
    );
    expect(long).toEqual([]);
  });

  test('every folder of src is tested in the folder of its name', () => {
    const folders = (root: string): string[] => [
      ...new Set(
        sources.flatMap((file) => (file.startsWith(`${root}/`) ? (file.split('/')[1] ?? []) : [])),
      ),
    ];
    const tested = folders('test');
    const untested = folders('src').filter(
      (folder) => !folder.endsWith('.ts') && !tested.includes(folder),
    );
    expect(untested).toEqual([]);
  });

  test('nothing names a person’s machine', () => {
    const named = tracked.filter((file) =>
      /(^|[^\w.])\/(home|root|Users)\/\w/.test(readFileSync(file, 'latin1')),
    );
    expect(named).toEqual([]);
  });

  test('docs/performance.md says what was measured', () => {
    const text = readFileSync('docs/performance.md', 'utf8');
    expect(text).toContain(performanceTable(publishedResults()));
  });

  test('nothing is left to do later, or tried alone', () => {
    const left = sources.filter(
      (file) =>
        file !== 'test/tidy.test.ts' &&
        /\b(TODO|FIXME|XXX)\b|\.only\(|\.skip\(/.test(readFileSync(file, 'utf8')),
    );
    expect(left).toEqual([]);
  });
});

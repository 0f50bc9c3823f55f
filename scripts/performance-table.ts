import { readFileSync } from 'node:fs';
import { type Result, spreadText } from '../bench/report.ts';

/**
 * The table of docs/performance.md, of what `npm run bench` measured; to copy it there:
 * npx tsx scripts/performance-table.ts.
 */
export function performanceTable(results: readonly Result[]): string {
  const rows = [
    ['work', 'ours', 'beside', 'ratio', 'target'],
    ['---', '---', '---', '---', '---'],
    ...results.map(row),
  ];
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function row({ name, unit, ours, besides, beside, ratio, ...rest }: Result): string[] {
  return [
    `${name}, ${unit}`,
    spreadText(ours),
    beside ? `${spreadText(beside)}, ${besides}` : '',
    ratio ? spreadText(ratio) : '',
    target(rest),
  ];
}

function target({ target, better, met }: Pick<Result, 'target' | 'better' | 'met'>): string {
  if (!target) return '';
  const limit = `${better === 'more' ? 'at least' : 'at most'} ${target.limit}`;
  return `${limit}${target.of === 'ratio' ? ' ×' : ''}, ${met ? 'met' : '**missed**'}`;
}

/** The run that docs/performance.md is about. */
export function publishedResults(): Result[] {
  return JSON.parse(readFileSync('bench/results/two-cores.json', 'utf8')).results;
}

if (process.argv[1] === import.meta.filename) console.log(performanceTable(publishedResults()));

import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import type { Benchmark, Sample, Target } from './benchmark.ts';

/** A median, with the least and the most of the rounds. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly better: Benchmark['better'];
  readonly ours: Spread;
  readonly besides?: string;
  readonly beside?: Spread;
  /** Of ours to what is beside, round by round. */
  readonly ratio?: Spread;
  readonly target?: Target;
  /** Whether the median meets the target; not known when nothing is beside. */
  readonly met?: boolean;
}

export function resultOf(benchmark: Benchmark, samples: readonly Sample[]): Result {
  const { name, unit, better, besides, target } = benchmark;
  const ours = spreadOf(samples.map((sample) => sample.ours));
  const pairs = samples.flatMap(({ ours: one, beside }) => (beside ? [{ one, beside }] : []));
  const common = { name, unit, better, ours, ...(target ? { target } : {}) };
  if (besides === undefined || pairs.length === 0) return { ...common, ...verdict(common) };
  const compared = {
    ...common,
    besides,
    beside: spreadOf(pairs.map(({ beside }) => beside)),
    ratio: spreadOf(pairs.map(({ one, beside }) => one / beside)),
  };
  return { ...compared, ...verdict(compared) };
}

function verdict({ ours, ratio, target, better }: Omit<Result, 'met'>): { met?: boolean } {
  const measured = target?.of === 'ratio' ? ratio : ours;
  if (target === undefined || measured === undefined) return {};
  const { median } = measured;
  return { met: better === 'more' ? median >= target.limit : median <= target.limit };
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return {
    median: at(Math.floor((sorted.length - 1) / 2)),
    least: at(0),
    most: at(sorted.length - 1),
  };
}

const COLUMNS = [46, 22, 22, 20, 18];

export function printHeader(hasTracefs: boolean): void {
  console.log(`${machineText()}${hasTracefs ? '' : '; no tracefs to compare with'}\n`);
  printRow(['', 'ours', 'beside', 'ratio', 'target']);
}

export function printResult(result: Result): void {
  const { name, unit, better, ours, besides, beside, ratio, target, met } = result;
  const sign = better === 'more' ? '≥' : '≤';
  printRow([
    `${name}, ${unit}`,
    spreadText(ours),
    beside ? spreadText(beside) : '',
    ratio ? spreadText(ratio) : '',
    target ? `${sign} ${target.limit}${target.of === 'ratio' ? ' ×' : ''} ${metText(met)}` : '',
    besides && beside ? `beside ${besides}` : '',
  ]);
}

const metText = (met: boolean | undefined): string =>
  met === undefined ? '' : met ? 'met' : 'MISSED';

function printRow(cells: readonly string[]): void {
  console.log(
    cells
      .map((cell, column) => cell.padEnd(COLUMNS[column] ?? 0))
      .join(' ')
      .trimEnd(),
  );
}

export const spreadText = ({ median, least, most }: Spread): string =>
  `${short(median)} (${short(least)}–${short(most)})`;

/** Three digits that count. */
const short = (number: number): string =>
  Number.isFinite(number) ? `${Number(number.toPrecision(3))}` : '–';

const machineText = (): string =>
  `${cpus().length} CPUs, ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}`;

/** A curve: how many million lines a second, by something. */
export interface Plot {
  readonly name: string;
  readonly title: string;
  /** What x counts. */
  readonly x: string;
  readonly points: { readonly x: number; readonly y: Spread }[];
}

export const saveResults = (results: readonly Result[]): void => save('latest', { results });
export const savePlots = (plots: readonly Plot[]): void => save('growth', { plots });

function save(name: string, content: object): void {
  mkdirSync('bench/results', { recursive: true });
  const json = { machine: machineText(), date: new Date().toISOString(), ...content };
  writeFileSync(`bench/results/${name}.json`, `${JSON.stringify(json, undefined, 2)}\n`);
}

import { parseArgs } from 'node:util';
import type { Benchmark } from './benchmark.ts';
import { signalLatency } from './signal-latency.ts';

/** Measures, and prints a line for each benchmark: npm run bench [-- --filter WORD]. */
const BENCHMARKS: readonly Benchmark[] = [signalLatency];

const { values } = parseArgs({ options: { filter: { type: 'string', default: '' } } });

let missed = 0;
for (const benchmark of BENCHMARKS.filter(({ name }) => name.includes(values.filter))) {
  const samples = (await benchmark.run()).sort((a, b) => a - b);
  const at = (share: number): number =>
    samples[Math.floor(share * (samples.length - 1))] ?? Number.NaN;
  const met = at(0.5) <= benchmark.target;
  if (!met) missed++;
  console.log(
    `${benchmark.name}: median ${at(0.5).toFixed(2)} ${benchmark.unit}, 95 % ${at(0.95).toFixed(2)},`,
    `worst ${at(1).toFixed(2)} of ${samples.length}; target ${benchmark.target} ${met ? 'met' : 'MISSED'}`,
  );
}
process.exitCode = missed === 0 ? 0 : 1;

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { Benchmark, Sample } from './benchmark.ts';
import { controlFiles } from './control-files.ts';
import { idle, ready } from './daemon-life.ts';
import { drainText } from './drain-text.ts';
import { HostTracefs } from './host-tracefs.ts';
import { wakeUp } from './latency.ts';
import { manyPipes } from './many-pipes.ts';
import { merge } from './merge.ts';
import { rawPages, traceCmdRecord } from './raw-pages.ts';
import { printHeader, printResult, type Result, resultOf, saveResults } from './report.ts';
import { signalLatency } from './signal-latency.ts';
import { sustained } from './sustained.ts';
import { writeEvent } from './write-event.ts';

/** Measures, and prints a table: npm run bench [-- --filter WORD] [--rounds N]. */
const { values } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    rounds: { type: 'string', default: '5' },
  },
});

/** All there is; beside the kernel where this machine has a tracefs. */
const benchmarks = (tracefs: HostTracefs | undefined): readonly Benchmark[] => [
  writeEvent(tracefs, 1),
  writeEvent(tracefs, availableParallelism()),
  ...drainText(tracefs),
  ...rawPages(tracefs),
  traceCmdRecord,
  sustained(),
  ...merge(),
  wakeUp(tracefs),
  signalLatency,
  ready,
  ...idle(),
  ...controlFiles(tracefs),
  ...manyPipes(),
];

async function measure(benchmark: Benchmark, rounds: number): Promise<Result> {
  const tearDown = await benchmark.setUp?.();
  try {
    const samples: Sample[] = [];
    for (let round = 0; round < rounds; round++) samples.push(await benchmark.round(round));
    return resultOf(benchmark, samples);
  } finally {
    await tearDown?.();
  }
}

const tracefs = HostTracefs.open();
const results: Result[] = [];
try {
  printHeader(tracefs !== undefined);
  for (const benchmark of benchmarks(tracefs)) {
    if (!benchmark.name.includes(values.filter)) continue;
    const result = await measure(benchmark, Number(values.rounds));
    results.push(result);
    printResult(result);
  }
} finally {
  tracefs?.close();
}
saveResults(results);
process.exitCode = results.some(({ met }) => met === false) ? 1 : 0;

import { type Benchmark, ratio } from './benchmark.ts';
import { drainByTurns, TracedMachine } from './traced-machine.ts';

const EVENTS = 128_000;
const TOTAL_KB = 4_096;

/** Events of many CPUs, merged by time and printed, beside those of one. */
export function merge(): Benchmark[] {
  return [2, 8, 64].map((cpus) => {
    let one: TracedMachine;
    let many: TracedMachine;
    return {
      name: `text of ${cpus} CPUs merged`,
      unit: 'ns',
      better: 'less',
      besides: 'one CPU',
      ...(cpus === 64 ? { target: ratio(2) } : {}),
      async setUp() {
        one = await TracedMachine.start(1, TOTAL_KB);
        many = await TracedMachine.start(cpus, TOTAL_KB / cpus);
        for (const machine of [one, many]) await mergeNs(machine); // Compiled by then.
        return async () => {};
      },
      async round() {
        return { ours: await mergeNs(many), beside: await mergeNs(one) };
      },
    };
  });
}

/** For each event. */
async function mergeNs(machine: TracedMachine): Promise<number> {
  const { drained, ns } = await drainByTurns(machine, EVENTS);
  return ns / drained;
}

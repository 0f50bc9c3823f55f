import { TextSink } from '../src/daemon/run.ts';
import { KERNEL_THREAD } from '../src/host-task.ts';
import { type Benchmark, ratio, timeNs } from './benchmark.ts';
import { TracedMachine } from './traced-machine.ts';

const EVENTS = 128_000;
/** So many on one CPU before the next one's turn. */
const TURN = 4;
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
  const { buffer } = machine;
  buffer.reset('all', KERNEL_THREAD);
  const cpus = buffer.readers.length;
  for (let turn = 0; turn < EVENTS / TURN; turn++) machine.write(turn % cpus, TURN);
  const sink = new TextSink(() => {});
  const ns = await timeNs(() => sink.drain(buffer, Number.POSITIVE_INFINITY));
  sink.close();
  return ns / EVENTS;
}

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type Benchmark, ratio, timeNs } from './benchmark.ts';
import type { EventWriterData } from './event-writer.ts';
import { type HostTracefs, systemCalls } from './host-tracefs.ts';
import { TracedMachine } from './traced-machine.ts';

const EVENTS = 150_000;
const BUFFER_KB = 512;
const WARM_UPS = 8;
/** By turns; of each the fastest counts, as the machine's other tenants only ever slow it down. */
const TURNS = 4;
const TSX = new URL('../scripts/tsx-register.mjs', import.meta.url);

/**
 * Emitting hyp_enter and hyp_exit, clock included, on all of some pCPUs at once; beside it, what
 * sys_enter events add to the system calls of as many of the kernel's CPUs.
 */
export function writeEvent(tracefs: HostTracefs | undefined, cpus: number): Benchmark {
  const all = Array.from({ length: cpus }, (_, cpu) => cpu);
  let writers: readonly Worker[] = [];
  return {
    name: cpus === 1 ? 'event written, one pCPU' : `event written, ${cpus} pCPUs at once`,
    unit: 'ns',
    better: 'less',
    besides: 'the kernel',
    ...(cpus === 1 ? { target: ratio(0.6) } : {}),
    async setUp() {
      writers = await startWriters(all);
      return async () => {
        await Promise.all(writers.map((writer) => writer.terminate()));
      };
    },
    async round() {
      const calls = (): Promise<unknown> => Promise.all(all.map((cpu) => systemCalls(EVENTS, cpu)));
      tracefs?.empty(BUFFER_KB);
      const least = { ours: Infinity, calls: Infinity, traced: Infinity };
      for (let turn = 0; turn < TURNS; turn++) {
        least.ours = Math.min(least.ours, await writeAtOnce(writers));
        if (!tracefs) continue;
        least.calls = Math.min(least.calls, await timeNs(calls));
        least.traced = Math.min(least.traced, await tracefs.traced(() => timeNs(calls)));
      }
      const beside = tracefs && (least.traced - least.calls) / EVENTS;
      return { ours: least.ours / EVENTS, beside };
    },
  };
}

/** A thread for each CPU. */
async function startWriters(cpus: readonly number[]): Promise<Worker[]> {
  const machine = await TracedMachine.start(cpus.length, BUFFER_KB);
  const { buffers, counterHz, switchedOnNs } = machine.machine;
  const writers = cpus.map((cpu) => {
    const workerData: EventWriterData = { buffers, counterHz, switchedOnNs, cpu };
    const url = new URL('./event-writer.ts', import.meta.url);
    return new Worker(url, { workerData, execArgv: ['--import', TSX.href] });
  });
  for (let n = 0; n < WARM_UPS; n++) await writeAtOnce(writers);
  return writers;
}

/** The mean of what the writers took, in ns. */
async function writeAtOnce(writers: readonly Worker[]): Promise<number> {
  const times = await Promise.all(
    writers.map(async (writer) => {
      writer.postMessage(EVENTS);
      const [ns] = (await once(writer, 'message')) as [number];
      return ns;
    }),
  );
  return times.reduce((sum, ns) => sum + ns, 0) / times.length;
}

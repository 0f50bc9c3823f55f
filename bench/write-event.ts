import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type Benchmark, ratio, timeNs } from './benchmark.ts';
import type { EventWriterData } from './event-writer.ts';
import { type HostTracefs, systemCalls } from './host-tracefs.ts';
import { TracedMachine } from './traced-machine.ts';

const EVENTS = 300_000;
const BUFFER_KB = 512;
const WARM_UPS = 2;
const TSX = new URL('../scripts/tsx-register.mjs', import.meta.url);

/**
 * Emitting hyp_enter and hyp_exit, clock included, on all of some pCPUs at once; beside it, sys_enter
 * events of the kernel's. Each round has new threads: how fast one is differs from thread to thread.
 */
export function writeEvent(tracefs: HostTracefs | undefined, cpus: number): Benchmark {
  let machine: TracedMachine;
  const all = Array.from({ length: cpus }, (_, cpu) => cpu);
  return {
    name: cpus === 1 ? 'event written, one pCPU' : `event written, ${cpus} pCPUs at once`,
    unit: 'ns',
    better: 'less',
    besides: 'the kernel',
    ...(cpus === 1 ? { target: ratio(0.6) } : {}),
    async setUp() {
      machine = await TracedMachine.start(cpus, BUFFER_KB);
      return async () => {};
    },
    async round() {
      const ours = await writersNs(machine, all);
      return { ours, beside: tracefs && (await kernelEventNs(tracefs, all)) };
    },
  };
}

async function writersNs(machine: TracedMachine, cpus: readonly number[]): Promise<number> {
  const { buffers, counterHz, switchedOnNs } = machine.machine;
  const workers = cpus.map((cpu) => {
    const workerData: EventWriterData = { buffers, counterHz, switchedOnNs, cpu };
    const url = new URL('./event-writer.ts', import.meta.url);
    return new Worker(url, { workerData, execArgv: ['--import', TSX.href] });
  });
  for (let n = 0; n < WARM_UPS; n++) await writeAtOnce(workers);
  const ns = await writeAtOnce(workers);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return ns / EVENTS;
}

/** The mean of what the writers took, in ns. */
async function writeAtOnce(workers: readonly Worker[]): Promise<number> {
  const times = await Promise.all(
    workers.map(async (worker) => {
      worker.postMessage(EVENTS);
      const [ns] = (await once(worker, 'message')) as [number];
      return ns;
    }),
  );
  return times.reduce((sum, ns) => sum + ns, 0) / times.length;
}

/** What tracing adds to a system call, on each of some CPUs at once. */
async function kernelEventNs(tracefs: HostTracefs, cpus: readonly number[]): Promise<number> {
  const all = (): Promise<unknown> => Promise.all(cpus.map((cpu) => systemCalls(EVENTS, cpu)));
  tracefs.empty(BUFFER_KB);
  const without = await timeNs(all);
  const traced = await tracefs.traced(() => timeNs(all));
  return (traced - without) / EVENTS;
}

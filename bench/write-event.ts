import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { type Benchmark, ratio, timeNs } from './benchmark.ts';
import type { EventWriterData } from './event-writer.ts';
import type { HostTracefs } from './host-tracefs.ts';
import { TracedMachine } from './traced-machine.ts';

const EVENTS = 300_000;
const BUFFER_KB = 512;
/** dd makes two system calls for each block. */
const BLOCKS = EVENTS / 2;
const TSX = new URL('../scripts/tsx-register.mjs', import.meta.url);

/** Emitting hyp_enter and hyp_exit, clock included; beside it, sys_enter events of the kernel's. */
export function writeEvent(tracefs: HostTracefs | undefined): Benchmark {
  let machine: TracedMachine;
  return {
    name: 'event written, one pCPU',
    unit: 'ns',
    better: 'less',
    besides: 'the kernel',
    target: ratio(0.6),
    async setUp() {
      machine = await TracedMachine.start(1, BUFFER_KB);
      machine.write(0, EVENTS); // Compiled by then.
      return async () => {};
    },
    async round() {
      const ours = (await timeNs(() => machine.write(0, EVENTS))) / EVENTS;
      return { ours, beside: tracefs && (await kernelEventNs(tracefs, ['0'])) };
    },
  };
}

/** The same by all pCPUs at once, a thread each: the time of each event, not of all together. */
export function writeEventEverywhere(tracefs: HostTracefs | undefined, cpus: number): Benchmark {
  let workers: Worker[];
  return {
    name: `event written, ${cpus} pCPUs at once`,
    unit: 'ns',
    better: 'less',
    besides: 'the kernel',
    async setUp() {
      const machine = await TracedMachine.start(cpus, BUFFER_KB);
      const { buffers, counterHz, switchedOnNs } = machine.machine;
      workers = Array.from({ length: cpus }, (_, cpu) => {
        const workerData: EventWriterData = { buffers, counterHz, switchedOnNs, cpu };
        const url = new URL('./event-writer.ts', import.meta.url);
        return new Worker(url, { workerData, execArgv: ['--import', TSX.href] });
      });
      await writeAtOnce(workers);
      return async () => {
        await Promise.all(workers.map((worker) => worker.terminate()));
      };
    },
    async round() {
      const ours = (await writeAtOnce(workers)) / EVENTS;
      const all = Array.from({ length: cpus }, (_, cpu) => `${cpu}`);
      return { ours, beside: tracefs && (await kernelEventNs(tracefs, all)) };
    },
  };
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
async function kernelEventNs(tracefs: HostTracefs, cpus: readonly string[]): Promise<number> {
  const dd = (cpu: string): Promise<unknown> =>
    promisify(execFile)('taskset', [
      ...['-c', cpu, 'dd', 'if=/dev/zero', 'of=/dev/null', 'bs=1', `count=${BLOCKS}`],
    ]);
  const all = (): Promise<unknown> => Promise.all(cpus.map(dd));
  tracefs.empty(BUFFER_KB);
  const without = await timeNs(all);
  const traced = await tracefs.traced(() => timeNs(all));
  return (traced - without) / EVENTS;
}

import { readdirSync, readFileSync } from 'node:fs';
import { type Benchmark, sameRounds, value } from './benchmark.ts';
import { Daemon, endCat, startCat } from './daemon.ts';

const CPUS = 2;
const IDLE_MS = 600;

/** From the start of the program until it says that the mount is there. */
export const ready: Benchmark = {
  name: 'ready after start',
  unit: 'ms',
  better: 'less',
  target: value(400),
  async round() {
    const daemon = await Daemon.start(CPUS);
    await daemon.stop();
    return { ours: daemon.readyMs };
  },
};

/** Tracing, with nothing that happens and a reader that waits. */
export function idle(): Benchmark[] {
  const idled = sameRounds(async () => async () => {}, idleOnce);
  return [
    {
      ...idled(({ cpuShare }) => ({ ours: cpuShare * 100 })),
      name: 'idle with a reader attached',
      unit: '% of a core',
      better: 'less',
      target: value(1),
    },
    {
      ...idled(({ rssMib }) => ({ ours: rssMib })),
      name: 'memory, idle with a reader attached',
      unit: 'MiB',
      better: 'less',
      target: value(110),
    },
  ];
}

async function idleOnce(): Promise<{ cpuShare: number; rssMib: number }> {
  const daemon = await Daemon.start(CPUS, '--rate', '0');
  daemon.trace(7);
  const cat = await startCat(daemon.path('trace_pipe'));
  try {
    await new Promise((done) => setTimeout(done, IDLE_MS)); // What the start took is over.
    const before = cpuSeconds(daemon);
    await new Promise((done) => setTimeout(done, IDLE_MS));
    const cpuShare = (cpuSeconds(daemon) - before) / (IDLE_MS / 1e3);
    return { cpuShare, rssMib: rssMib(daemon) };
  } finally {
    await endCat(cat);
    await daemon.stop();
  }
}

/** Of all threads, to the nanosecond: /proc/PID/stat counts in hundredths of a second. */
export function cpuSeconds(daemon: Daemon): number {
  const tasks = `/proc/${daemon.process.pid}/task`;
  const ns = readdirSync(tasks).map((task) =>
    Number(readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[0]),
  );
  return ns.reduce((sum, each) => sum + each, 0) / 1e9;
}

function rssMib(daemon: Daemon): number {
  const status = readFileSync(`/proc/${daemon.process.pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

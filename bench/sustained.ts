import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Benchmark, value } from './benchmark.ts';
import { Daemon } from './daemon.ts';
import { statsOf } from './host-tracefs.ts';

const CPUS = 2;
const BUFFER_KB = 1_024;
const SECONDS = 2;

/** What two pCPUs wrote while a `cat` of all of it kept up; 0 when it did not. */
export const sustained: Benchmark = {
  name: 'sustained without loss, 2 pCPUs, text reader',
  unit: 'M events/s',
  better: 'more',
  target: value(1),
  async round() {
    return { ours: (await sustainedAt(1_100_000 / CPUS)) / 1e6 };
  },
};

/** Events a second that all CPUs wrote at this rate of each, with nothing lost; else 0. */
export async function sustainedAt(rate: number): Promise<number> {
  const daemon = await Daemon.start(CPUS, '--rate', '0');
  const cat = spawn('sh', ['-c', `exec cat ${daemon.path('trace_pipe')} > /dev/null`]);
  try {
    daemon.trace(BUFFER_KB);
    await once(cat, 'spawn');
    const start = performance.now();
    const before = written(daemon);
    daemon.write('../sim/rate', `${rate}`);
    await new Promise((done) => setTimeout(done, SECONDS * 1e3));
    const count = written(daemon) - before;
    const seconds = (performance.now() - start) / 1e3;
    return daemon.overrun > 0 ? 0 : count / seconds;
  } finally {
    const exited = once(cat, 'exit');
    cat.kill();
    await exited;
    await daemon.stop();
  }
}

const written = (daemon: Daemon): number =>
  (['entries', 'overrun', 'read events'] as const).reduce(
    (sum, name) => sum + statsOf(daemon.path(''), daemon.cpus, name),
    0,
  );

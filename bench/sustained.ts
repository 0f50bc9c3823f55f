import { type Benchmark, value } from './benchmark.ts';
import { Daemon, endCat, startCat, TRAPS } from './daemon.ts';

const CPUS = 2;
const BUFFER_KB = 1_024;
const WARM_UP = { rate: 100_000, ms: 500 };
const MS = 1_000;

/** What two pCPUs wrote while a `cat` of all of it kept up; 0 when it did not. */
export const sustained: Benchmark = {
  name: 'sustained without loss, 2 pCPUs',
  unit: 'M events/s',
  better: 'more',
  target: value(1),
  async round() {
    return { ours: (await sustainedAt(1_200_000)) / 1e6 };
  },
};

/** Events a second that all CPUs wrote when told to write so many, with nothing lost; else 0. */
export async function sustainedAt(rate: number): Promise<number> {
  const daemon = await Daemon.start(CPUS, ...TRAPS);
  daemon.trace(BUFFER_KB); // Before the reader, whose open would load a buffer of another size.
  const cat = await startCat(daemon.path('trace_pipe'));
  try {
    daemon.write('../sim/rate', `${WARM_UP.rate / CPUS}`);
    await new Promise((done) => setTimeout(done, WARM_UP.ms));
    daemon.write('../sim/rate', `${rate / CPUS}`);
    const before = { start: performance.now(), written: daemon.written, lost: daemon.overrun };
    await new Promise((done) => setTimeout(done, MS));
    const count = daemon.written - before.written;
    const seconds = (performance.now() - before.start) / 1e3;
    return daemon.overrun > before.lost ? 0 : count / seconds;
  } finally {
    await endCat(cat);
    await daemon.stop();
  }
}

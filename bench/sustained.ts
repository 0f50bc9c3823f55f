import { type Benchmark, value } from './benchmark.ts';
import { Daemon, endCat, startCat, TRAPS } from './daemon.ts';

const CPUS = 2;
const BUFFER_KB = 1_024;
const RATE = 1_100_000;
/** A daemon that has just started may lose some at this rate, until V8 has compiled what is hot. */
const WARM_UP_MS = 2_000;
const MS = 1_000;

/** What two pCPUs wrote while a `cat` of all of it kept up; 0 when it did not. */
export function sustained(): Benchmark {
  let daemon: Daemon;
  return {
    name: 'sustained without loss, 2 pCPUs',
    unit: 'M events/s',
    better: 'more',
    target: value(1),
    async setUp() {
      daemon = await Daemon.start(CPUS, ...TRAPS);
      daemon.trace(BUFFER_KB); // Before the reader, whose open would load a buffer of another size.
      const cat = await startCat(daemon.path('trace_pipe'));
      daemon.write('../sim/rate', `${RATE / CPUS}`);
      await new Promise((done) => setTimeout(done, WARM_UP_MS));
      return async () => {
        await endCat(cat);
        await daemon.stop();
      };
    },
    async round() {
      return { ours: (await writtenIn(MS, daemon)) / 1e6 };
    },
  };
}

/** Events a second that all CPUs wrote for so long, with nothing lost; else 0. */
async function writtenIn(ms: number, daemon: Daemon): Promise<number> {
  const before = { start: performance.now(), written: daemon.written, lost: daemon.overrun };
  await new Promise((done) => setTimeout(done, ms));
  const count = daemon.written - before.written;
  const seconds = (performance.now() - before.start) / 1e3;
  return daemon.overrun > before.lost ? 0 : count / seconds;
}

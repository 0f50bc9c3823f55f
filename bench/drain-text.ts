import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Benchmark, ratio, type Sample } from './benchmark.ts';
import { attachReader, Daemon, TRAPS } from './daemon.ts';
import { type HostTracefs, systemCalls } from './host-tracefs.ts';

const EVENTS = 600_000;
/** Room for them: 16 bytes each and more on two CPUs here, 68 on one in the kernel. */
const BUFFER_KB = 12_288;
const KERNEL_BUFFER_KB = 50_000;
const SAMPLE_LINES = 2_000;
const CPUS = 2;

interface Drained {
  readonly lines: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** A backlog through `cat trace_pipe > /dev/null`, in lines and in bytes. */
export function drainText(tracefs: HostTracefs | undefined): Benchmark[] {
  return [
    {
      ...draining(tracefs, ({ lines, seconds }) => lines / seconds / 1e6),
      name: 'text through cat, lines',
      unit: 'M/s',
      better: 'more',
      target: ratio(4),
    },
    {
      ...draining(tracefs, ({ bytes, seconds }) => bytes / seconds / 1e6),
      name: 'text through cat, bytes',
      unit: 'MB/s',
      better: 'more',
      target: ratio(2),
    },
  ];
}

type Draining = Pick<Benchmark, 'besides' | 'setUp' | 'round'>;

function draining(tracefs: HostTracefs | undefined, of: (drained: Drained) => number): Draining {
  let daemon: Daemon;
  return {
    besides: 'the kernel',
    async setUp() {
      daemon = await Daemon.start(CPUS, ...TRAPS);
      await drainOurs(daemon); // Compiled by then.
      return () => daemon.stop();
    },
    async round(): Promise<Sample> {
      const ours = of(await drainOurs(daemon));
      return { ours, beside: tracefs && of(await drainKernels(tracefs)) };
    },
  };
}

async function drainOurs(daemon: Daemon): Promise<Drained> {
  await daemon.fill(EVENTS, BUFFER_KB);
  const bytesALine = await meanLine(daemon.path('trace_pipe'));
  const lines = daemon.entries;
  const start = performance.now();
  const detach = await attachReader(daemon);
  // It has no end; so look when all was read. That takes from the daemon's time, but little.
  while (daemon.entries > 0) await new Promise((again) => setTimeout(again, 5));
  const seconds = (performance.now() - start) / 1e3;
  await detach();
  return { lines, bytes: lines * bytesALine, seconds };
}

async function drainKernels(tracefs: HostTracefs): Promise<Drained> {
  tracefs.empty(KERNEL_BUFFER_KB);
  await tracefs.traced(() => systemCalls(EVENTS));
  const pipe = `${tracefs.instance}/trace_pipe`;
  const bytesALine = await meanLine(pipe);
  const lines = tracefs.entries;
  const start = performance.now();
  await promisify(execFile)('sh', ['-c', `cat ${pipe} > /dev/null`]); // To the end: tracing is off.
  return { lines, bytes: lines * bytesALine, seconds: (performance.now() - start) / 1e3 };
}

async function meanLine(pipe: string): Promise<number> {
  const { stdout } = await promisify(execFile)('head', ['-n', `${SAMPLE_LINES}`, pipe]);
  return stdout.length / SAMPLE_LINES;
}

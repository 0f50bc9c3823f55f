import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Benchmark, ratio, sameRounds } from './benchmark.ts';
import { Daemon, endCat, startCat, TRAPS } from './daemon.ts';
import { type HostTracefs, systemCalls } from './host-tracefs.ts';

const EVENTS = 800_000;
/** Room for them: 12 bytes each and more on two CPUs here, 68 on one in the kernel. */
const BUFFER_KB = 16_384;
const KERNEL_BUFFER_KB = 80_000;
/** Backlogs until V8 has compiled what is hot. */
const WARM_UPS = 2;
const CPUS = 2;
const LOOK_MS = 1;
/** A `cat` that got nothing for so long has probably read all. */
const QUIET_MS = 20;

interface Drained {
  readonly lines: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** A backlog through `cat trace_pipe > /dev/null`, in lines and in bytes of the same rounds. */
export function drainText(tracefs: HostTracefs | undefined): Benchmark[] {
  let daemon: Daemon;
  const drained = sameRounds(
    async () => {
      daemon = await Daemon.start(CPUS, ...TRAPS);
      for (let n = 0; n < WARM_UPS; n++) await drainOurs(daemon);
      return () => daemon.stop();
    },
    async () => ({
      ours: await drainOurs(daemon),
      beside: tracefs && (await drainKernels(tracefs)),
    }),
  );
  const perSecond = (of: (drained: Drained) => number) =>
    drained(({ ours, beside }) => ({ ours: of(ours), beside: beside && of(beside) }));
  const common = { better: 'more', besides: 'the kernel' } as const;
  return [
    {
      ...common,
      ...perSecond(({ lines, seconds }) => lines / seconds / 1e6),
      name: 'text through cat, lines',
      unit: 'M/s',
      target: ratio(4),
    },
    {
      ...common,
      ...perSecond(({ bytes, seconds }) => bytes / seconds / 1e6),
      name: 'text through cat, bytes',
      unit: 'MB/s',
      target: ratio(2),
    },
  ];
}

async function drainOurs(daemon: Daemon): Promise<Drained> {
  await daemon.fill(EVENTS, BUFFER_KB);
  const lines = daemon.entries;
  return { lines, ...(await catAll(daemon.path('trace_pipe'), () => daemon.entries === 0)) };
}

async function drainKernels(tracefs: HostTracefs): Promise<Drained> {
  tracefs.empty(KERNEL_BUFFER_KB);
  await tracefs.traced(() => systemCalls(EVENTS));
  const lines = tracefs.entries;
  const pipe = `${tracefs.instance}/trace_pipe`;
  return { lines, ...(await catAll(pipe, () => tracefs.entries === 0)) };
}

/**
 * How much a `cat` reads until there is no more, and how long that takes, from its start on. It is
 * watched from outside: to ask the daemon how far it is would keep it from getting on.
 */
async function catAll(
  pipe: string,
  isEmpty: () => boolean,
): Promise<{ bytes: number; seconds: number }> {
  const start = performance.now();
  let lastRead = start;
  let bytes = 0;
  const cat = await startCat(pipe);
  for (;;) {
    await new Promise((again) => setTimeout(again, LOOK_MS));
    const now = performance.now();
    const read = bytesRead(cat);
    if (read > bytes) {
      bytes = read;
      lastRead = now;
    } else if (now - lastRead > QUIET_MS && isEmpty()) break;
  }
  await endCat(cat); // The kernel's has come to an end, ours has none.
  return { bytes, seconds: (lastRead - start) / 1e3 };
}

/** 0 when it has ended. */
function bytesRead({ pid, exitCode }: ChildProcess): number {
  if (exitCode !== null) return 0;
  try {
    return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]);
  } catch {
    return 0;
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type Benchmark, sameRounds, value } from './benchmark.ts';
import { Daemon, TRAPS } from './daemon.ts';
import { cpuSeconds } from './daemon-life.ts';

const CPUS = 2;
const PIPES = 5_000;
const IDLE_MS = 1_000;
const TIMES = 31;

/** Waits in read(2) of as many open pipes, each in a thread of its own, until its standard input ends. */
const WAITERS = `
import os, resource, sys, threading
pipe, count = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
threading.stack_size(65536)
def wait(fd):
    try:
        while os.read(fd, 65536): pass
    except OSError: pass
for n in range(count):
    threading.Thread(target=wait, args=(os.open(pipe, os.O_RDONLY),), daemon=True).start()
print('waiting', flush=True)
sys.stdin.read()
os._exit(0)
`;

/** Thousands of pipes on which somebody waits: what the daemon does for them, and for others meanwhile. */
export function manyPipes(): Benchmark[] {
  const measured = sameRounds(async () => async () => {}, measure);
  return [
    {
      ...measured(({ cpuShare }) => ({ ours: cpuShare * 100 })),
      name: `idle with ${PIPES} waiting pipes`,
      unit: '% of a core',
      better: 'less',
      target: value(5),
    },
    {
      ...measured(({ tracingOnMs }) => ({ ours: tracingOnMs })),
      name: `tracing_on, beside ${PIPES} waiting pipes and a storm`,
      unit: 'ms',
      better: 'less',
      target: value(5),
    },
  ];
}

async function measure(): Promise<{ cpuShare: number; tracingOnMs: number }> {
  const daemon = await Daemon.start(CPUS, ...TRAPS);
  const waiters = await startWaiters(daemon.path('trace_pipe'));
  try {
    daemon.trace(64);
    await new Promise((done) => setTimeout(done, IDLE_MS)); // The last of them have come to wait.
    const before = cpuSeconds(daemon);
    await new Promise((done) => setTimeout(done, IDLE_MS));
    const cpuShare = (cpuSeconds(daemon) - before) / (IDLE_MS / 1e3);
    daemon.write('../sim/rate', '100000');
    const times = Array.from({ length: TIMES }, () => tracingOnMs(daemon)).sort((a, b) => a - b);
    return { cpuShare, tracingOnMs: times[(TIMES - 1) / 2] ?? Number.NaN };
  } finally {
    const exited = once(waiters, 'exit');
    waiters.stdin?.end();
    await exited;
    await daemon.stop();
  }
}

async function startWaiters(pipe: string): Promise<ChildProcess> {
  const waiters = spawn('python3', ['-c', WAITERS, pipe, `${PIPES}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(waiters.stdout, 'data');
  return waiters;
}

/** A write(2) and a read(2), each with its open(2) and close(2). */
function tracingOnMs(daemon: Daemon): number {
  const file = daemon.path('tracing_on');
  const start = performance.now();
  writeFileSync(file, '1');
  readFileSync(file);
  return performance.now() - start;
}

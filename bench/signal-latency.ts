import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type Benchmark, value } from './benchmark.ts';
import { Daemon } from './daemon.ts';

const TIMES = 10;
const OTHERS = 10;

/** From kill(2) of a blocked `cat trace_pipe` until it has ended, ten others waiting beside it. */
export const signalLatency: Benchmark = {
  name: 'signal to a blocked reader',
  unit: 'ms',
  better: 'less',
  target: value(20),
  async round() {
    const daemon = await Daemon.start(2, '--rate', '0');
    const pipe = daemon.path('trace_pipe');
    const others = await Promise.all(Array.from({ length: OTHERS }, () => blockedReader(pipe)));
    let sum = 0;
    for (let time = 0; time < TIMES; time++) {
      const cat = await blockedReader(pipe);
      const ended = once(cat, 'exit');
      const start = performance.now();
      cat.kill('SIGTERM');
      await ended;
      sum += performance.now() - start;
    }
    for (const other of others) other.kill('SIGKILL');
    await daemon.stop();
    return { ours: sum / TIMES };
  },
};

async function blockedReader(pipe: string): Promise<ChildProcess> {
  const cat = spawn('cat', [pipe], { stdio: 'ignore' });
  await once(cat, 'spawn');
  const wchan = `/proc/${cat.pid}/wchan`;
  while (readFileSync(wchan, 'latin1') !== 'request_wait_answer' || !isReading(cat.pid))
    await new Promise((resolve) => setTimeout(resolve, 1));
  return cat;
}

/** Whether the system call that it waits in is read(2), number 0, and not the open before it. */
function isReading(pid: number | undefined): boolean {
  const call = readFileSync(`/proc/${pid}/syscall`, 'latin1').split(' ')[0];
  return call === (process.arch === 'arm64' ? '63' : '0');
}

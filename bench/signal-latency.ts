import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Benchmark } from './benchmark.ts';

const ROUNDS = 200;

/** From kill(2) of a blocked `cat trace_pipe` until it has ended, ten others waiting beside it. */
export const signalLatency: Benchmark = {
  name: 'signal to a blocked reader',
  unit: 'ms',
  target: 20,
  async run() {
    const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-bench-'));
    const daemon = spawn(process.execPath, ['dist/daemon/main.js', 'mount', '--rate', '0', dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(daemon.stdout, 'data');
    const pipe = join(dir, 'hypervisor/trace_pipe');
    const others = await Promise.all(Array.from({ length: 10 }, () => blockedReader(pipe)));

    const samples: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const cat = await blockedReader(pipe);
      const ended = once(cat, 'exit');
      const start = performance.now();
      cat.kill('SIGTERM');
      await ended;
      samples.push(performance.now() - start);
    }

    for (const other of others) other.kill('SIGKILL');
    daemon.kill('SIGTERM');
    await once(daemon, 'exit');
    rmdirSync(dir);
    return samples;
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

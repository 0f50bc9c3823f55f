import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { test } from '../support/daemon.ts';

const LIMIT_MS = 500;

const residentMib = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;

test('cat of a large trace lets others in, and takes little memory', async ({ daemon }) => {
  await daemon.start('--virtual', '--scenario', 'storm', '--cpus', '1');
  await daemon.sh(`
    echo 8192 > buffer_size_kb; echo 1 > events/enable; echo 1 > tracing_on
    echo 'advance 150ms' > ../sim/clock; echo 0 > tracing_on`);
  const before = residentMib(daemon.child.pid);
  const reader = daemon.spawn('sh', '-c', 'cat ../trace | grep -c :');
  let worst = 0;
  let most = 0;
  while (!reader.ended) {
    const start = performance.now();
    await daemon.sh('cat buffer_size_kb');
    worst = Math.max(worst, performance.now() - start);
    most = Math.max(most, residentMib(daemon.child.pid) - before);
  }
  await reader.exit();
  const { stdout } = await daemon.sh("sed -n 's/^entries: //p' per_cpu/cpu0/stats");
  expect(Number(reader.stdout)).toBeGreaterThanOrEqual(Number(stdout));
  expect(Number(stdout)).toBeGreaterThan(200_000);
  expect(worst).toBeLessThan(LIMIT_MS);
  expect(most).toBeLessThan(100);
});

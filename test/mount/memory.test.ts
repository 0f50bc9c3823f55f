import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { type Daemon, test } from '../support/daemon.ts';

const MEMORY_MIB = 32;
const ROUNDS = 5;
const SIZES_KB = [7, 512, 2_048, 8_192];
/** A page that is in use takes some of the heap too, which knows it by several names: at most as much again. */
const RAM_SHARE = 2;
/** What the heaps of the main thread and of the CPUs' threads come to besides, at their largest. */
const HEAPS_MIB = 96;
/** By how much a heap's size differs from one look to the next. */
const SLACK_MIB = 32;
const LIMIT_MS = 180_000;

const rssMib = ({ child: { pid } }: Daemon): number =>
  Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

/** A buffer of each size, loaded, filled by a storm, read in three ways and dropped. */
const resizes = SIZES_KB.map(
  (kb) => `
    echo ${kb} > buffer_size_kb; echo 1 > tracing_on
    timeout 0.1 cat trace_pipe > /dev/null & timeout 0.1 cat ../trace_pipe > /dev/null &
    timeout 0.1 cat per_cpu/cpu0/trace_pipe_raw > /dev/null &
    wait || true; echo 0 > tracing_on; echo > trace`,
).join('\n');

/** The most that there is while `count` rounds go by. */
async function peakMib(daemon: Daemon, count: number): Promise<number> {
  let peak = 0;
  for (let round = 0; round < count; round++) {
    await daemon.sh(resizes);
    peak = Math.max(peak, rssMib(daemon));
  }
  return peak;
}

test('memory settles under storm, readers, toggles and resizes', { timeout: LIMIT_MS }, async ({
  daemon,
}) => {
  await daemon.start('--scenario', 'storm', '--cpus', '2', '--memory', `${MEMORY_MIB}`);
  await daemon.sh('echo 1 > events/enable');
  const atFirst = rssMib(daemon);
  const settled = await peakMib(daemon, ROUNDS);
  expect(settled).toBeLessThan(atFirst + RAM_SHARE * MEMORY_MIB + HEAPS_MIB);
  expect(await peakMib(daemon, ROUNDS)).toBeLessThan(settled + SLACK_MIB);
});

import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { NS_PER_S, PAGE_SIZE } from '../../src/units.ts';
import { type Daemon, test } from '../support/daemon.ts';

interface Reader {
  read(): Buffer;
  close(): void;
}

/** Reads 128 KiB at a time; by dd, whose memory begins on a page, so that FUSE asks for all of it at once. */
function open(daemon: Daemon, file: string): Reader {
  const fd = openSync(join(daemon.hypervisor, file), constants.O_RDONLY | constants.O_NONBLOCK);
  return {
    read: () =>
      execFileSync('sh', ['-c', 'dd bs=128K count=1 status=none <&3'], {
        stdio: ['ignore', 'pipe', 'pipe', fd], // libuv would make a standard input blocking.
        timeout: 10_000,
      }),
    close: () => closeSync(fd),
  };
}

/** The times of a text's lines, in ns. */
const timesOfLines = (text: Buffer): number[] =>
  text
    .toString('latin1')
    .split('\n')
    .slice(0, -1)
    .map((line) => Math.round(Number(/ (\d+\.\d{6}): /.exec(line)?.[1]) * NS_PER_S));

function timesOfPages(bytes: Buffer): number[] {
  const times: number[] = [];
  for (let at = 0; at < bytes.length; at += PAGE_SIZE)
    for (const { ts } of pageEvents(getPageImage(bytes.subarray(at, at + PAGE_SIZE))))
      times.push(ts);
  return times;
}

async function entries(daemon: Daemon): Promise<number> {
  const { stdout } = await daemon.sh("sed -n 's/^entries: //p' per_cpu/cpu0/stats");
  return Number(stdout);
}

// Each of these reads makes the daemon prepare the next one, which then comes, or not, or elsewhere.
test('readers that take all they can get take turns, and end, and nothing is lost or comes twice', async ({
  daemon,
}) => {
  await daemon.start('--virtual', '--scenario', 'storm', '--cpus', '1');
  await daemon.sh(`
    echo 4096 > buffer_size_kb; echo 1 > events/enable; echo 1 > tracing_on
    echo 'advance 12ms' > ../sim/clock; echo 0 > tracing_on`);
  const written = await entries(daemon);
  const text = open(daemon, 'trace_pipe');
  const other = open(daemon, 'per_cpu/cpu0/trace_pipe');
  const raw = open(daemon, 'per_cpu/cpu0/trace_pipe_raw');
  const times: number[] = [];
  for (const reader of [text, text, other, text, other, raw, raw, text, raw, other, other]) {
    const bytes = reader.read();
    const read = reader === raw ? timesOfPages(bytes) : timesOfLines(bytes);
    expect(read.length).toBeGreaterThan(1_000);
    times.push(...read);
    expect(times.length + (await entries(daemon))).toBe(written);
  }
  for (const reader of [text, other, raw]) reader.close();
  const last = open(daemon, 'trace_pipe');
  while (times.length < written) times.push(...timesOfLines(last.read()));
  last.close();

  expect(times.length).toBe(written);
  const inUs = times.map((ns) => Math.floor(ns / 1_000)); // As text has them.
  expect(inUs).toEqual(inUs.toSorted((a, b) => a - b));
});

test('a reset leaves nothing of what was read ahead', async ({ daemon }) => {
  await daemon.start('--virtual', '--scenario', 'storm', '--cpus', '1');
  await daemon.sh(`
    echo 4096 > buffer_size_kb; echo 1 > events/enable; echo 1 > tracing_on
    echo 'advance 3ms' > ../sim/clock; echo 0 > tracing_on`);
  for (const file of ['trace_pipe', 'per_cpu/cpu0/trace_pipe_raw']) {
    const reader = open(daemon, file);
    reader.read();
    await daemon.sh('echo > trace');
    expect(() => reader.read()).toThrow('Resource temporarily unavailable');
    await daemon.sh(`
      echo 1 > tracing_on; echo 'advance 3ms' > ../sim/clock; echo 0 > tracing_on`);
    reader.close();
  }
});

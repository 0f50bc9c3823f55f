import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect } from 'vitest';
import { type Child, type Daemon, isMounted, test, until } from '../support/daemon.ts';

const READERS = 200;
const CYCLES = 10_000;
interface Footprint {
  readonly threads: number;
  readonly fds: number;
  readonly rssKib: number;
}

function footprint({ child: { pid } }: Daemon): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    threads: readdirSync(`/proc/${pid}/task`).length,
    fds: readdirSync(`/proc/${pid}/fd`).length,
    rssKib: Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]),
  };
}

/** Silent, and with all its threads running: a scenario starts anew once each of them says so. */
async function startSettled(daemon: Daemon): Promise<void> {
  await daemon.start('--rate', '0');
  await daemon.sh('echo 1 > ../sim/seed');
}

async function startReaders(daemon: Daemon): Promise<Child[]> {
  const readers = Array.from({ length: READERS }, () => daemon.spawn('cat', 'trace_pipe'));
  for (const reader of readers) await daemon.blocked(reader);
  return readers;
}

describe('the daemon outlives its readers:', () => {
  test(`${READERS} at a time leave nothing behind`, async ({ daemon }) => {
    await startSettled(daemon);
    const before = footprint(daemon);
    for (let round = 0; round < 2; round++) {
      const readers = await startReaders(daemon);
      expect(footprint(daemon).threads).toBe(before.threads); // A wait takes no thread.
      await Promise.all(readers.map((reader) => reader.kill('SIGTERM')));
      expect((await daemon.sh('cat buffer_size_kb')).stdout).toBe('7 (unloaded)\n');
    }
    expect(footprint(daemon).fds).toBe(before.fds);
  });

  test(`${CYCLES} times open, read and close leave nothing behind`, async ({ daemon }) => {
    await startSettled(daemon);
    const cycle = (times: number): Promise<unknown> =>
      daemon.sh(`for ((i = 0; i < ${times}; i++)); do read -r line < buffer_size_kb; done`);
    for (let part = 0; part < 4; part++) await cycle(CYCLES / 4); // The heap finds its size.
    const before = footprint(daemon);
    for (let part = 0; part < 4; part++) await cycle(CYCLES / 4);
    const after = footprint(daemon);
    expect(after.fds).toBe(before.fds);
    expect(after.threads).toBe(before.threads);
    expect(after.rssKib).toBeLessThan(before.rssKib + 5 * 1024);
  });

  test('and none of them outlives it', async ({ daemon }) => {
    await daemon.start('--rate', '0');
    const readers = await startReaders(daemon);
    await daemon.child.kill('SIGKILL');
    await Promise.all(readers.map((reader) => reader.exit()));
    await until(() => !isMounted(daemon.dir));
  });
});

import { describe, expect } from 'vitest';
import { type Daemon, test, until } from '../support/daemon.ts';

const DURATION_MS = 30_000;

/** What the lines of a trace_pipe account for. */
function account(lines: readonly string[]): { read: number; lost: number } {
  let read = 0;
  let lost = 0;
  for (const line of lines) {
    const told = /^CPU:\d+ \[LOST (\d+) EVENTS\]$/.exec(line);
    if (told) lost += Number(told[1]);
    else read++;
  }
  return { read, lost };
}

interface Stats {
  entries: number;
  overrun: number;
  read: number;
}

/** The sum over all CPUs of what their stats say. */
async function stats(daemon: Daemon): Promise<Stats> {
  const { stdout } = await daemon.sh('cat per_cpu/cpu*/stats');
  const sum = (name: string): number =>
    [...stdout.matchAll(new RegExp(`^${name}: (\\d+)$`, 'gm'))].reduce(
      (total, [, count]) => total + Number(count),
      0,
    );
  return { entries: sum('entries'), overrun: sum('overrun'), read: sum('read events') };
}

async function storm(daemon: Daemon): Promise<void> {
  await daemon.start('--rate', 'max', '--cpus', '2');
  await daemon.sh('echo 7 > buffer_size_kb; echo 1 > events/enable; echo 1 > tracing_on');
}

describe('30 s of all pCPUs writing as fast as they can into 7 KiB each', {
  timeout: 90_000,
}, () => {
  test('with one slow reader: read and reported lost are what was written, exactly', async ({
    daemon,
  }) => {
    await storm(daemon);
    const cat = daemon.spawn('cat', 'trace_pipe');
    const output = cat.process.stdout;
    const end = performance.now() + DURATION_MS;
    while (performance.now() < end) {
      output?.pause();
      await new Promise((resolve) => setTimeout(resolve, 20)); // That is what makes it slow.
      output?.resume();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await daemon.sh('echo 0 > tracing_on');
    await until(async () => (await stats(daemon)).entries === 0);
    const { overrun, read } = await stats(daemon);
    await until(() => account(cat.lines).read === read);
    await cat.kill('SIGTERM');

    expect(account(cat.lines)).toEqual({ read, lost: overrun });
    expect(overrun).toBeGreaterThan(read);
    expect(read).toBeGreaterThan(10_000);
  });

  // What a reader has taken out of the ring and not written when it is killed is gone, as on the
  // kernel: one read's worth of text at the most.
  test('with cat killed every 200 ms: all but what the killed ones had taken aside', async ({
    daemon,
  }) => {
    const LINES_OF_A_READ = Math.ceil(
      131_072 / '[000]\t 1.000000: hyp_exit reason=smc vcpu=0\n'.length,
    );
    await storm(daemon);
    const total = { read: 0, lost: 0 };
    let kills = 0;
    let killed: number | string = '';
    const end = performance.now() + DURATION_MS;
    while (performance.now() < end) {
      const cat = daemon.spawn('cat', 'trace_pipe');
      await new Promise((resolve) => setTimeout(resolve, 200));
      killed = await cat.kill('SIGKILL');
      kills++;
      const { read, lost } = account(cat.lines);
      total.read += read;
      total.lost += lost;
    }
    expect(killed).toBe('SIGKILL');
    const last = daemon.spawn('cat', 'trace_pipe');
    await daemon.sh('echo 0 > tracing_on');
    await until(async () => (await stats(daemon)).entries === 0);
    await daemon.blocked(last);
    const { overrun, read } = await stats(daemon);
    await last.kill('SIGTERM');
    const { read: readLast, lost: lostLast } = account(last.lines);

    const aside = read - (total.read + readLast);
    expect(aside).toBeGreaterThanOrEqual(0);
    expect(aside).toBeLessThanOrEqual(kills * LINES_OF_A_READ);
    expect(total.lost + lostLast).toBeLessThanOrEqual(overrun);
    expect(kills).toBeGreaterThan(100);
  });
});

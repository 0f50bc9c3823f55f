import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { type Child, type Daemon, test, until } from '../support/daemon.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL'] as const;
const LIMIT_MS = 100;

/** Programs that read trace_pipe to its end, which never comes. */
const READERS: Record<string, string[]> = {
  cat: ['cat', 'trace_pipe'],
  'cat of one CPU': ['cat', 'per_cpu/cpu0/trace_pipe'],
  awk: ['awk', '{ print; fflush() }', 'trace_pipe'],
  sed: ['sed', '-u', '', 'trace_pipe'],
  'bash read': ['bash', '-c', 'while read -r line; do echo "$line"; done < trace_pipe'],
  dd: ['dd', 'if=trace_pipe', 'bs=8k', 'status=none'],
};

async function startReaders(daemon: Daemon): Promise<Child[]> {
  const readers = Object.values(READERS).map(([command = '', ...args]) =>
    daemon.spawn(command, ...args),
  );
  for (const reader of readers) await daemon.blocked(reader);
  return readers;
}

describe('a blocked reader', () => {
  test.for(SIGNALS)('ends at once on %s, and no other is disturbed', async (signal, { daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '1');
    const others = await startReaders(daemon);
    const stream = createReadStream(join(daemon.hypervisor, 'trace_pipe'), { encoding: 'utf8' });
    const streamed: string[] = [];
    const errors: unknown[] = [];
    stream
      .on('data', (text) => streamed.push(String(text)))
      .on('error', (error) => errors.push(error));

    for (const [command = '', ...args] of Object.values(READERS)) {
      const reader = daemon.spawn(command, ...args);
      await daemon.blocked(reader);
      const start = performance.now();
      expect(await reader.kill(signal)).toBe(signal);
      expect(performance.now() - start).toBeLessThan(LIMIT_MS);
    }

    // All the others, the stream too, are still there for the events to come.
    await daemon.sh(
      'echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on; for i in {1..50}; do echo 1 > selftest_event; done; echo 0 > tracing_on',
    );
    const received = (): number =>
      others.reduce((sum, reader) => sum + reader.lines.length, 0) +
      streamed.join('').split('\n').length -
      1;
    // sed and bash read byte by byte, a request each, which takes its time on a busy machine.
    await until(() => received() === 50, 40_000);
    expect(errors).toEqual([]);
    for (const reader of others) expect(await reader.kill('SIGKILL')).toBe('SIGKILL');
    stream.destroy();
    await daemon.sh('echo 1 > events/enable; echo 1 > tracing_on'); // Sets the stream's read free.
  });

  test('is gone before the next command of the shell that killed it', async ({ daemon }) => {
    await daemon.start('--rate', '0');
    for (let round = 0; round < 20; round++) {
      const { stdout } = await daemon.sh(
        'cat trace_pipe & until grep -q "(loaded)" buffer_size_kb; do :; done; kill $!; cat buffer_size_kb; wait $! || true',
      );
      expect(stdout).toBe('7 (unloaded)\n');
    }
  });

  test('has closed all its pipes when it has ended, however many', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '1');
    const { stdout } = await daemon.sh(`python3 -c '
import os
for n in range(5):
    if os.fork() == 0:
        pipes = [os.open("trace_pipe", os.O_RDONLY) for n in range(300)]
        os._exit(0)
    os.wait()
    print(open("buffer_size_kb").read(), end="")'`);
    expect(stdout).toBe('7 (unloaded)\n'.repeat(5));
  });

  test('is told at once what there is when tracing stops', async ({ daemon }) => {
    await daemon.start('--rate', '0');
    const { stdout } = await daemon.sh(`
      echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on
      coproc cat trace_pipe
      echo 1 > selftest_event
      echo 0 > tracing_on
      read -r -t 5 line <&"\${COPROC[0]}"; echo "$line"
      kill "$COPROC_PID"`);
    expect(stdout).toMatch(/selftest id=1\n$/);
  });
});

describe('the trace of a machine that lives', () => {
  test('is in the order of time over all CPUs, and each CPU’s alternates', async ({ daemon }) => {
    await daemon.start('--rate', '2000', '--cpus', '3');
    const { stdout } = await daemon.sh(
      'echo 1 > events/hypervisor/hyp_enter/enable; echo 1 > events/hypervisor/hyp_exit/enable; echo 64 > buffer_size_kb; echo 1 > tracing_on; timeout 2 cat trace_pipe || [ $? = 124 ]',
    );
    const lines = stdout.split('\n').slice(0, -1);
    expect(lines.length).toBeGreaterThan(1_000);
    let lastTime = 0;
    const lastName = new Map<string, string>();
    for (const line of lines) {
      const [, cpu = '', time = '', name = ''] =
        /^\[(\d{3})\]\t *(\d+\.\d{6}): (hyp_enter|hyp_exit) reason=\w+ vcpu=0$/.exec(line) ??
        expect.fail(`not an event: ${line}`);
      expect(Number(time)).toBeGreaterThanOrEqual(lastTime);
      expect(lastName.get(cpu)).not.toBe(name);
      lastTime = Number(time);
      lastName.set(cpu, name);
    }
    expect([...lastName.keys()].sort()).toEqual(['000', '001', '002']);
  });
});

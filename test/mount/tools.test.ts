import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Child, Daemon, until } from '../support/daemon.ts';

const LIMIT_MS = 100;

interface Tool {
  readonly command: string;
  readonly args: readonly string[];
  /** Ends by itself once it has read something: with this code. */
  readonly ends?: number;
}

const python = (script: string): Tool => ({
  command: 'python3',
  args: [
    '-u',
    '-c',
    `import os, select, sys\nfd = os.open('trace_pipe', os.O_RDONLY | os.O_NONBLOCK)\n${script}`,
  ],
});

/** Programs that people read a trace_pipe with. */
const TOOLS: Readonly<Record<string, Tool>> = {
  cat: { command: 'cat', args: ['trace_pipe'] },
  'cat of a CPU': { command: 'cat', args: ['per_cpu/cpu0/trace_pipe'] },
  'busybox cat': { command: 'busybox', args: ['cat', 'trace_pipe'] },
  dd: { command: 'dd', args: ['if=trace_pipe', 'bs=512', 'status=none'] },
  'dd of so many': {
    command: 'dd',
    args: ['if=trace_pipe', 'bs=64', 'count=3', 'status=none'],
    ends: 0,
  },
  head: { command: 'head', args: ['-n', '3', 'trace_pipe'], ends: 0 },
  grep: { command: 'grep', args: ['-m1', '--line-buffered', 'hyp_exit', 'trace_pipe'], ends: 0 },
  awk: { command: 'awk', args: ['{ print; fflush() }', 'trace_pipe'] },
  sed: { command: 'sed', args: ['-u', 's/^/>/', 'trace_pipe'] },
  'bash read': {
    command: 'bash',
    args: ['-c', 'while read -r line; do echo "$line"; done < trace_pipe'],
  },
  timeout: { command: 'timeout', args: ['2', 'cat', 'trace_pipe'], ends: 124 },
  'python select': python(
    'while select.select([fd], [], []): sys.stdout.write(os.read(fd, 4096).decode())',
  ),
  'python poll': python(
    'p = select.poll(); p.register(fd, select.POLLIN)\nwhile p.poll(): sys.stdout.write(os.read(fd, 4096).decode())',
  ),
  'python epoll': python(
    `p = select.epoll(); p.register(fd, select.EPOLLIN | select.EPOLLET)
while p.poll():
    try:
        while True: sys.stdout.write(os.read(fd, 4096).decode())
    except BlockingIOError: pass`,
  ),
  'python asyncio': python(
    `import asyncio
async def main():
    asyncio.get_running_loop().add_reader(fd, lambda: sys.stdout.write(os.read(fd, 4096).decode()))
    await asyncio.Event().wait()
asyncio.run(main())`,
  ),
  'node stream': {
    command: process.execPath,
    args: ['-e', "require('fs').createReadStream('trace_pipe').pipe(process.stdout)"],
  },
};

const tools = Object.entries(TOOLS);

async function killed(reader: Child): Promise<void> {
  const start = performance.now();
  expect(['SIGTERM', 143]).toContain(await reader.kill('SIGTERM'));
  expect(performance.now() - start).toBeLessThan(LIMIT_MS);
}

function mounted(...options: string[]): Daemon {
  const daemon = new Daemon();
  beforeAll(async () => {
    await daemon.start('--cpus', '2', ...options);
    // No others, or the first lines that a tool shows could all be of them.
    await daemon.sh('echo 1 | tee events/hypervisor/hyp_{enter,exit}/enable');
    await daemon.sh('echo 64 > buffer_size_kb; echo 1 > tracing_on');
  });
  afterAll(() => daemon.stop());
  return daemon;
}

describe('on a quiet pipe', () => {
  const daemon = mounted('--rate', '0');
  // A reader’s own hypercalls are events; without them there is silence.
  beforeAll(async () => void (await daemon.sh('echo 0 > events/enable; echo > trace')));

  test.for(tools)(
    '%s waits, and ends at once when it is told to',
    async ([, { command, args }]) => {
      const reader = daemon.spawn(command, ...args);
      await daemon.asleep(reader);
      expect(reader.stdout).toBe('');
      await killed(reader);
    },
  );

  test('dd iflag=nonblock does not wait', async () => {
    const dd = daemon.spawn('dd', 'if=trace_pipe', 'iflag=nonblock', 'bs=4k', 'status=none');
    expect(await dd.exit()).toBe(1);
    expect(dd.stderr).toContain('Resource temporarily unavailable');
  });

  test('busybox cat, which splices into a pipe, shows all of a text file', async () => {
    const cat = daemon.spawn('busybox', 'cat', 'tracing_on', 'events/header_page', 'trace_clock');
    expect(await cat.exit()).toBe(0);
    const { stdout } = await daemon.sh('cat tracing_on events/header_page trace_clock');
    expect(cat.stdout).toBe(stdout);
  });
});

describe('on a busy pipe', () => {
  const daemon = mounted('--rate', '1000');

  test.for(tools)('%s shows events as they come', async ([, { command, args, ends }]) => {
    const reader = daemon.spawn(command, ...args);
    if (ends === undefined) {
      await until(() => reader.lines.length >= 20);
      await killed(reader);
    } else expect(await reader.exit()).toBe(ends);
    expect(reader.stdout).toMatch(/hyp_(enter|exit) reason=/);
    expect(reader.stderr).not.toMatch(/Interrupted|EINTR/);
  });

  test('dd iflag=nonblock takes what there is', async () => {
    await until(async () => {
      const dd = daemon.spawn(
        'dd',
        'if=trace_pipe',
        'iflag=nonblock',
        'bs=4k',
        'count=1',
        'status=none',
      );
      return (await dd.exit()) === 0 && /hyp_exit/.test(dd.stdout);
    });
  });
});

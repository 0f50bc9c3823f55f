import { describe, expect } from 'vitest';
import { Child, test } from '../support/daemon.ts';

/** What a shell sees: each row a command in hypervisor/, and what it says or prints. */
const ROWS: [command: string, says: string][] = [
  [
    'stat -c "%a %s %U" tracing_on trace_pipe per_cpu',
    '640 2 root\n640 1073741824 root\n750 0 root\n',
  ],
  ['stat -f -c %T .', 'fuseblk\n'],
  ['echo 0x1 > tracing_on', 'Invalid argument'],
  ['echo 18446744073709551616 > buffer_size_kb', 'Numerical result out of range'],
  [
    'echo 99999999 > buffer_size_kb; cat trace_pipe; echo 7 > buffer_size_kb',
    'Cannot allocate memory',
  ],
  ['echo 1 > trace_clock', 'Invalid argument'],
  ['echo 1 > events/hypervisor/selftest/format', 'Invalid argument'],
  ['cat trace', 'Operation not permitted'],
  ['cat per_cpu', 'Is a directory'],
  ['cat per_cpu/cpu7/trace_pipe', 'No such file or directory'],
  ['cat tracing_on/x', 'Not a directory'],
  ['echo 1 > nosuch', 'Permission denied'],
  ['mkdir events/new', 'Operation not permitted'],
  ['rmdir per_cpu', 'Operation not permitted'],
  ['rm -f tracing_on', 'Operation not permitted'],
  ['mv trace trace2', 'Operation not permitted'],
  ['ln trace trace2', 'Operation not permitted'],
  ['ln -s trace trace2', 'Operation not permitted'],
  ['dd if=trace_pipe iflag=nonblock bs=4k status=none', 'Resource temporarily unavailable'],
  ['dd if=tracing_on iflag=direct bs=4k status=none', 'Invalid argument'],
  ['dd if=buffer_size_kb bs=1 count=3 status=none', '7 ('],
  ['dd if=buffer_size_kb bs=1 skip=2 status=none', '(unloaded)\n'],
  ['tail -c 5 trace_clock', 'oot]\n'],
  [
    'printf 1 >> tracing_on; cat tracing_on; : > tracing_on; cat tracing_on; echo 0 > tracing_on',
    '1\n1\n',
  ],
  ['exec 3<> trace; read -u 3 line', 'Invalid argument'],
  ['timeout 0.2 cat trace_pipe; echo $?', '124\n'],
  [
    'grep -r . events/hypervisor/selftest/id events/enable',
    'events/hypervisor/selftest/id:1011\nevents/enable:0\n',
  ],
  [
    'find . -name trace_pipe | sort',
    './per_cpu/cpu0/trace_pipe\n./per_cpu/cpu1/trace_pipe\n./trace_pipe\n',
  ],
];

describe('a shell', () => {
  test('gets the kernel’s answers', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '2');
    for (const [command, says] of ROWS) {
      const shell = daemon.spawn('bash', '-c', `{ ${command}\n} 2>&1`);
      await shell.exit();
      expect(shell.stdout, command).toContain(says);
    }
    expect((await daemon.sh('cat tracing_on buffer_size_kb events/enable')).stdout).toBe(
      '0\n7 (unloaded)\n0\n',
    );
  });

  test('makes its events on the CPU that it is on', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '2');
    const { stdout } = await daemon.sh(`
      echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on
      for cpu in 1 0 1; do taskset -c $cpu sh -c 'echo 1 > selftest_event'; done
      echo 0 > tracing_on
      timeout 0.2 cat trace_pipe || true`);
    expect(stdout.split('\n').map((line) => line.replace(/\t.*: /, ' '))).toEqual([
      '[001] selftest id=1',
      '[000] selftest id=2',
      '[001] selftest id=3',
      '',
    ]);
  });
});

test('a process that moves from CPU to CPU makes each event on the CPU that it is on', async ({
  daemon,
}) => {
  await daemon.start('--rate', '0', '--cpus', '2');
  await daemon.sh('echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on');
  await daemon.sh(`python3 -c '
import os
for n in range(200):
    os.sched_setaffinity(0, [n % 2])
    os.close(os.open("selftest_event", os.O_WRONLY))'`);
  const { stdout } = await daemon.sh('echo 0 > tracing_on; timeout 0.2 cat trace_pipe || true');
  expect(stdout.replace(/\t.*: /g, ' ')).toBe(
    Array.from({ length: 200 }, (_, n) => `[00${n % 2}] selftest id=${n + 1}\n`).join(''),
  );
});

describe('scripts/with-mount.sh', () => {
  const withMount = (...args: string[]): Child => new Child('scripts/with-mount.sh', args);

  test('runs a command in hypervisor/, and ends as it does', async () => {
    const child = withMount(
      '--cpus',
      '1',
      '--',
      'bash',
      '-c',
      'ls per_cpu; [ "$PWD" = "$TRACING/hypervisor" ]; exit 7',
    );
    expect(await child.exit()).toBe(7);
    expect(child.stdout).toBe('cpu0\n');
  });

  test('fails when the daemon does', async () => {
    const child = withMount('--cpus', 'none', '--', 'true');
    expect(await child.exit()).not.toBe(0);
    expect(child.stderr).toContain('whole number');
  });

  test('says how it is used', async () => {
    const child = withMount('true');
    expect(await child.exit()).toBe(64);
    expect(child.stderr).toContain('usage: ');
  });
});

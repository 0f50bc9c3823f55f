import { execFileSync } from 'node:child_process';
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { KIB, MIB } from '../../src/units.ts';
import { type Daemon, test } from '../support/daemon.ts';

/** Whatever is written to the files neither ends nor stops the daemon. */

/** What becomes of a write(2) to a file of the mount: the name of the error, or "ok". */
const write = (daemon: Daemon, file: string, text: string): Promise<string> =>
  writeFile(join(daemon.dir, file), text).then(
    () => 'ok',
    ({ code }) => code,
  );

describe('a filter', () => {
  const balanced = `${'('.repeat(1_500)}vcpu == 0${')'.repeat(1_500)}`;

  test.for([
    ['of 2,500 parentheses', '('.repeat(2_500), 'ENOENT'],
    ['of 130,000 negations', '!'.repeat(130_000), 'EINVAL'],
    ['of 120 KB', `${'vcpu == 1 || '.repeat(9_000)}vcpu == 0`, 'EINVAL'],
    ['of 1,500 pairs of parentheses', balanced, 'ok'],
    ['of 250 stars', `COMM ~ "${'*'.repeat(250)}x" || vcpu == 0`, 'ok'],
  ] as const)(
    '%s is answered at once, and events are read on',
    async ([, text, answer], { daemon }) => {
      await daemon.start('--rate', '1000', '--cpus', '2');
      expect(await write(daemon, 'events/hypervisor/hyp_enter/filter', text)).toBe(answer);
      await daemon.sh('cd ..; echo 1 > events/hypervisor/hyp_enter/enable; echo 1 > tracing_on');
      const { stdout } = await daemon.sh('head -n 30 ../trace_pipe');
      expect(stdout.match(/hyp_enter/g)).toHaveLength(30);
      expect(daemon.child.ended).toBe(false);
    },
  );
});

describe('sim/scenario', () => {
  const task = (steps: string): string => `description: d\ntasks:\n  - steps: ${steps}\n`;

  test('refuses what is no file of moderate size, and waits for none', async ({ daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '2');
    const dir = mkdtempSync(join(tmpdir(), 'scenarios-'));
    const at = (name: string): string => join(dir, name);
    execFileSync('mkfifo', [at('fifo')]);
    writeFileSync(at('100mb'), '');
    truncateSync(at('100mb'), 100 * MIB);
    symlinkSync(join(daemon.dir, 'sim/scenario'), at('link'));
    symlinkSync(daemon.dir, at('mount'));
    const before = peakMemoryKib(daemon);
    try {
      for (const path of [
        join(daemon.dir, 'sim/scenario'),
        at('link'),
        at('mount/sim/clock'),
        join(daemon.hypervisor, 'trace_pipe'),
        at('fifo'),
        at('100mb'),
        dir,
        at('not there'),
        `${at('fifo')}\0`,
        '/dev/zero',
        '/proc/self/mem',
        `/${'x'.repeat(100_000)}`,
      ])
        expect([path, await write(daemon, 'sim/scenario', path)]).toEqual([path, 'EINVAL']);
      for (const [path, reason] of [
        [at('link'), 'it is a file of pkvm-tracefs'],
        ['/dev/zero', 'it is not a regular file'],
        [at('100mb'), 'it is larger than 1 MiB'],
      ] as const) {
        const run = daemon.run('run', '--scenario', path);
        expect(await run.exit()).toBe(65);
        expect(run.stderr).toBe(`pkvm-tracefs: ${path} cannot be read: ${reason}\n`);
      }
      expect(peakMemoryKib(daemon) - before).toBeLessThan(20 * KIB);
      expect((await daemon.sh('cat ../sim/scenario buffer_size_kb')).stdout).toBe(
        'idle\n7 (unloaded)\n',
      );
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('refuses mistakes of each kind, and each option says in a line what they are', async ({
    daemon,
  }) => {
    await daemon.start('--rate', '0', '--cpus', '2');
    const dir = mkdtempSync(join(tmpdir(), 'scenarios-'));
    const file = join(dir, 'mine.yaml');
    try {
      for (const [text, message] of [
        [task('*nowhere'), ':3: expected an anchor &nowhere above its alias'],
        [task('[constructor: 1]'), ':3: tasks.0.steps.0: expected one step, of the kinds'],
        [task(`[${'sysreg,'.repeat(130_000)}]`), ':1: expected at most 20000 tokens of YAML'],
        [task('['.repeat(15_000)), ':3: expected lists and maps that do not nest'],
      ] as const) {
        writeFileSync(file, text);
        expect([message, await write(daemon, 'sim/scenario', file)]).toEqual([message, 'EINVAL']);
        const run = daemon.run('run', '--scenario', file);
        expect(await run.exit()).toBe(65);
        expect(run.stderr).toMatch(/^pkvm-tracefs: [^\n]*mine\.yaml:\d+: [^\n]*\n$/);
        expect(run.stderr).toContain(message);
      }
      expect((await daemon.sh('cat ../sim/scenario')).stdout).toBe('idle\n');
      expect(daemon.child.ended).toBe(false);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

/** How much memory the daemon had at the most. */
function peakMemoryKib(daemon: Daemon): number {
  const status = readFileSync(`/proc/${daemon.child.pid}/status`, 'latin1');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
}

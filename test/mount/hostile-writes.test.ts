import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
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
      expect(daemon.child.stderr).toBe('');
    },
  );
});

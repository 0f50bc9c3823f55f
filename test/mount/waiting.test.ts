import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Child, MAIN } from '../support/daemon.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-waiting-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs a shell's script where the simulator is the tracefs. */
async function simulated(script: string): Promise<string> {
  const options = ['exec', '--rate', '2000', '--cpus', '2', '--', 'bash', '-c', script];
  const child = new Child(process.execPath, [MAIN, ...options], { cwd: dir });
  expect(await child.exit(), child.stderr).toBe(0);
  return child.stdout;
}

/** The programs that read a buffer of which nothing is shown to them. */
const SHOWN_NOTHING = [
  "record -e hypervisor:host_hcall -f 'id == 999'",
  'record -F -e hypervisor',
  'record -M 1 -e hypervisor',
  "stream -e hypervisor:host_hcall -f 'id == 999'",
];

describe('trace-cmd, when no event passes', () => {
  test.for(SHOWN_NOTHING)('%s: ends when its command does', async (command) => {
    const out = await simulated(
      `timeout -k 1 10 trace-cmd ${command} sleep 0.5 > log 2>&1; echo "ended with $?"`,
    );
    expect(out).toBe('ended with 0\n');
  });

  test.for([
    ['TERM', SHOWN_NOTHING[0]],
    ['INT', SHOWN_NOTHING[0]],
    ['TERM', SHOWN_NOTHING[3]],
  ])('SIG%s ends all processes of %s', async ([signal, command]) => {
    const out = await simulated(
      `set -m # The job is a process group of its own.
       trace-cmd ${command} sleep 60 > log 2>&1 & job=$!
       until [ "$(pgrep -g $job | wc -l)" -ge 4 ]; do sleep 0.05; done
       until grep -q '^read events: [1-9]' /sys/kernel/tracing/per_cpu/cpu1/stats; do sleep 0.05; done
       kill -${signal} -- -$job
       for n in {1..100}; do pgrep -g $job > left || break; sleep 0.1; done
       ps -o stat=,args= -p "$(paste -sd, left)" 2> /dev/null
       kill -KILL -- -$job 2> /dev/null
       echo ended`,
    );
    expect(out).toBe('ended\n');
  });
});

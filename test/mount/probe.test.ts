import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { DIFFERENCES } from '../probe/differences.ts';
import { test } from '../support/daemon.ts';

type Answers = Readonly<Record<string, unknown>>;

const run = promisify(execFile);

async function probe(dir: string, event: string, producer: string): Promise<Answers> {
  const script = resolve('test/probe/probe.py');
  const { stdout } = await run('python3', [script, dir, event, producer], { timeout: 60_000 });
  return JSON.parse(stdout);
}

/** The same of the host's tracefs, on an instance of our own; else what one once answered. */
async function tracefs(): Promise<Answers> {
  const dir = mkdtempSync(join(tmpdir(), 'tracefs-'));
  try {
    await run('mount', ['-t', 'tracefs', 'nodev', dir]);
  } catch {
    rmdirSync(dir);
    return JSON.parse(readFileSync('test/probe/tracefs-6.18.json', 'utf8'));
  }
  const instance = join(dir, 'instances', `pkvm-tracefs-${process.pid}`);
  mkdirSync(instance);
  try {
    return await probe(instance, 'events/sched/sched_switch', 'trace_marker');
  } finally {
    rmdirSync(instance);
    await run('umount', [dir]);
    rmdirSync(dir);
  }
}

test('every system call is answered as by the host’s tracefs, but for what the README lists', async ({
  daemon,
}) => {
  await daemon.start('--rate', '0', '--cpus', '2');
  const ours = await probe(daemon.hypervisor, 'events/hypervisor/hyp_enter', 'selftest_event');
  const theirs = await tracefs();
  expect(Object.keys(ours)).toEqual(Object.keys(theirs));
  expect(Object.keys(ours).length).toBeGreaterThan(350);

  const differing = Object.keys(ours).filter(
    (question) => JSON.stringify(ours[question]) !== JSON.stringify(theirs[question]),
  );
  for (const question of differing)
    console.log(
      `${question}: ${JSON.stringify(ours[question])}, tracefs ${JSON.stringify(theirs[question])}`,
    );

  const listed = (question: string): boolean =>
    DIFFERENCES.some(({ questions }) => questions.test(question));
  expect(differing.filter((question) => !listed(question))).toEqual([]);
  const unneeded = DIFFERENCES.filter(({ questions }) => !differing.some((q) => questions.test(q)));
  expect(unneeded).toEqual([]);
});

test('the README names every difference', () => {
  const readme = readFileSync('README.md', 'utf8');
  for (const { what } of DIFFERENCES) expect(readme).toContain(`| ${what} |`);
});

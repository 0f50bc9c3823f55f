import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { HYP_REMOTE_EVENTS } from '../../src/daemon/hyp-trace.ts';
import type { Node } from '../../src/fs/nodes.ts';
import { TestMachine } from '../support/machine.ts';

/** The files of hypervisor/ in the series as it was posted, with their modes. */
const POSTED_FILES: Readonly<Record<string, string>> = {
  buffer_size_kb: '0640',
  'events/hypervisor/EVENT/enable': '0700',
  'events/hypervisor/EVENT/id': '0400',
  'per_cpu/cpuN/trace': '0440',
  'per_cpu/cpuN/trace_pipe': '0440',
  'per_cpu/cpuN/trace_pipe_raw': '0440',
  selftest_event: '0640',
  trace: '0640',
  trace_clock: '0440',
  trace_pipe: '0640',
  tracing_on: '0640',
};

/** Its events, which have no fields. */
const POSTED_EVENTS = ['hyp_enter', 'hyp_exit', 'selftest'];

function filesOf(node: Node, path: string): [path: string, mode: string][] {
  if (node.kind === 'file') return [[path, `0${node.mode.toString(8)}`]];
  return Object.entries(node.children).flatMap(([name, child]) =>
    filesOf(child, path === '' ? name : `${path}/${name}`),
  );
}

/** The README's rows: of what kind each is, and what it names. */
function listed(kind: string): string[] {
  const [, section = ''] =
    /^### What `hypervisor\/` has (.*?)^##/ms.exec(readFileSync('README.md', 'utf8')) ?? [];
  return [...section.matchAll(/^\| (\w+) \| ([^|]+) \|/gm)]
    .filter(([, of]) => of === kind)
    .flatMap(([, , names = '']) => [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
    .sort();
}

test('the README lists each file, mode, event and field that the posted series has not', () => {
  const { fs } = new TestMachine({ cpus: 1 });
  const files = new Map(
    filesOf(fs.lookup('/hypervisor'), '').map(([path, mode]) => [
      path.replace('/cpu0/', '/cpuN/').replace(/^(events\/hypervisor\/)\w+/, '$1EVENT'),
      mode,
    ]),
  );
  const added = [...files.keys()].filter((path) => !(path in POSTED_FILES));
  expect(listed('file')).toEqual(added.sort());
  const changed = [...files].filter(
    ([path, mode]) => POSTED_FILES[path] && POSTED_FILES[path] !== mode,
  );
  expect(listed('mode')).toEqual(changed.map(([path, mode]) => `${path} ${mode}`).sort());
  expect(Object.keys(POSTED_FILES).filter((path) => !files.has(path))).toEqual([]);

  const events = HYP_REMOTE_EVENTS.filter(({ name }) => !POSTED_EVENTS.includes(name));
  expect(listed('event')).toEqual(events.map(({ name }) => name).sort());
  const fields = HYP_REMOTE_EVENTS.filter(({ name }) => POSTED_EVENTS.includes(name)).flatMap(
    (event) => event.fields.map((field) => `${event.name}: ${field.name}`),
  );
  expect(listed('field')).toEqual(fields.sort());
});

import { expect, test } from 'vitest';
import { tracefsRoot } from '../../src/fs/hypervisor-dir.ts';
import type { Dir } from '../../src/fs/nodes.ts';
import { readme } from '../../src/fs/readme.ts';
import type { SimCallbacks } from '../../src/fs/sim-dir.ts';
import { HYP_EVENTS } from '../../src/hypervisor-sim/hyp-events.ts';
import { TestMachine } from '../support/machine.ts';

/** The README's sections cover these directories as a whole. */
const AS_A_WHOLE = ['hypervisor/', 'instances/hypervisor/', 'sim/'];

/** The paths of all files below a directory, and of the directories that the README has as a whole. */
function paths({ children }: Dir, above = ''): string[] {
  return Object.entries(children).flatMap(([name, node]) => {
    const path = `${above}${name}`;
    if (node.kind === 'file') return [path];
    return AS_A_WHOLE.includes(`${path}/`) ? [`${path}/`] : paths(node, `${path}/`);
  });
}

const EVENT = new RegExp(`^events/hypervisor/(${HYP_EVENTS.map(({ name }) => name).join('|')})/`);

/** A path as the README writes it, where there are many of a kind. */
const generic = (path: string): string =>
  path
    .replace(EVENT, 'events/hypervisor/EVENT/')
    .replace(/^per_cpu\/cpu\d+\//, 'per_cpu/cpuN/')
    .replace(/^options\/.+/, 'options/OPTION');

const listed = (text: string): string[] =>
  [...text.matchAll(/^ {2}(\S+)\t+- \S/gm)].map(([, path = '']) => path);

test('README lists the files that exist, and nothing else', async () => {
  const { remote } = new TestMachine({ cpus: 2 });
  for (const sim of [undefined, { cpus: [], vms: [] } as unknown as SimCallbacks]) {
    const exist = [...new Set(paths(tracefsRoot(remote, sim)).map(generic))];
    expect(listed(readme(sim !== undefined)).sort()).toEqual(exist.sort());
  }
});

test('README reads as that of a tracefs', async () => {
  const { fs } = new TestMachine({ cpus: 1 });
  const { size } = await fs.stat('/README');
  expect(size).toBe(readme(false).length); // Each character is a byte.
  expect(readme(false)).toMatch(/^tracing mini-HOWTO:\n\n/);
});

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScenario, readScenario, scenarioNames } from '../../src/daemon/scenarios.ts';
import { parseDuration } from '../../src/host-sim/duration.ts';
import { parseScenario } from '../../src/host-sim/scenario-file.ts';
import { OP } from '../../src/hypervisor-sim/guest-program.ts';

const parse = (text: string) => parseScenario('mine', text, 'mine.yaml');

const task = (step: string): string => `description: d\ntasks:\n  - steps:\n      - ${step}\n`;
const steps = (list: string): string => `description: d\ntasks:\n  - steps: ${list}\n`;
/** Each line repeats the one before it twice. */
const bomb = Array.from(
  { length: 30 },
  (_, n) => `      - &a${n + 1} {repeat: {times: 2, steps: [*a${n}, *a${n}]}}\n`,
).join('');
const guest = (step: string): string =>
  `description: d\nguests:\n  g:\n    boot:\n      - ${step}\ntasks: []\n`;

test.each([
  ['not YAML', 'description: [\n', 'mine.yaml:2: Flow sequence'],
  ['no map', '5', 'mine.yaml:1: expected only description'],
  ['nothing', '', 'mine.yaml:1: expected only description'],
  ['no description', 'tasks: []\n', 'mine.yaml:1: description: expected a sentence'],
  ['no tasks', 'description: d\n', 'mine.yaml:1: tasks: expected a list of tasks'],
  ['an unknown key', 'description: d\ntasks: []\nfoo: 1\n', 'mine.yaml:3: foo: expected only'],
  [
    'a rate that is none',
    'description: d\nrate: fast\ntasks: []\n',
    'mine.yaml:2: rate: expected events',
  ],
  ['a negative rate', 'description: d\nrate: -1\ntasks: []\n', 'mine.yaml:2: rate: '],
  [
    'the boot CPU off',
    'description: d\noffline: [0]\ntasks: []\n',
    'mine.yaml:2: offline.0: expected',
  ],
  [
    'an unknown step',
    task('dance: 1'),
    'mine.yaml:4: tasks.0.steps.0: expected one step, of the kinds',
  ],
  [
    'two steps in one',
    task('{share_hyp: 1, sleep: 1ms}'),
    'mine.yaml:4: tasks.0.steps.0: expected one',
  ],
  ['an empty step', task('{}'), 'mine.yaml:4: tasks.0.steps.0: expected one step'],
  ['a step of a number', task('7'), 'mine.yaml:4: tasks.0.steps.0: expected one step'],
  ['no pages', task('share_hyp: 0'), 'mine.yaml:4: tasks.0.steps.0.share_hyp: expected a whole'],
  [
    'a time without a unit',
    task('sleep: 10'),
    'mine.yaml:4: tasks.0.steps.0.sleep: expected a time',
  ],
  [
    'a hypercall that is none',
    task('hvc: {call: nope}'),
    'hvc.call: expected the name of a hypercall',
  ],
  ['a function that is none', task('smc: NOPE'), 'mine.yaml:4: tasks.0.steps.0.smc: '],
  [
    'a guest that is not there',
    task('run_vm: g'),
    'mine.yaml:3: tasks.0: expected a guest named g',
  ],
  ['an inner guest that is not there', task('repeat: {times: 1, steps: [{run_vm: g}]}'), 'named g'],
  [
    'a loop of nothing',
    task('repeat: {times: 2, steps: []}'),
    'steps.0.repeat.steps: expected at least one step',
  ],
  [
    'a choice without a weight',
    task('any: [{step: sysreg}]'),
    'any.0.weight: expected a whole number',
  ],
  [
    'memory among devices',
    guest('load: 0x1000'),
    'mine.yaml:5: guests.g.boot.0.load: expected an address',
  ],
  [
    'a device in memory',
    guest('mmio: 0x800000'),
    'guests.g.boot.0.mmio: expected an address of a device',
  ],
  ['half a word', guest('store: 0x800002'), 'guests.g.boot.0.store: expected'],
  ['a register that is none', guest('sysreg: FOO'), 'expected the name of a system register'],
  [
    'loops that nest too deep',
    guest(`${'{repeat: {times: 2, steps: ['.repeat(5)}wfi${']}}'.repeat(5)}`),
    'mine.yaml:5: guests.g.boot.0.repeat.steps.0.repeat.steps.0.repeat.steps.0.repeat.steps.0: expected one',
  ],
  ['an alias of nothing', steps('*nowhere'), 'mine.yaml:3: expected an anchor &nowhere above'],
  ['an alias of what comes later', steps('[*a, &a sysreg]'), 'expected an anchor &a above'],
  ['an alias bomb', steps(`\n      - &a0 sysreg\n${bomb}`), 'expected at most 20000 values'],
  ['an anchor that holds itself', steps('&a [*a]'), 'mine.yaml:3: expected *a outside of what'],
  ['a map that holds itself', steps('[&a {repeat: *a}]'), 'expected *a outside of what'],
  [
    'a step named constructor',
    steps('[constructor: 1]'),
    'steps.0: expected one step, of the kinds',
  ],
  ['a step named __proto__', steps('[__proto__: 1]'), 'steps.0: expected one step, of the kinds'],
  [
    'an instruction named toString',
    guest('toString: 1'),
    'boot.0: expected one step, of the kinds',
  ],
  ['a key named constructor', `${steps('[sysreg]')}constructor: 1\n`, 'expected only description'],
  ['a guest named __proto__', steps('[run_vm: __proto__]'), 'expected a guest named __proto__'],
  ['a list as a key', steps('[? [1] : 2]'), 'steps.0: expected one step, of the kinds'],
  ['a key of two lines', steps('["a\\nb": 1, c: 2]'), 'expected one step'],
  ['70,000 steps', steps(`\n${'      - sysreg\n'.repeat(70_000)}`), 'at most 20000 tokens of YAML'],
  ['130,000 steps', steps(`[${'1,'.repeat(130_000)}]`), 'at most 20000 tokens of YAML'],
  ['100,000 tasks', `tasks:\n${'  - 1\n'.repeat(100_000)}`, 'at most 20000 tokens of YAML'],
  ['257 tasks', `description: d\ntasks:\n${'  - steps: [sysreg]\n'.repeat(257)}`, '256 tasks'],
  [
    '15,000 brackets',
    steps('['.repeat(15_000)),
    'mine.yaml:3: expected lists and maps that do not nest',
  ],
  ['100 lists in each other', steps(`${'['.repeat(100)}${']'.repeat(100)}`), 'at most 64 deep'],
])('%s is refused, with the line and what was expected', (_why, text, message) => {
  expect(() => parse(text)).toThrow(message);
  expect(() => parse(text)).toThrow(/^mine\.yaml:\d+: [^\n]+$/);
});

test('a file that is not there is refused with the names of those that are', async () => {
  const names = 'expected one of boot, ffa, hotplug, idle, io, storm, or a file';
  await expect(readScenario('nope')).rejects.toThrow(names);
  await expect(readScenario('./nope.yaml')).rejects.toThrow(`no scenario ./nope.yaml: ${names}`);
  await expect(readScenario('/')).rejects.toThrow('/ cannot be read: it is not a regular file');
});

test('what a file leaves out has its default', () => {
  expect(parse('description: d\ntasks:\n  - steps: [sysreg]\n')).toEqual({
    name: 'mine',
    description: 'd',
    cpus: undefined,
    rate: 100,
    offline: [],
    guests: {},
    tasks: [{ cpus: 'all', times: Number.POSITIVE_INFINITY, steps: [{ do: 'sysreg' }] }],
  });
});

test('aliases repeat what their anchors hold, any number of times', () => {
  const { tasks } = parse(steps(`[&a {share_hyp: 2}${', *a'.repeat(200)}]`));
  expect(tasks[0]?.steps).toEqual(Array(201).fill({ do: 'share_hyp', pages: 2 }));
});

describe('a guest’s program', () => {
  test('becomes instructions, and ends by switching off', () => {
    const { g } = parse(guest('repeat: {times: 3, steps: [wfi, {load: 0x900010}]}')).guests;
    expect(g).toMatchObject({ isProtected: true, vcpus: 1, pages: 3 });
    expect(g?.image.slice(0, 5)).toEqual([
      { op: OP.WFI },
      { op: OP.LOAD, a: 0x900010 },
      { op: OP.LOOP, a: 0x800000, b: 3, c: 0 },
      { op: OP.HVC, a: 0x84000008 },
      { op: 0 },
    ]);
    expect(g?.image[256]).toEqual({ op: OP.HVC, a: 0x84000002 });
  });
});

test.each([
  ['0ns', 0],
  ['15us', 15_000],
  ['1.5ms', 1_500_000],
  ['2s', 2_000_000_000],
])('%s is %d ns', (text, ns) => {
  expect(parseDuration(text)).toBe(ns);
});

test.each(['', '5', 'ms', '-1ms', '1 ms', '1m', '1e3s'])('"%s" is no time', (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test('each scenario that comes with us is described where people look', () => {
  const docs = readFileSync('docs/scenarios.md', 'utf8');
  expect(scenarioNames()).toEqual(
    readdirSync('scenarios').map((file) => file.replace('.yaml', '')),
  );
  for (const name of scenarioNames())
    expect(docs).toContain(`| \`${name}\` | ${loadScenario(name).description} |`);
});

test('the documentation names every kind of step and of instruction', () => {
  const docs = readFileSync('docs/scenarios.md', 'utf8');
  for (const text of [task('nope: 1'), guest('nope: 1')]) {
    const kinds = /kinds (.*)$/m.exec(messageOf(() => parse(text)))?.[1]?.split(', ') ?? [];
    expect(kinds.length).toBeGreaterThan(10);
    for (const kind of kinds) expect(docs).toContain(`\`${kind}`);
  }
});

function messageOf(fails: () => unknown): string {
  try {
    fails();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

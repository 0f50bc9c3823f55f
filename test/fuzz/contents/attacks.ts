import fc, { type Arbitrary } from 'fast-check';
import { MIB } from '../../../src/units.ts';

/** What once did harm, each by the name that leaves it out. */

const times = (max: number): Arbitrary<number> => fc.integer({ min: 1, max });
const task = (steps: string): string => `description: d\ntasks:\n- steps:\n${steps}`;

/** Each is an alias of nine of the one before: 9 to the power of the depth. */
const bomb = (depth: number): string => {
  const levels = Array.from({ length: depth }, (_, level) => {
    const items = Array(9).fill(level === 0 ? 'x' : `*a${level - 1}`);
    return `a${level}: &a${level} [${items.join(', ')}]\n`;
  });
  return `${levels.join('')}description: d\ntasks: *a${depth - 1}\n`;
};

const nested = (depth: number): string =>
  task(`  - ${'{repeat: {times: 1, steps: ['.repeat(depth)}sysreg${']}}'.repeat(depth)}\n`);

export const SCENARIO_ATTACKS: Readonly<Record<string, Arbitrary<string>>> = {
  aliases: fc.oneof(
    times(12).map(bomb),
    fc.constantFrom(
      task('  - *nothing\n'),
      task('  - &a {repeat: {times: 2, steps: [*a]}}\n'),
      'description: d\ntasks: &a [*a]\n',
      '&a description: *a\ntasks: []\n',
      'description: d\n<<: &a {<<: *a}\ntasks: []\n',
      'description: d\nguests: &g {web: {boot: []}, vault: *g}\ntasks: []\n',
    ),
  ),
  prototypes: fc
    .constantFrom('constructor', '__proto__', 'toString', 'valueOf', 'hasOwnProperty')
    .chain((name) =>
      fc.constantFrom(
        task(`  - ${name}: 1\n`),
        task(`  - ${name}\n`),
        task(`  - smc: ${name}\n`),
        task(`  - run_vm: ${name}\n`),
        task(`  - hvc: {call: ${name}}\n`),
        `description: d\n${name}: {}\ntasks: []\n`,
        `description: d\nguests: {${name}: {boot: [wfi]}}\ntasks: []\n`,
        `description: d\nguests: {g: {boot: [{hvc: ${name}}]}}\ntasks: []\n`,
      ),
    ),
  nesting: times(20_000).chain((depth) =>
    fc.constantFrom(
      nested(depth),
      `description: d\ntasks: ${'['.repeat(depth)}`,
      `description: ${'{a: '.repeat(depth)}`,
      `${Array.from({ length: Math.min(depth, 1_000) }, (_, n) => `${' '.repeat(n)}a:\n`).join('')}`,
    ),
  ),
  'many-steps': times(200_000).chain((count) =>
    fc.constantFrom(
      task('  - sysreg\n'.repeat(count)),
      `description: d\ntasks:\n${'- steps: [sysreg]\n'.repeat(count)}`,
      task(`  - any:\n${'    - {weight: 1, step: sysreg}\n'.repeat(Math.min(count, 20_000))}`),
    ),
  ),
  'huge-times': fc.constantFrom(
    task('  - repeat: {times: 1000000, steps: [{repeat: {times: 1000000, steps: [sysreg]}}]}\n'),
    task(`  - sleep: ${'9'.repeat(400)}s\n`),
    task('  - sleep: 0ns\n'),
    `description: d\nguests: {g: {boot: [{work: ${'9'.repeat(400)}s}]}}\ntasks: [{steps: [{run_vm: g}]}]\n`,
    'description: d\nguests: {g: {boot: [{repeat: {times: 1000000, steps: []}}]}}\ntasks: [{steps: [{run_vm: g}]}]\n',
    'description: d\nguests: {g: {boot: [{repeat: {times: 1000000, steps: [{work: 0ns}]}}]}}\ntasks: [{steps: [{run_vm: g}]}]\n',
  ),
};

export const FILTER_ATTACKS: Readonly<Record<string, Arbitrary<string>>> = {
  'deep-filters': times(20_000).chain((depth) =>
    fc.constantFrom(
      '('.repeat(depth),
      `${'!'.repeat(depth)}id == 1`,
      `${'('.repeat(depth)}id == 1${')'.repeat(depth)}`,
    ),
  ),
  'long-filters': times(20_000).chain((count) =>
    fc.constantFrom(
      Array(count).fill('id == 1').join(' && '),
      Array(count).fill('CPU < 99').join(' && '),
      Array(count).fill('id == 1').join(' || '),
    ),
  ),
  globs: times(60).chain((stars) =>
    fc.constantFrom(
      `COMM ~ "${'*'.repeat(stars)}x"`,
      `COMM ~ "${'*a'.repeat(stars)}x"`,
      `COMM ~ "${'?*'.repeat(stars)}x"`,
    ),
  ),
};

/** Files that are no scenarios, which a scenario's path may lead to. */
export const PATH_ATTACKS: Readonly<Record<string, Arbitrary<string>>> = {
  paths: fc.constantFrom(
    ...[
      '/dev/null',
      '/etc/passwd',
      '/',
      '.',
      './',
      '/proc/self/mem',
      '/proc/self/environ',
      '/proc/kmsg',
    ],
    ...[
      '/dev/zero',
      '/dev/tty',
      '/dev/ptmx',
      '/proc/self/fd/0',
      '/proc/1/root',
      'a/../b',
      '\0',
      '/\0x',
    ],
  ),
};

/** A text that is longer than any file takes. */
export const LONG_ATTACKS: Readonly<Record<string, Arbitrary<string>>> = {
  long: fc
    .tuple(fc.constantFrom('1', 'id ', '0,', '!', 'x: [', '- ', '\n', '"'), times(MIB))
    .map(([part, count]) => part.repeat(Math.ceil(count / part.length))),
};

import fc, { type Arbitrary } from 'fast-check';
import { scenarioNames } from '../../../src/daemon/scenarios.ts';
import { HYP_EVENTS } from '../../../src/hypervisor-sim/hyp-events.ts';
import { HYPERCALL_NAMES } from '../../../src/hypervisor-sim/hypercalls.ts';

/** What each writable file of the tree takes, as a grammar. */

const among = (...texts: string[]): Arbitrary<string> => fc.constantFrom(...texts);
const joined = (separator: string, ...parts: Arbitrary<string>[]): Arbitrary<string> =>
  fc.tuple(...parts).map((texts) => texts.join(separator));

const line = (text: Arbitrary<string>): Arbitrary<string> => joined('', text, among('', '\n'));

const number = fc.oneof(
  fc.nat(300).map(String),
  fc.bigInt({ min: 0n, max: 2n ** 66n }).map(String),
  fc.bigInt({ min: 0n, max: 2n ** 64n }).map((value) => `0x${value.toString(16)}`),
  fc.integer().map(String),
);

const flag = line(among('0', '1', '2', 'X', '255', '00', '+1'));

const eventName = among(...HYP_EVENTS.map(({ name }) => name), '*', '', 'nope');
const setEvent = fc
  .array(
    joined(
      '',
      among('', '!'),
      fc.oneof(eventName, joined(':', among('hypervisor', '*', ''), eventName)),
    ),
    { maxLength: 6 },
  )
  .map((words) => words.join(' '));

const fields = ['id', 'vcpu', 'reason', 'esr', 'addr', 'from', 'to', 'prot', 'count', 'x', 'CPU'];
const field = among(...fields, 'common_pid', 'common_type', 'COMM', 'comm');
const quoted = joined(
  '',
  among('"', "'"),
  among('*', 'v*', '*v?p*', '?', '', '***', '[a-z]*'),
  among('"', "'"),
);
const comparison = joined(
  ' ',
  field,
  among('==', '!=', '<', '>', '<=', '>=', '&', '~', '=', '=>'),
  fc.oneof(number, quoted),
);

const filterTree = fc.letrec<{ filter: string }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    comparison,
    tie('filter').map((inner) => `(${inner})`),
    tie('filter').map((inner) => `!${inner}`),
    joined(' ', tie('filter'), among('&&', '||'), tie('filter')),
  ),
})).filter;
const filter = fc.oneof(
  { arbitrary: filterTree, weight: 8 },
  { arbitrary: among('0', 'none', '', '\n', '()', '!', '&&', 'id == 1 &&'), weight: 1 },
);

const mask = fc
  .array(
    fc.nat({ max: 2 ** 32 - 1 }).map((bits) => bits.toString(16)),
    { minLength: 1, maxLength: 4 },
  )
  .map((chunks) => chunks.join(','));

const hypercall = fc
  .tuple(
    among('', 'cpu=0 ', 'cpu=1 ', 'cpu=2 ', 'cpu=-1 ', 'cpu= ', 'cpu=1e0 '),
    fc.oneof(among(...HYPERCALL_NAMES), number),
    fc.array(number, { maxLength: 5 }),
  )
  .map(([cpu, name, args]) => `${cpu}${[name, ...args].join(' ')}`);

const duration = fc
  .tuple(
    fc.oneof(fc.nat(2_000).map(String), number, among('0.5', '1.', '.5')),
    among('ns', 'us', 'ms', 's', ''),
  )
  .map((parts) => parts.join(''));

const option = joined(
  '',
  among('', 'no'),
  among('context-info', 'disable_on_free', 'function-trace', 'irq-info', 'overwrite', 'nope'),
);

/** The first rule whose pattern matches a path is its grammar. */
const RULES: readonly [path: RegExp, text: Arbitrary<string>][] = [
  [/buffer_size_kb$/, line(fc.oneof(fc.nat(64).map(String), number))],
  [/filter$/, line(filter)],
  [/set_event$/, setEvent],
  [/tracing_cpumask$/, line(mask)],
  [/sim\/clock$/, joined(' ', among('advance', 'suspend', 'stop'), duration)],
  [/sim\/hypercall$/, hypercall],
  [/sim\/rate$/, fc.oneof(number, among('max', '1.5', '0', '1e3'))],
  [/sim\/seed$/, number],
  [/sim\/scenario$/, among(...scenarioNames(), 'nope', '', 'a'.repeat(300))],
  [/trace_options$/, line(option)],
  [/trace_clock$/, among('boot', 'local', '[boot]')],
  [/current_tracer$/, among('nop', 'function')],
  [/trigger$/, among('traceon', 'hist:keys=id', '!traceon')],
  [/(enable|online|tracing_on|options\/.*)$/, flag],
  [/./, fc.oneof(flag, number, fc.string())],
];

export const textFor = (path: string): Arbitrary<string> =>
  RULES.find(([pattern]) => pattern.test(path))?.[1] ?? fc.string();

export { duration, number };

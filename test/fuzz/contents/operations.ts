import fc, { type Arbitrary } from 'fast-check';
import { FILTER_ATTACKS, LONG_ATTACKS, PATH_ATTACKS, SCENARIO_ATTACKS } from './attacks.ts';
import { textFor } from './file-grammar.ts';
import { mutated } from './mutations.ts';
import { scenarioText } from './scenario-grammar.ts';

/** What one step of the fuzzer does. */
export type Operation =
  | { readonly do: 'write'; readonly path: string; readonly bytes: Buffer }
  /** Reads a file as a scenario, and runs it where it is one. */
  | { readonly do: 'scenario' | 'run'; readonly bytes: Buffer };

export const ATTACKS = [SCENARIO_ATTACKS, FILTER_ATTACKS, PATH_ATTACKS, LONG_ATTACKS].flatMap(
  (attacks) => Object.keys(attacks),
);

const LONGEST = 3_000;

/** The operations on a tree with these writable files, each a value of one arbitrary. */
export function operationsOn(
  files: readonly string[],
  without: ReadonlySet<string>,
): Arbitrary<Operation> {
  const limits = { longest: LONGEST };
  const only = (attacks: Readonly<Record<string, Arbitrary<string>>>): Arbitrary<string> =>
    either(Object.entries(attacks).flatMap(([name, text]) => (without.has(name) ? [] : text)));
  const write = fc
    .constantFrom(...files)
    .chain((path) =>
      mutated(orAttack(textFor(path), only(attacksOn(path))), limits).map(
        (bytes): Operation => ({ do: 'write', path, bytes }),
      ),
    );
  const scenario = mutated(orAttack(scenarioText, only(SCENARIO_ATTACKS)), limits);
  return fc.oneof(
    { arbitrary: write, weight: 14 },
    { arbitrary: scenario.map((bytes): Operation => ({ do: 'scenario', bytes })), weight: 5 },
    { arbitrary: scenario.map((bytes): Operation => ({ do: 'run', bytes })), weight: 1 },
  );
}

function attacksOn(path: string): Readonly<Record<string, Arbitrary<string>>> {
  if (path.endsWith('/filter')) return { ...FILTER_ATTACKS, ...LONG_ATTACKS };
  if (path.endsWith('sim/scenario')) return { ...PATH_ATTACKS, ...LONG_ATTACKS };
  return LONG_ATTACKS;
}

const either = (texts: readonly Arbitrary<string>[]): Arbitrary<string> =>
  texts.length === 0 ? fc.constant('') : fc.oneof(...texts);

const orAttack = (text: Arbitrary<string>, attack: Arbitrary<string>): Arbitrary<string> =>
  fc.oneof({ arbitrary: text, weight: 100 }, { arbitrary: attack, weight: 1 });

/** The operation of this number: it follows from the seed and the number alone. */
export function operationAt(
  operations: Arbitrary<Operation>,
  seed: number,
  number: number,
): Operation {
  const mixed = Math.imul(seed | 1, 0x9e37_79b1) ^ Math.imul(number + 1, 0x85eb_ca6b);
  const [operation] = fc.sample(operations, { seed: mixed, numRuns: 1 });
  if (operation === undefined) throw new Error('no operation');
  return operation;
}

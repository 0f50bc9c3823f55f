import { safeParse } from 'valibot';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import { defined } from '../assert.ts';
import type { Scenario, Step } from './scenario.ts';
import { scenarioSchema } from './scenario-schema.ts';
import { problemOf } from './schema-parts.ts';

/** What is wrong with a scenario file, in one line that begins with the file and the line in it. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';
}

/**
 * Reads the text of a scenario file: YAML, as docs/scenarios.md describes it.
 *
 * @throws ScenarioError that says where what was expected.
 */
export function parseScenario(name: string, text: string, file: string): Scenario {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error)
    throw new ScenarioError(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`);

  const result = safeParse(scenarioSchema, document.toJS());
  if (!result.success) {
    const [first] = result.issues.map(problemOf);
    const { path, message } = defined(first, 'what is wrong');
    throw new ScenarioError(at(file, document, lines, path, message));
  }
  const { cpus, ...scenario } = result.output;
  for (const [index, { steps }] of scenario.tasks.entries()) {
    const missing = steps.flatMap(guestsOf).find((guest) => !Object.hasOwn(scenario.guests, guest));
    if (missing !== undefined)
      throw new ScenarioError(
        at(file, document, lines, ['tasks', index], `expected a guest named ${missing} in guests`),
      );
  }
  return { name, cpus, ...scenario };
}

function at(
  file: string,
  document: Document,
  lines: LineCounter,
  path: readonly PropertyKey[],
  message: string,
): string {
  const line = lines.linePos(startOf(document, path)).line;
  const where = path.length === 0 ? '' : ` ${path.map(String).join('.')}:`;
  return `${file}:${line}:${where} ${message}`;
}

/** Where in the text a path's value starts; of one that is missing, what should have it. */
function startOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function guestsOf(step: Step): string[] {
  if (step.do === 'run_vm') return [step.guest];
  if (step.do === 'repeat') return step.steps.flatMap(guestsOf);
  if (step.do === 'any') return step.choices.flatMap(({ step: choice }) => guestsOf(choice));
  return [];
}

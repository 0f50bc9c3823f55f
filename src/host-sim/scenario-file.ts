import { safeParse } from 'valibot';
import { defined } from '../assert.ts';
import type { Scenario, Step } from './scenario.ts';
import { scenarioSchema } from './scenario-schema.ts';
import { ScenarioYaml } from './scenario-yaml.ts';
import { problemOf } from './schema-parts.ts';

/**
 * Reads the text of a scenario file: YAML, as docs/scenarios.md describes it.
 *
 * @throws ScenarioError that says where what was expected.
 */
export function parseScenario(name: string, text: string, file: string): Scenario {
  const yaml = new ScenarioYaml(text, file);
  const result = safeParse(scenarioSchema, yaml.toJS());
  if (!result.success) {
    const [first] = result.issues.map(problemOf);
    const { path, message } = defined(first, 'what is wrong');
    throw yaml.errorAt(path, message);
  }
  const { cpus, ...scenario } = result.output;
  for (const [index, { steps }] of scenario.tasks.entries()) {
    const missing = steps.flatMap(guestsOf).find((guest) => !Object.hasOwn(scenario.guests, guest));
    if (missing !== undefined)
      throw yaml.errorAt(['tasks', index], `expected a guest named ${missing} in guests`);
  }
  return { name, cpus, ...scenario };
}

function guestsOf(step: Step): string[] {
  if (step.do === 'run_vm') return [step.guest];
  if (step.do === 'repeat') return step.steps.flatMap(guestsOf);
  if (step.do === 'any') return step.choices.flatMap(({ step: choice }) => guestsOf(choice));
  return [];
}

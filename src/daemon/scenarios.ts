import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Scenario } from '../host-sim/scenario.ts';
import { parseScenario, ScenarioError } from '../host-sim/scenario-file.ts';

/** The scenarios that come with us. */
const DIR = fileURLToPath(new URL('../../scenarios', import.meta.url));
const SUFFIX = '.yaml';

export const DEFAULT_SCENARIO = 'idle';

export const scenarioNames = (): string[] =>
  readdirSync(DIR)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => basename(file, SUFFIX));

/**
 * Loads a scenario by the name of one of ours, or from a file.
 *
 * @throws ScenarioError when there is none, or it is malformed.
 */
export function loadScenario(nameOrFile: string): Scenario {
  const isName = /^[\w-]+$/.test(nameOrFile);
  const file = isName ? join(DIR, nameOrFile + SUFFIX) : nameOrFile;
  if (!existsSync(file)) {
    const names = scenarioNames().join(', ');
    throw new ScenarioError(`no scenario ${nameOrFile}: expected one of ${names}, or a file`);
  }
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ScenarioError(`${nameOrFile} cannot be read: ${(error as Error).message}`);
  }
  return parseScenario(basename(file, SUFFIX), text, isName ? basename(file) : file);
}

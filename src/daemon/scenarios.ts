import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Scenario } from '../host-sim/scenario.ts';
import { ScenarioError } from '../host-sim/scenario-error.ts';
import { parseScenario } from '../host-sim/scenario-file.ts';
import { readSmallFile } from './small-file.ts';

/** The scenarios that come with us. */
const DIR = fileURLToPath(new URL('../../scenarios', import.meta.url));
const SUFFIX = '.yaml';
const NAME = /^[\w-]+$/;

export const DEFAULT_SCENARIO = 'idle';

export const scenarioNames = (): string[] =>
  readdirSync(DIR)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => basename(file, SUFFIX));

/** Loads one of our own scenarios by its name. @throws ScenarioError when there is none. */
export function loadScenario(name: string): Scenario {
  const file = join(DIR, name + SUFFIX);
  if (!NAME.test(name) || !existsSync(file)) throw unknown(name);
  return parseScenario(name, readFileSync(file, 'utf8'), basename(file));
}

/**
 * Loads a scenario by the name of one of ours, or from a file of anybody's: it is read without
 * making this thread wait, as it may lie on a file system that this thread serves.
 *
 * @throws ScenarioError when there is none, or it is malformed.
 */
export async function readScenario(nameOrFile: string): Promise<Scenario> {
  if (NAME.test(nameOrFile)) return loadScenario(nameOrFile);
  const text = await readSmallFile(nameOrFile).catch((error) => {
    if (error.code === 'ENOENT') throw unknown(nameOrFile);
    throw new ScenarioError(`${nameOrFile} cannot be read: ${error.message}`);
  });
  return parseScenario(basename(nameOrFile, SUFFIX), text, nameOrFile);
}

function unknown(nameOrFile: string): ScenarioError {
  const names = scenarioNames().join(', ');
  return new ScenarioError(`no scenario ${nameOrFile}: expected one of ${names}, or a file`);
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ExitError } from '../../../src/daemon/exit-code.ts';
import { loadScenario } from '../../../src/daemon/scenarios.ts';
import { parseScenario, ScenarioError } from '../../../src/host-sim/scenario-file.ts';
import { MIB } from '../../../src/units.ts';
import { FuzzedMachine, orErrno, runAlone } from './machine.ts';
import { ATTACKS, type Operation, operationAt, operationsOn } from './operations.ts';
import { Watchdog } from './watchdog.ts';

/**
 * Fuzzes what is written to each file of the tree, and what is read as a scenario, without a mount.
 * Nothing but an ErrnoError or a ScenarioError may come out, and each operation takes little time.
 */

/** Of this process's CPU time, as machines are busy. */
const LIMIT_MS = { write: 500, scenario: 500, run: 2_000 };
const HANG_MS = 60_000;
const OPS_PER_MACHINE = 2_000;
const OPS_PER_LOOK = 10;
const MAX_GROWTH = 16 * MIB;

const { values } = parseArgs({
  options: {
    ops: { type: 'string', default: '20000' },
    first: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    without: { type: 'string', default: '' },
    /** Says all that is wrong, and goes on. */
    'keep-going': { type: 'boolean', default: false },
  },
});
const [ops, first, seed] = [Number(values.ops), Number(values.first), Number(values.seed)];
const without = new Set(values.without.split(',').filter(Boolean));
const unknown = [...without].filter((name) => !ATTACKS.includes(name));
if (unknown.length > 0) throw new Error(`no attack ${unknown}; there are ${ATTACKS.join(', ')}`);

const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-fuzz-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const file = join(dir, 'scenario.yaml');
const watchdog = new Watchdog(HANG_MS);

let machine = new FuzzedMachine();
const operations = operationsOn(machine.writable, without);
let failures = 0;
/** One of each is said. */
const kinds = new Set<string>();
let slowest = 0;
let heapAtFirst = 0;

for (let number = first; number < ops; number++) {
  if (number % OPS_PER_MACHINE === 0) machine = await freshMachine();
  const operation = operationAt(operations, seed, number);
  watchdog.begin(number);
  const before = process.cpuUsage();
  let problem = await problemOf(operation);
  if (number % OPS_PER_LOOK === 0) problem ??= await problemIn(() => machine.look());
  const { user, system } = process.cpuUsage(before);
  const took = (user + system) / 1_000;
  slowest = Math.max(slowest, took);
  if (took > LIMIT_MS[operation.do]) problem ??= `took ${took.toFixed(0)} ms of CPU time`;
  if (problem !== undefined) await fail(number, operation, problem);
  if (number === first + Math.floor((ops - first) / 4)) heapAtFirst = usedHeap();
}
const growth = usedHeap() - heapAtFirst;
if (growth > MAX_GROWTH) {
  say(`the heap grew by ${(growth / MIB).toFixed(1)} MiB after a quarter of the operations`);
  failures++;
}
if (failures === 0)
  process.stdout.write(
    `contents: ${ops - first} operations of seed ${seed}: clean; ${(performance.now() / 1000).toFixed(1)} s; ` +
      `the slowest took ${slowest.toFixed(0)} ms; the heap grew by ${(growth / MIB).toFixed(1)} MiB after a quarter\n`,
  );
process.exit(failures === 0 ? 0 : 1);

async function freshMachine(): Promise<FuzzedMachine> {
  const fresh = new FuzzedMachine();
  await fresh.traceAll();
  return fresh;
}

function problemOf(operation: Operation): Promise<string | undefined> {
  return problemIn(async () => {
    if (operation.do === 'write') return machine.write(operation.path, operation.bytes);
    if (operation.do === 'scenario')
      return machine.run(parseScenario('fuzzed', operation.bytes.toString('utf8'), file));
    writeFileSync(file, operation.bytes);
    return runAlone(loadScenario(file));
  });
}

async function problemIn(what: () => Promise<void>): Promise<string | undefined> {
  try {
    await orErrno(what);
  } catch (error) {
    if (error instanceof ScenarioError || error instanceof ExitError) return undefined;
    return (error as Error).stack?.split('\n').slice(0, 6).join('\n') ?? `${error}`;
  }
  return undefined;
}

/** Nothing that follows may be the fault of this one. */
async function fail(number: number, operation: Operation, problem: string): Promise<void> {
  failures++;
  const kind = problem.replace(/\d+|:.*/g, '') + problem.split('\n')[1];
  if (!kinds.has(kind)) say(`operation ${number}: ${problem}\n${shown(operation)}`);
  kinds.add(kind);
  if (!values['keep-going']) process.exit(1);
  machine = await freshMachine();
}

function shown(operation: Operation): string {
  const what = operation.do === 'write' ? operation.path : operation.do;
  const text = operation.bytes.toString('latin1');
  const start = JSON.stringify(text.length > 600 ? `${text.slice(0, 600)}…` : text);
  return `${what}, ${text.length} bytes: ${start}`;
}

function say(text: string): void {
  process.stderr.write(`contents: ${text}\n`);
}

function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

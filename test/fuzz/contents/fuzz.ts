import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ExitError } from '../../../src/daemon/exit-code.ts';
import { ScenarioError } from '../../../src/host-sim/scenario-error.ts';
import { MIB } from '../../../src/units.ts';
import type { Fuzzed } from './fuzzed.ts';
import { FuzzedMachine } from './machine.ts';
import { MountedTree } from './mounted.ts';
import { ATTACKS, type Operation, operationAt, operationsOn } from './operations.ts';
import { Watchdog } from './watchdog.ts';

/**
 * Fuzzes what is written to each file of the tree, and what is read as a scenario. Nothing but an
 * ErrnoError or a ScenarioError may come out, each operation takes little time, and memory is flat.
 */

/** In CPU time of this process, as machines are busy; in a mount it is the daemon that works. */
const LIMIT_MS = { write: 500, scenario: 500, run: 2_000 };
const HANG_MS = 60_000;
const OPS_PER_MACHINE = 2_000;
const OPS_PER_LOOK = 10;
const MAX_GROWTH = 16 * MIB;

const { values } = parseArgs({
  options: {
    /** The number of the operation to end before. */
    ops: { type: 'string', default: '20000' },
    /** The number of the one to begin with. */
    first: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    /** Attacks to leave out, separated by commas. */
    without: { type: 'string', default: '' },
    /** Through a real mount. */
    mount: { type: 'boolean', default: false },
    /** Says one of each kind of failure, and goes on. */
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

const kinds = new Set<string>();
let warning: string | undefined;
process.on('warning', ({ message }) => {
  warning = `node warns: ${message}`;
});

const { writable } = await FuzzedMachine.start();
let fuzzed = await fresh();
const operations = operationsOn(fuzzed.writable, without);
const watchdog = new Watchdog(HANG_MS);
let slowest = 0;
let heapAtFirst = 0;
let cpuMs = cpuTime();

for (let number = first; number < ops; number++) {
  const operation = operationAt(operations, seed, number);
  watchdog.begin(number, fuzzed.pid);
  const problem = await problemAt(number, operation);
  if (problem !== undefined) await fail(number, operation, problem);
  if (number === first + Math.floor((ops - first) / 4)) heapAtFirst = usedHeap();
  if (number % OPS_PER_MACHINE === OPS_PER_MACHINE - 1 && !values.mount) fuzzed = await fresh();
}
const growth = usedHeap() - heapAtFirst;
if (growth > MAX_GROWTH) await fail(ops, undefined, `the heap grew by ${mib(growth)}`);
await fuzzed.stop();
if (kinds.size === 0)
  process.stdout.write(
    `contents: ${ops - first} operations of seed ${seed}: clean; ${(performance.now() / 1000).toFixed(1)} s; ` +
      `the slowest took ${slowest.toFixed(0)} ms; the heap grew by ${mib(growth)} after a quarter\n`,
  );
process.exit(kinds.size === 0 ? 0 : 1);

function fresh(): Promise<Fuzzed> {
  return values.mount ? MountedTree.start(writable) : FuzzedMachine.start();
}

async function problemAt(number: number, operation: Operation): Promise<string | undefined> {
  const before = cpuMs;
  try {
    await make(operation);
    if (number % OPS_PER_LOOK === 0) await fuzzed.look();
    fuzzed.check();
  } catch (error) {
    if (!(error instanceof ScenarioError || error instanceof ExitError))
      return (error as Error).stack?.split('\n').slice(0, 6).join('\n') ?? `${error}`;
  } finally {
    cpuMs = cpuTime();
  }
  const took = cpuMs - before;
  slowest = Math.max(slowest, took);
  const warned = warning;
  warning = undefined;
  return took > LIMIT_MS[operation.do] ? `took ${took.toFixed(0)} ms of CPU time` : warned;
}

function make(operation: Operation): Promise<void> {
  if (operation.do === 'write') return fuzzed.write(operation.path, operation.bytes);
  return fuzzed[operation.do](operation.bytes, file);
}

/** Nothing that follows may be the fault of this one. */
async function fail(number: number, operation: Operation | undefined, problem: string) {
  const kind = problem.replace(/\d+|:.*/g, '') + problem.split('\n')[1];
  if (!kinds.has(kind))
    say(`operation ${number}: ${problem}\n${operation ? shown(operation) : ''}`);
  kinds.add(kind);
  await fuzzed.stop();
  if (!values['keep-going']) {
    say(`again: npm run fuzz -- contents ${process.argv.slice(2).join(' ')}`);
    process.exit(1);
  }
  fuzzed = await fresh();
}

function shown(operation: Operation): string {
  const what = operation.do === 'write' ? operation.path : operation.do;
  const text = operation.bytes.toString('latin1');
  return `${what}, ${text.length} bytes: ${JSON.stringify(text.slice(0, 600))}`;
}

function say(text: string): void {
  process.stderr.write(`contents: ${text}\n`);
}

function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

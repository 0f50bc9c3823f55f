#!/usr/bin/env node
import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { ScenarioError } from '../host-sim/scenario-error.ts';
import type { HypEvent } from '../hypervisor-sim/hyp-event.ts';
import { NS_PER_MS } from '../units.ts';
import { detach } from './detach.ts';
import { doctor } from './doctor.ts';
import { execCommand } from './exec.ts';
import { EXIT, ExitError } from './exit-code.ts';
import { createLog, LOG_LEVELS } from './log.ts';
import { canonical, isOurs, unmount } from './mountpoint.ts';
import {
  MAX_CPUS,
  parseCounterHz,
  parseCpus,
  parseEvents,
  parseMemoryMib,
  parsePath,
  parseRate,
  parseSeed,
  parseTime,
} from './options.ts';
import { BrokenPipe, print, STDOUT, writeAll } from './output-file.ts';
import { RawSink } from './raw-sink.ts';
import { run, TextSink, type TraceSink } from './run.ts';
import { DEFAULT_SCENARIO, readScenario } from './scenarios.ts';
import { serve, serveExec } from './serve.ts';

/** What a machine is made of, for every command that switches one on. */
interface MachineFlags {
  readonly scenario: string;
  readonly seed: number;
  readonly rate?: number;
  readonly cpus?: number;
  readonly memory: number;
  readonly counterHz: number;
}

interface MountFlags extends MachineFlags {
  readonly virtual: boolean;
  readonly sim: boolean;
  readonly logLevel: string;
  readonly allowOther: boolean;
  readonly sizeZero: boolean;
  readonly detach: boolean;
  /** A daemon that serves one exec; see serveExec(). */
  readonly forExec: boolean;
}

interface ExecFlags extends MachineFlags {
  readonly virtual: boolean;
  readonly mount?: string;
}

interface RunFlags extends MachineFlags {
  readonly for: number;
  readonly events?: readonly HypEvent[];
  readonly raw?: string;
  readonly perfetto?: string;
  readonly force: boolean;
}

const program = new Command('pkvm-tracefs')
  .enablePositionalOptions()
  .description('A simulated pKVM hypervisor, traced through a tracefs that any shell can read.')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? EXIT.OK : EXIT.USAGE));

/** The CPUs in virtual time, where nobody says how many: as many on every machine. */
const VIRTUAL_CPUS = 2;
const hostCpus = Math.min(availableParallelism(), MAX_CPUS);

const withMachineOptions = (command: Command): Command =>
  command
    .option('--scenario <name|file>', 'what the host does', DEFAULT_SCENARIO)
    .option('--seed <n>', 'of the random numbers that it does it by', parseSeed, 1)
    .option(
      '--rate <events/s>',
      "that each CPU's tasks make; or max (default: the scenario's)",
      parseRate,
    )
    .option('--cpus <n>', 'how many physical CPUs to simulate', parseCpus)
    .option('--memory <MiB>', "the simulated machine's RAM", parseMemoryMib, 128)
    .option(
      '--counter-hz <Hz>',
      "the frequency of the CPUs' counter",
      parseCounterHz,
      1_000_000_000,
    );

withMachineOptions(program.command('mount'))
  .description('mount the tracefs and serve it until SIGINT, SIGTERM or umount')
  .argument('<dir>', 'an empty directory', parsePath)
  .option('--virtual', 'let time move only when sim/clock says so', false)
  .option('--no-sim', 'leave out the sim/ directory')
  .addOption(new Option('--log-level <level>', 'on stderr').choices(LOG_LEVELS).default('warn'))
  .option('--allow-other', 'let other users in, as far as the modes allow', false)
  .option('--size-zero', 'show files with a size of 0, as tracefs does', false)
  .option('--detach', 'return when the mount answers, and go on in the background', false)
  .addOption(new Option('--for-exec').default(false).hideHelp())
  .action((dir: string, flags: MountFlags) => exitWith(() => mountCommand(canonical(dir), flags)));

withMachineOptions(program.command('run'))
  .description('run a scenario in virtual time and print its trace; needs no mount')
  .option('--for <time>', 'how long, such as 50ms', parseTime, 100 * NS_PER_MS)
  .option('--events <names>', 'trace only these, separated by commas', parseEvents)
  .option('--raw <dir>', "write each CPU's pages there, and print nothing", parsePath)
  .addOption(
    new Option('--perfetto <file>', 'write a trace for Perfetto there, and print nothing')
      .argParser(parsePath)
      .conflicts('raw'),
  )
  .option('--force', 'replace files that are not traces of ours', false)
  .action((flags: RunFlags) => exitWith(() => runCommand(flags)));

program
  .command('umount')
  .description('unmount the tracefs, which ends its daemon')
  .argument('<dir>', 'where it is mounted', parsePath)
  .action((dir: string) => exitWith(() => umountCommand(canonical(dir))));

withMachineOptions(program.command('exec'))
  .description('run a command where /sys/kernel/tracing is the simulator, for it alone')
  .argument('<command...>', 'after --')
  .option('--virtual', 'let time move only when sim/clock says so', false)
  .option('--mount <dir>', 'of a daemon that runs already, instead of one of its own', parsePath)
  .passThroughOptions()
  .action((command: string[], flags: ExecFlags) =>
    exitWith(() => execCommand(command, mountArgsOf(flags), flags.mount)),
  );

program
  .command('doctor')
  .description('say what this machine offers, and what is missing for which tool')
  .action(() => exitWith(() => doctor((line) => print(`${line}\n`))));

async function mountCommand(mountpoint: string, flags: MountFlags): Promise<number> {
  const { virtual, sim, allowOther, sizeZero } = flags;
  // What is wrong with a scenario is said at once.
  const machine = await machineOptions(flags, virtual ? VIRTUAL_CPUS : hostCpus);
  if (flags.detach) return detach(process.argv.slice(1).filter((arg) => arg !== '--detach'));
  const options = { mountpoint, ...machine, virtual, sim, allowOther, sizeZero };
  const log = createLog(flags.logLevel);
  return flags.forExec ? serveExec(options, log) : serve(options, log);
}

async function runCommand(flags: RunFlags): Promise<number> {
  const machine = await machineOptions(flags, VIRTUAL_CPUS);
  const options = { ...machine, forNs: flags.for, events: flags.events };
  const sink = await sinkOf(flags, options.cpus);
  try {
    await run(options, sink);
  } catch (error) {
    sink.discard?.();
    throw error;
  }
  return EXIT.OK;
}

/** Where a run's trace goes. @throws ExitError when it cannot be written there. */
async function sinkOf({ raw, perfetto, force }: RunFlags, cpus: number): Promise<TraceSink> {
  try {
    if (raw !== undefined) return new RawSink(raw, cpus, force);
    if (perfetto === undefined) return new TextSink((text) => writeAll(STDOUT, text, 'stdout'));
    const { PerfettoSink } = await import('./perfetto-sink.ts'); // Who needs no protobuf waits for none.
    return new PerfettoSink(perfetto, force);
  } catch (error) {
    throw new ExitError(EXIT.CANNOT_CREATE, (error as Error).message);
  }
}

/** The options of exec that its daemon gets. */
function mountArgsOf({ mount: _, virtual, ...flags }: ExecFlags): string[] {
  const values = Object.entries(flags).map(([name, value]) => [
    `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    value === Number.POSITIVE_INFINITY ? 'max' : `${value}`,
  ]);
  return [...values.flat(), ...(virtual ? ['--virtual'] : [])];
}

async function machineOptions(flags: MachineFlags, defaultCpus: number) {
  const { seed, rate, memory: memoryMib, counterHz } = flags;
  try {
    const scenario = await readScenario(flags.scenario);
    const cpus = flags.cpus ?? scenario.cpus ?? defaultCpus;
    return { scenario, seed, rate, cpus, memoryMib, counterHz };
  } catch (error) {
    if (error instanceof ScenarioError) throw new ExitError(EXIT.DATA, error.message);
    throw error;
  }
}

async function umountCommand(dir: string): Promise<number> {
  if (!isOurs(dir)) throw new ExitError(EXIT.NO_INPUT, `${dir} is not mounted by pkvm-tracefs`);
  await unmount(dir);
  return EXIT.OK;
}

/** Runs a command to its end, and this process with it: whatever still runs is of no use now. */
async function exitWith(command: () => Promise<number>): Promise<never> {
  try {
    process.exit(await command());
  } catch (error) {
    if (error instanceof BrokenPipe) process.exit(EXIT.OK);
    if (!(error instanceof ExitError)) throw error;
    process.stderr.write(`pkvm-tracefs: ${error.message}\n`);
    process.exit(error.code);
  }
}

await program.parseAsync();

#!/usr/bin/env node
import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { detach } from './detach.ts';
import { EXIT, ExitError } from './exit-code.ts';
import { createLog, LOG_LEVELS } from './log.ts';
import { canonical, isOurs, unmount } from './mountpoint.ts';
import { MAX_CPUS, parseCounterHz, parseCpus, parseMemoryMib, parseRate } from './options.ts';
import { serve } from './serve.ts';

interface MountFlags {
  readonly cpus: number;
  readonly memory: number;
  readonly rate: number;
  readonly counterHz: number;
  readonly logLevel: string;
  readonly allowOther: boolean;
  readonly sizeZero: boolean;
  readonly detach: boolean;
}

const program = new Command('pkvm-tracefs')
  .description('A simulated pKVM hypervisor, traced through a tracefs that any shell can read.')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? EXIT.OK : EXIT.USAGE));

const hostCpus = Math.min(availableParallelism(), MAX_CPUS);

program
  .command('mount')
  .description('mount the tracefs and serve it until SIGINT, SIGTERM or umount')
  .argument('<dir>', 'an empty directory')
  .option('--cpus <n>', 'how many physical CPUs to simulate', parseCpus, hostCpus)
  .option('--memory <MiB>', "the simulated machine's RAM", parseMemoryMib, 128)
  .option('--rate <events/s>', "events that each CPU's workload makes; or max", parseRate, 100)
  .option('--counter-hz <Hz>', "the frequency of the CPUs' counter", parseCounterHz, 1_000_000_000)
  .addOption(new Option('--log-level <level>', 'on stderr').choices(LOG_LEVELS).default('warn'))
  .option('--allow-other', 'let other users in, as far as the modes allow', false)
  .option('--size-zero', 'show files with a size of 0, as tracefs does', false)
  .option('--detach', 'return when the mount answers, and go on in the background', false)
  .action((dir: string, flags: MountFlags) => exitWith(() => mountCommand(canonical(dir), flags)));

program
  .command('umount')
  .description('unmount the tracefs, which ends its daemon')
  .argument('<dir>', 'where it is mounted')
  .action((dir: string) => exitWith(() => umountCommand(canonical(dir))));

async function mountCommand(mountpoint: string, flags: MountFlags): Promise<number> {
  if (flags.detach) return detach(process.argv.slice(1).filter((arg) => arg !== '--detach'));
  const { cpus, memory: memoryMib, rate, counterHz, allowOther, sizeZero } = flags;
  const options = { mountpoint, cpus, memoryMib, rate, counterHz, allowOther, sizeZero };
  return serve(options, createLog(flags.logLevel));
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
    if (!(error instanceof ExitError)) throw error;
    process.stderr.write(`pkvm-tracefs: ${error.message}\n`);
    process.exit(error.code);
  }
}

await program.parseAsync();

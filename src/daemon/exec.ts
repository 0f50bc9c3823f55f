import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, ExitError } from './exit-code.ts';
import { UndoStack } from './undo-stack.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/in-namespace.sh', import.meta.url));

/** Passed on to the command; a terminal's reach it anyway. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** As the shell counts: what a process ends with that a signal ended. */
const SIGNAL_BASE = 128;

/**
 * Runs a command where /sys/kernel/tracing is the simulator, for nobody else to see: that of a
 * daemon of its own, started with `mountArgs`, or of one that serves `mountpoint`. Resolves to the
 * command's exit code.
 *
 * @throws ExitError when the machine does not let us.
 */
export async function execCommand(
  command: readonly string[],
  mountArgs: readonly string[],
  mountpoint: string | undefined,
): Promise<number> {
  const undo = new UndoStack();
  try {
    const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-exec-'));
    undo.push('directory', () => rmSync(dir, { recursive: true }));
    const tracing = mountpoint ?? (await mountOwn(join(dir, 'tracing'), mountArgs, undo));
    const covers = join(dir, 'covers');
    writeCovers(covers, tracing);
    return await runInNamespace([SCRIPT, tracing, covers, ...command]);
  } finally {
    await undo.unwind((step, error) => {
      process.stderr.write(`pkvm-tracefs: ${step}: ${(error as Error).message}\n`);
    });
  }
}

/** Starts a daemon that serves until it is undone. */
async function mountOwn(dir: string, args: readonly string[], undo: UndoStack): Promise<string> {
  mkdirSync(dir);
  const daemon = spawn(process.execPath, [process.argv[1] ?? '', 'mount', dir, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true, // A Ctrl-C is the command's; the daemon is needed until that has ended.
  });
  const exited = once(daemon, 'exit');
  undo.push('daemon', async () => {
    daemon.kill('SIGTERM');
    await exited;
  });
  const ready = once(daemon.stdout, 'data').then(() => undefined);
  const [code] = (await Promise.race([ready, exited])) ?? [];
  if (code !== undefined) throw new ExitError(EXIT.UNAVAILABLE, 'the simulator did not start');
  return dir;
}

/** What stands in for the host's files: as they are read and written, and without effect. */
function writeCovers(covers: string, tracing: string): void {
  mkdirSync(covers);
  const cpus = readdirSync(join(tracing, 'per_cpu')).length;
  writeFileSync(join(covers, 'kallsyms'), '');
  writeFileSync(join(covers, 'ftrace_enabled'), '1\n');
  writeFileSync(join(covers, 'kptr_restrict'), '0\n');
  writeFileSync(join(covers, 'cpus'), cpus === 1 ? '0\n' : `0-${cpus - 1}\n`);
}

async function runInNamespace(command: readonly string[]): Promise<number> {
  const isRoot = process.getuid?.() === 0;
  const unshare = isRoot ? ['-m', '--propagation', 'private'] : ['-U', '-r', '-m'];
  const child = spawn('unshare', [...unshare, '--', ...command], { stdio: 'inherit' });
  const stopPassing = passSignals(child);
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return signal === null ? (code ?? EXIT.SOFTWARE) : SIGNAL_BASE + constants.signals[signal];
  } catch (error) {
    throw new ExitError(EXIT.UNAVAILABLE, `unshare cannot be run: ${(error as Error).message}`);
  } finally {
    stopPassing();
  }
}

function passSignals(child: ChildProcess): () => void {
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, pass);
  return () => {
    for (const signal of SIGNALS) process.off(signal, pass);
  };
}

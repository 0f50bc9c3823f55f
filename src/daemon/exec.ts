import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Covers, writeCovers } from './exec-covers.ts';
import { EXIT, type ExitCode, ExitError } from './exit-code.ts';
import { canonical, isOurs } from './mountpoint.ts';
import { EXEC_DIR_PREFIX } from './serve.ts';
import { UndoStack } from './undo-stack.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/in-namespace.sh', import.meta.url));

/** Passed on to the command; a terminal's reach it anyway. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** As the shell counts: what a process ends with that a signal ended. */
const SIGNAL_BASE = 128;

const isRoot = process.getuid?.() === 0;

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
    const served = mountpoint === undefined ? undefined : servedAt(mountpoint);
    const dir = makeDir();
    undo.push('directory', () => rmSync(dir, { recursive: true, force: true }));
    const tracing = served ?? (await mountOwn(join(dir, 'tracing'), mountArgs, undo));
    return await runInNamespace(writeCovers(join(dir, 'covers'), tracing), command);
  } finally {
    await undo.unwind((step, error) => {
      process.stderr.write(`pkvm-tracefs: ${step}: ${(error as Error).message}\n`);
    });
  }
}

/** Where a daemon serves already. */
function servedAt(mountpoint: string): string {
  const dir = canonical(mountpoint);
  if (isOurs(dir)) return dir;
  throw new ExitError(EXIT.NO_INPUT, `${mountpoint} is not mounted by pkvm-tracefs`);
}

function makeDir(): string {
  try {
    return mkdtempSync(join(tmpdir(), EXEC_DIR_PREFIX));
  } catch (error) {
    throw new ExitError(EXIT.CANNOT_CREATE, `TMPDIR cannot be used: ${(error as Error).message}`);
  }
}

/**
 * Starts a daemon that serves until it is undone. However we end, its standard input ends with us:
 * then it unmounts, and removes the directory that `dir` is in.
 */
async function mountOwn(dir: string, args: readonly string[], undo: UndoStack): Promise<string> {
  mkdirSync(dir);
  const mount = ['mount', dir, '--for-exec', ...args];
  const daemon = spawn(process.execPath, [process.argv[1] ?? '', ...mount], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true, // A Ctrl-C is the command's; the daemon is needed until that has ended.
  });
  const exited = once(daemon, 'exit');
  undo.push('daemon', async () => {
    daemon.stdin.end();
    await exited;
  });
  const ready = once(daemon.stdout, 'data').then(() => undefined);
  const [code] = (await Promise.race([ready, exited])) ?? [];
  if (code !== undefined)
    throw new ExitError((code ?? EXIT.SOFTWARE) as ExitCode, 'the simulator did not start');
  return dir;
}

async function runInNamespace(covers: Covers, command: readonly string[]): Promise<number> {
  const outer = isRoot ? ['-m', '--propagation', 'private'] : ['-Urm'];
  const inner = isRoot ? '-Um' : '-Urm';
  const pairs = covers.binds.flatMap(({ source, target }) => [source, target]);
  const args = [inner, process.execPath, covers.mounts, `${covers.binds.length}`, ...pairs];
  const child = spawn('unshare', [...outer, '--', SCRIPT, ...args, ...command], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
  });
  const stopPassing = passSignals(child);
  try {
    const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    const entered = await Promise.race([letIn(child), exited.then(() => false)]);
    const [code, signal] = await exited;
    if (signal !== null) return SIGNAL_BASE + constants.signals[signal];
    if (!entered) throw new Error('see above');
    return code ?? EXIT.SOFTWARE;
  } catch (error) {
    const { message } = error as Error;
    throw new ExitError(EXIT.UNAVAILABLE, `cannot set up the command's namespaces: ${message}`);
  } finally {
    stopPassing();
  }
}

/** Waits until the child is in its last namespace, and lets its command begin. */
async function letIn(child: ChildProcess): Promise<true> {
  const channel = child.stdio[3] as Duplex;
  await once(channel, 'data');
  channel.on('error', () => {}); // The child has ended, as its exit says.
  if (isRoot) mapIds(child.pid ?? 0);
  channel.end('\n');
  return true;
}

/** Makes each user and group of a process's namespace the one that it is in ours. */
function mapIds(pid: number): void {
  for (const map of ['uid_map', 'gid_map']) {
    const ranges = readFileSync(`/proc/self/${map}`, 'latin1').trim().split('\n');
    const same = ranges
      .map((range) => range.trim().split(/ +/))
      .map(([id, , n]) => `${id} ${id} ${n}`);
    writeFileSync(`/proc/${pid}/${map}`, same.join('\n'));
  }
}

function passSignals(child: ChildProcess): () => void {
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, pass);
  return () => {
    for (const signal of SIGNALS) process.off(signal, pass);
  };
}

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Daemon, type DaemonOptions, startDaemon } from './daemon.ts';
import { EXIT, type ExitCode, ExitError } from './exit-code.ts';
import { print } from './output-file.ts';

/** How the name begins of the directory that an `exec` makes for itself. */
export const EXEC_DIR_PREFIX = 'pkvm-tracefs-exec-';

/** How long an orderly end may take. */
const STOP_MS = 5_000;

/**
 * Mounts and serves until a signal, an unmount, a bug, or until `over` resolves. Resolves to the
 * exit code.
 */
export async function serve(
  options: DaemonOptions,
  log: Logger,
  over = new Promise<string>(() => {}),
): Promise<ExitCode> {
  process.once('uncaughtException', (err) => abandon(options.mountpoint, err, log));
  const signal = firstSignal('SIGINT', 'SIGTERM', 'SIGHUP');
  const daemon = await startDaemon(options, log);
  await sayReady(daemon, options.mountpoint);

  const reason = await Promise.race([signal, over, ended(daemon, log)]);
  log.info({ reason }, 'stopping');
  const stopped = await Promise.race([
    daemon.stop().then(() => true),
    setTimeout(STOP_MS, false, { ref: false }),
  ]);
  if (!stopped) abandon(options.mountpoint, new Error(`not stopped within ${STOP_MS} ms`), log);
  return reason === 'bug' ? EXIT.SOFTWARE : EXIT.OK;
}

/** Prints what scripts wait for. A daemon that nobody can hear of ends. */
async function sayReady(daemon: Daemon, mountpoint: string): Promise<void> {
  try {
    print(`ready ${mountpoint}\n`);
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

/**
 * Serves one `exec`, however that ends: until standard input does. The directory that the
 * mountpoint is in goes with the mount.
 *
 * @throws ExitError when no `exec` has made that directory.
 */
export async function serveExec(options: DaemonOptions, log: Logger): Promise<ExitCode> {
  const dir = dirname(options.mountpoint);
  if (!basename(dir).startsWith(EXEC_DIR_PREFIX))
    throw new ExitError(EXIT.USAGE, '--for-exec is for exec alone');
  const over = once(process.stdin.resume(), 'end').then(() => 'exec has ended');
  try {
    return await serve(options, log, over);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function ended(daemon: Daemon, log: Logger): Promise<'unmounted' | 'bug'> {
  return daemon.ended.then(
    () => 'unmounted',
    (err) => {
      log.fatal({ err }, 'this is a bug');
      return 'bug';
    },
  );
}

/** Nothing can be relied on any more; but no shell may hang in a dead mount. */
function abandon(mountpoint: string, err: unknown, log: Logger): never {
  log.fatal({ err }, 'this is a bug');
  spawnSync('fusermount', ['-u', '-z', '--', mountpoint], { stdio: 'ignore' });
  process.exit(EXIT.SOFTWARE);
}

/**
 * Waits for the first of these signals. The ones after it do nothing: a Ctrl-C reaches every
 * process of a terminal's job, whose shell may well pass on a SIGTERM besides.
 */
function firstSignal(...signals: NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, resolve);
  });
}

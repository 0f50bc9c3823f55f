import { spawnSync } from 'node:child_process';
import type { Logger } from 'pino';
import { type Daemon, type DaemonOptions, startDaemon } from './daemon.ts';
import { EXIT, type ExitCode, ExitError } from './exit-code.ts';

/** Mounts and serves until a signal, an unmount or a bug. Resolves to the exit code. */
export async function serve(options: DaemonOptions, log: Logger): Promise<ExitCode> {
  process.once('uncaughtException', (err) => crash(err, options.mountpoint, log));
  const signal = firstSignal('SIGINT', 'SIGTERM', 'SIGHUP');
  const daemon = await startDaemon(options, log);
  process.stdout.write(`ready ${options.mountpoint}\n`); // What scripts wait for.

  const reason = await Promise.race([signal, ended(daemon, log)]);
  log.info({ reason }, 'stopping');
  await daemon.stop();
  return reason === 'bug' ? EXIT.SOFTWARE : EXIT.OK;
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

/** Nothing can be relied on any more; but a shell must not hang in a dead mount. */
function crash(err: unknown, mountpoint: string, log: Logger): never {
  log.fatal({ err }, 'this is a bug');
  spawnSync('fusermount', ['-u', '-z', '--', mountpoint], { stdio: 'ignore' });
  process.exit(err instanceof ExitError ? err.code : EXIT.SOFTWARE);
}

/** Waits for the first of these signals; a second one has its default effect and ends us at once. */
function firstSignal(...signals: NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const caught = (signal: NodeJS.Signals): void => {
      for (const each of signals) process.off(each, caught);
      resolve(signal);
    };
    for (const each of signals) process.on(each, caught);
  });
}

import { spawn } from 'node:child_process';
import { EXIT } from './exit-code.ts';
import { print } from './output-file.ts';

/**
 * Runs this command once more without --detach, as a daemon in a session of its own, and passes
 * on what it says until it is ready. Resolves to the exit code: its own if it never was.
 */
export function detach(args: readonly string[]): Promise<number> {
  const daemon = spawn(process.execPath, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  daemon.stderr.pipe(process.stderr);
  return new Promise((resolve, reject) => {
    daemon.once('error', reject);
    daemon.once('close', (code) => resolve(code ?? EXIT.SOFTWARE));
    daemon.stdout.once('data', (ready: Buffer) => {
      try {
        print(ready.toString());
      } catch (error) {
        daemon.kill('SIGTERM');
        reject(error);
        return;
      }
      daemon.unref();
      daemon.stdout.destroy();
      daemon.stderr.destroy();
      resolve(EXIT.OK);
    });
  });
}

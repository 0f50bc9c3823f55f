import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A process that serves a mount on a directory of its own. */
export class MountProcess {
  readonly dir: string;
  readonly process: ChildProcess;
  /** From the start of the process to its word that the mount is there. */
  readonly readyMs: number;

  protected constructor(dir: string, process: ChildProcess, readyMs: number) {
    this.dir = dir;
    this.process = process;
    this.readyMs = readyMs;
  }

  /** Runs node with the arguments for a directory. */
  static async run(argsFor: (dir: string) => string[]): Promise<MountProcess> {
    const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-bench-'));
    const start = performance.now();
    const child = spawn(process.execPath, argsFor(dir), { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return new MountProcess(dir, child, performance.now() - start);
  }

  async stop(): Promise<void> {
    const exited = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    await exited;
    rmdirSync(this.dir);
  }
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readSync,
  rmdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { EXIT } from '../../../src/daemon/exit-code.ts';
import type { Fuzzed } from './fuzzed.ts';

const MAIN = resolve('dist/daemon/main.js');
const READ_SIZE = 65_536;
const RUN_MS = 30_000;
/** How long the log of a daemon that met a bug may take to arrive. */
const LAST_WORDS_MS = 1_000;
/** What calls give when the daemon met a bug, or is gone. */
const { EIO, ENOTCONN, ECONNABORTED } = os.errno;
const BUGS: readonly number[] = [EIO, ENOTCONN, ECONNABORTED];
/** What `run` may answer to a file: it ran, it is no scenario, the machine is too small for it. */
const RUN_ENDS: readonly (number | null)[] = [EXIT.OK, EXIT.DATA, EXIT.UNAVAILABLE];

/** A real mount in virtual time, whose files are written to by system calls. */
export class MountedTree implements Fuzzed {
  readonly writable: readonly string[];
  readonly #dir: string;
  readonly #daemon: ChildProcess;
  #stderr = '';

  private constructor(dir: string, daemon: ChildProcess, writable: readonly string[]) {
    this.#dir = dir;
    this.#daemon = daemon;
    daemon.stderr?.on('data', (text) => {
      this.#stderr += text;
    });
    this.writable = writable.filter((path) => statSync(join(dir, path)).mode & 0o200);
  }

  static async start(writable: readonly string[]): Promise<MountedTree> {
    const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-fuzz-'));
    const options = ['--virtual', '--cpus', '2', '--memory', '8', '--scenario', 'boot'];
    const daemon = spawn(process.execPath, [MAIN, 'mount', dir, ...options]);
    await once(daemon.stdout, 'data');
    return new MountedTree(dir, daemon, writable);
  }

  get pid(): number {
    return this.#daemon.pid ?? 0;
  }

  write(path: string, bytes: Buffer): Promise<void> {
    return this.#with(path, constants.O_RDWR | constants.O_TRUNC | constants.O_NONBLOCK, (fd) => {
      for (let done = 0, some = 1; some > 0 && done < bytes.length; done += some)
        some = writeSync(fd, bytes, done);
      readSync(fd, Buffer.alloc(READ_SIZE), 0, READ_SIZE, 0);
    });
  }

  async look(): Promise<void> {
    await this.write('/sim/clock', Buffer.from('advance 200us'));
    for (const path of ['/trace', '/trace_pipe', '/hypervisor/trace_pipe', '/error_log'])
      await this.#with(path, constants.O_RDONLY | constants.O_NONBLOCK, (fd) =>
        readSync(fd, Buffer.alloc(READ_SIZE)),
      );
  }

  async scenario(bytes: Buffer, file: string): Promise<void> {
    writeFileSync(file, bytes);
    await this.write('/sim/scenario', Buffer.from(file));
  }

  async run(bytes: Buffer, file: string): Promise<void> {
    writeFileSync(file, bytes);
    const options = ['--scenario', file, '--for', '1ms', '--memory', '8', '--cpus', '2'];
    const ended = spawnSync(process.execPath, [MAIN, 'run', ...options], { timeout: RUN_MS });
    const said = ended.stderr.toString();
    if (!RUN_ENDS.includes(ended.status) || said.split('\n').length > 2)
      throw new Error(`run ended with ${ended.status ?? ended.signal}: ${said}`);
  }

  /** @throws when the daemon is gone, or has said anything. */
  check(): void {
    if (this.#daemon.exitCode !== null || this.#stderr !== '')
      throw new Error(`the daemon said: ${this.#stderr}`);
  }

  async stop(): Promise<void> {
    if (this.#daemon.exitCode === null) {
      const ended = once(this.#daemon, 'exit');
      this.#daemon.kill('SIGTERM');
      await ended;
    }
    rmdirSync(this.#dir);
  }

  /** An errno is an answer, unless it is that of a bug. */
  async #with(path: string, flags: number, use: (fd: number) => void): Promise<void> {
    const errno = errnoOf(() => {
      const fd = openSync(join(this.#dir, path), flags);
      try {
        use(fd);
      } finally {
        closeSync(fd);
      }
    });
    // What the daemon says and how it ends comes as an event.
    await (BUGS.includes(errno) ? setTimeout(LAST_WORDS_MS) : setImmediate());
    this.check();
    if (BUGS.includes(errno)) throw new Error(`${path}: errno ${errno}`);
  }
}

function errnoOf(call: () => void): number {
  try {
    call();
    return 0;
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    return -errno;
  }
}

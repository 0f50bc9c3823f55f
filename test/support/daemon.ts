import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { test as base, expect } from 'vitest';

export const MAIN = resolve('dist/daemon/main.js');

const LIMIT_MS = 10_000;

export const isMounted = (dir: string): boolean =>
  readFileSync('/proc/self/mounts', 'utf8').includes(` ${dir} fuse.pkvm-tracefs `);

/** Waits for a condition that another process brings about. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  limitMs = LIMIT_MS,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`in vain: ${condition}`);
    await new Promise((again) => setTimeout(again, 5));
  }
}

/** A child process, with all that it says. */
export class Child {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #exit: Promise<[number | null, NodeJS.Signals | null]>;

  constructor(
    command: string,
    args: readonly string[],
    options: { cwd?: string; detached?: boolean } = {},
  ) {
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#exit = once(this.process, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  get ended(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** The exit code, or the signal's name. */
  async exit(): Promise<number | string> {
    const [code, signal] = await this.#exit;
    return code ?? signal ?? 'unknown';
  }

  async kill(signal: NodeJS.Signals): Promise<number | string> {
    this.process.kill(signal);
    return this.exit();
  }

  /** Whether the process sleeps in a system call, so that a reader can be told to be blocked. */
  isAsleep(): boolean {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('S');
  }

  /** The kernel function that it sleeps in. */
  get waitsFor(): string {
    return readFileSync(`/proc/${this.pid}/wchan`, 'latin1');
  }

  /** Whether it, or a child of its own, has a file of that name open. */
  holds(name: string): boolean {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1');
    return [this.pid, ...children.trim().split(' ').filter(Boolean)].some((pid) =>
      openFiles(pid).some((file) => file.endsWith(name)),
    );
  }

  get lines(): string[] {
    return this.stdout.split('\n').slice(0, -1);
  }
}

/** The paths that a process has open; what ends or closes meanwhile has none. */
function openFiles(pid: number | string): string[] {
  try {
    const dir = `/proc/${pid}/fd`;
    return readdirSync(dir).map((fd) => readlinkSync(join(dir, fd)));
  } catch {
    return [];
  }
}

/** The daemon on a directory of its own. */
export class Daemon {
  readonly dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-test-'));
  readonly hypervisor = join(this.dir, 'hypervisor');
  #child: Child | undefined;

  get child(): Child {
    if (!this.#child) throw new Error('not started');
    return this.#child;
  }

  async start(...options: string[]): Promise<void> {
    this.#child = this.run('mount', this.dir, ...options);
    await until(() => this.child.stdout !== '' || this.child.ended);
    if (this.child.stdout !== `ready ${this.dir}\n`) throw new Error(this.child.stderr);
  }

  /** Any command of the daemon's program. */
  run(...args: string[]): Child {
    return new Child(process.execPath, [MAIN, ...args]);
  }

  /** Runs a shell in hypervisor/. Its own process: a blocked one must not block us. */
  sh(script: string): Promise<{ stdout: string; stderr: string }> {
    return promisify(execFile)('bash', ['-c', `set -eo pipefail; ${script}`], {
      cwd: this.hypervisor,
      timeout: LIMIT_MS,
      maxBuffer: 2 ** 26,
    });
  }

  /** A command in hypervisor/ that goes on while we look at it. */
  spawn(command: string, ...args: string[]): Child {
    return new Child(command, args, { cwd: this.hypervisor });
  }

  /** Waits until the reader waits for us to answer its read. */
  async blocked(reader: Child): Promise<void> {
    await until(() => reader.isAsleep() && reader.waitsFor === 'request_wait_answer');
  }

  /** Waits until the reader has opened its pipe and waits for events, in whatever call. */
  async asleep(reader: Child): Promise<void> {
    await until(() => reader.holds('trace_pipe') && reader.isAsleep());
  }

  async stop(): Promise<void> {
    if (this.#child && !this.#child.ended) await this.#child.kill('SIGTERM');
    expect(isMounted(this.dir)).toBe(false);
    rmdirSync(this.dir);
  }
}

/** A test with a daemon, not started yet; its mount is gone when the test ends, pass or fail. */
export const test = base.extend<{ daemon: Daemon }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads the parameter list
  daemon: async ({}, use) => {
    const daemon = new Daemon();
    await use(daemon);
    await daemon.stop();
  },
});

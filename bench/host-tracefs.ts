import { execFile, execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ENABLE = 'events/raw_syscalls/sys_enter/enable';

/** An instance of our own in the tracefs of this machine's kernel; its events are sys_enter's. */
export class HostTracefs {
  readonly #mount: string;
  readonly instance: string;

  private constructor(mount: string) {
    this.#mount = mount;
    this.instance = join(mount, 'instances', `pkvm-tracefs-bench-${process.pid}`);
    mkdirSync(this.instance);
  }

  /** Undefined on a machine, or for a user, that has none. */
  static open(): HostTracefs | undefined {
    const mount = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-bench-host-'));
    try {
      execFileSync('mount', ['-t', 'tracefs', 'nodev', mount], { stdio: 'ignore' });
    } catch {
      rmdirSync(mount);
      return undefined;
    }
    return new HostTracefs(mount);
  }

  close(): void {
    rmdirSync(this.instance);
    execFileSync('umount', [this.#mount]);
    rmdirSync(this.#mount);
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.instance, file), text);
  }

  get cpus(): number {
    return readdirSync(join(this.instance, 'per_cpu')).length;
  }

  /** Does `work` while system calls are traced. */
  async traced<T>(work: () => Promise<T>): Promise<T> {
    this.write(ENABLE, '1');
    this.write('tracing_on', '1');
    try {
      return await work();
    } finally {
      this.write('tracing_on', '0');
      this.write(ENABLE, '0');
    }
  }

  /** Drops all events, and makes room for so many KiB a CPU. */
  empty(bufferKb: number): void {
    this.write('tracing_on', '0');
    this.write('buffer_size_kb', `${bufferKb}`);
    this.write('trace', '');
  }

  /** Of all CPUs: the events that wait to be read. */
  get entries(): number {
    return statsOf(this.instance, this.cpus, 'entries');
  }
}

/** So many system calls, by dd on a CPU: two for each block. */
export const systemCalls = (count: number, cpu = 0): Promise<unknown> =>
  promisify(execFile)('taskset', [
    ...['-c', `${cpu}`, 'dd', 'if=/dev/zero', 'of=/dev/null', 'bs=1', `count=${count / 2}`],
  ]);

/** Of all CPUs: a line of their stats. */
export function statsOf(
  instance: string,
  cpus: number,
  name: 'entries' | 'overrun' | 'read events',
): number {
  let sum = 0;
  for (let cpu = 0; cpu < cpus; cpu++) {
    const stats = readAll(join(instance, `per_cpu/cpu${cpu}/stats`));
    sum += Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(stats)?.[1]);
  }
  return sum;
}

/** readFileSync() believes the size of a moment before, and a number may have one more digit now. */
function readAll(file: string): string {
  const fd = openSync(file, 'r');
  const text = Buffer.alloc(4_096);
  const size = readSync(fd, text);
  closeSync(fd);
  return text.toString('latin1', 0, size);
}

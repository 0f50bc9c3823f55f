import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** An event of the host's kernel for each request that FUSE sends to a daemon. */
const EVENT = 'events/fuse/fuse_request_send';

/** Counts the requests that a mount's kernel sends to its daemon, in an instance of the host's tracefs. */
export class FuseRequests {
  readonly #mount: string;
  readonly #instance: string;

  private constructor(mount: string) {
    this.#mount = mount;
    this.#instance = join(mount, 'instances', `pkvm-tracefs-requests-${process.pid}`);
    mkdirSync(this.#instance);
  }

  /** Undefined for a host, or a user, without these events. */
  static open(): FuseRequests | undefined {
    const mount = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-host-'));
    try {
      execFileSync('mount', ['-t', 'tracefs', 'nodev', mount], { stdio: 'ignore' });
    } catch {
      rmdirSync(mount);
      return undefined;
    }
    try {
      statSync(join(mount, EVENT));
      return new FuseRequests(mount);
    } catch {
      unmount(mount);
      return undefined;
    }
  }

  close(): void {
    rmdirSync(this.#instance);
    unmount(this.#mount);
  }

  /** The operations that `work` causes in the mount at `dir`, in their order. */
  async of(dir: string, work: () => Promise<unknown>): Promise<string[]> {
    this.#write('trace', '');
    this.#write(`${EVENT}/filter`, `connection == ${minorOf(dir)}`);
    this.#write(`${EVENT}/enable`, '1');
    try {
      await work();
    } finally {
      this.#write(`${EVENT}/enable`, '0');
    }
    const trace = readFileSync(join(this.#instance, 'trace'), 'latin1');
    return [...trace.matchAll(/opcode \d+ \(FUSE_(\w+)\)/g)].map(([, name = '']) => name);
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.#instance, file), text);
  }
}

function unmount(mount: string): void {
  execFileSync('umount', [mount]);
  rmdirSync(mount);
}

/** FUSE names a connection by the minor number of its device. */
function minorOf(dir: string): number {
  const { dev } = statSync(dir);
  return (dev & 0xff) | ((dev >> 12) & 0xfff00);
}

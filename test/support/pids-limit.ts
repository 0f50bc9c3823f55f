import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The cgroup hierarchy that limits numbers of threads: of version 1, or the one of version 2. */
const HIERARCHY = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].find((dir) =>
  existsSync(join(dir, 'cgroup.procs')),
);

/** A cgroup of our own that lets a process have no more than so many threads. */
export class PidsLimit {
  readonly #dir: string;
  readonly #pid: number;

  constructor(pid: number, threads: number) {
    this.#dir = join(HIERARCHY ?? '', `pkvm-tracefs-test-${pid}`);
    this.#pid = pid;
    mkdirSync(this.#dir);
    writeFileSync(join(this.#dir, 'pids.max'), `${threads}`);
    writeFileSync(join(this.#dir, 'cgroup.procs'), `${pid}`);
  }

  /** Whether this machine and this user can have one. */
  static isThere(): boolean {
    if (HIERARCHY === undefined) return false;
    const dir = join(HIERARCHY, `pkvm-tracefs-probe-${process.pid}`);
    try {
      mkdirSync(dir);
      const isThere = existsSync(join(dir, 'pids.max'));
      rmdirSync(dir);
      return isThere;
    } catch {
      return false;
    }
  }

  remove(): void {
    if (existsSync(`/proc/${this.#pid}`))
      writeFileSync(join(dirname(this.#dir), 'cgroup.procs'), `${this.#pid}`);
    rmdirSync(this.#dir);
  }
}

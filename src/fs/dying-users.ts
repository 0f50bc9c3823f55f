import { Deferred } from '../deferred.ts';
import type { HostTask } from '../host-task.ts';
import type { Io } from './nodes.ts';

/** How long a busy machine may take to end a task that a signal has killed. */
const DYING_MS = 2_000;

/**
 * With more open files than this, nobody looks whether their users are dying: a look at a task
 * takes some 10 µs.
 */
const MOST_LOOKED_AT = 16;

interface OpenFile {
  /** The task that opened it, or read it last. Undefined when it did not end within the limit. */
  user: HostTask | undefined;
  readonly closed: Deferred;
}

/**
 * Open files whose close has an effect, such as a pipe that keeps its buffer loaded, and whether
 * one is about to be closed. In `kill $reader; cat buffer_size_kb` the reader may not even have
 * noticed its signal when the cat asks. The cat has to find it gone all the same.
 *
 * A task that has died needs no wait: its close has reached us before the news of its death can
 * have reached anybody.
 */
export class DyingUsers {
  readonly #files = new Map<number, OpenFile>();

  opened(fd: number, user: HostTask): void {
    this.#files.set(fd, { user, closed: new Deferred() });
  }

  used(fd: number, user: HostTask): void {
    const file = this.#files.get(fd);
    if (file) file.user = user;
  }

  closed(fd: number): void {
    this.#files.get(fd)?.closed.resolve();
    this.#files.delete(fd);
  }

  /**
   * Resolves when the files of dying users are closed, or when who waits for that is interrupted: it
   * may have to die first. Undefined when there are none.
   */
  gone(onInterrupt: Io['onInterrupt']): Promise<unknown> | undefined {
    if (this.#files.size > MOST_LOOKED_AT) return undefined;
    const dying = [...this.#files.values()].filter(({ user }) => user?.dying());
    if (dying.length === 0) return undefined;
    const interrupted = new Promise<void>(onInterrupt);
    return Promise.race([interrupted, Promise.all(dying.map(closedWithinLimit))]);
  }
}

async function closedWithinLimit(file: OpenFile): Promise<void> {
  const timer = setTimeout(() => {
    file.user = undefined; // Another process has it open too.
    file.closed.resolve();
  }, DYING_MS);
  await file.closed.promise;
  clearTimeout(timer);
}

import { ErrnoError } from '../errno.ts';
import type { Io } from './nodes.ts';

/** The kernel's mutex, for what awaits in its critical section. First come, first served. */
export class AsyncMutex {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `critical` when everybody before is through; resolves or rejects as it does. */
  run<T>(critical: () => T | Promise<T>): Promise<T> {
    const turn = this.#tail.then(critical);
    this.#tail = turn.catch(() => {}); // Its caller hears of the failure; the next one goes on.
    return turn;
  }

  /**
   * mutex_lock_interruptible(): a caller that is signalled while it waits no longer wants its turn.
   * One that is signalled in its turn does not wait for the end of it: `critical` goes on, unless it
   * listens for the signal itself.
   *
   * @throws ErrnoError EINTR, at once. Before its turn: then `critical` never runs.
   */
  runInterruptible<T>(io: Pick<Io, 'onInterrupt'>, critical: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let interrupted = false;
      io.onInterrupt(() => {
        interrupted = true;
        reject(new ErrnoError('EINTR', 'a signal came'));
      });
      this.run(async () => {
        if (!interrupted) resolve(await critical());
      }).catch((error) => {
        if (interrupted && !(error instanceof ErrnoError)) throw error; // A bug, of which nobody else hears.
        reject(error);
      });
    });
  }
}

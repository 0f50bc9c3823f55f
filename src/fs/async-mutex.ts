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
   *
   * @throws ErrnoError EINTR, at once; then `critical` never runs.
   */
  runInterruptible<T>(io: Pick<Io, 'onInterrupt'>, critical: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let entered = false;
      let interrupted = false;
      io.onInterrupt(() => {
        interrupted = !entered;
        if (interrupted) reject(new ErrnoError('EINTR', 'a signal came before its turn'));
      });
      this.run(async () => {
        if (interrupted) return;
        entered = true;
        resolve(await critical());
      }).catch(reject);
    });
  }
}

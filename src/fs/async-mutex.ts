/** The kernel's mutex, for what awaits in its critical section. First come, first served. */
export class AsyncMutex {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `critical` when everybody before is through; resolves or rejects as it does. */
  run<T>(critical: () => T | Promise<T>): Promise<T> {
    const turn = this.#tail.then(critical);
    this.#tail = turn.catch(() => {}); // Its caller hears of the failure; the next one goes on.
    return turn;
  }
}

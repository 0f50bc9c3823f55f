import { succeeds } from '../errno.ts';
import type { LookedAhead, RemoteReader } from '../ringbuffer/remote-reader.ts';

/** The largest read that the kernel sends in one request. */
export const LARGEST_READ = 131_072;
/** Of a smaller one nearly all the time is FUSE's. */
const LEAST_READ = 65_536;

/**
 * Makes the next answer to who reads all that there is, while the last one is on its way: FUSE takes as
 * long to pass one on as it takes to make one. Nothing is taken before it is asked for: a reader that
 * ends has lost nothing, and one that comes in between makes this answer void.
 */
export class ReadAhead {
  #soon: NodeJS.Immediate | undefined;
  #size = 0;
  #seen: readonly { reader: RemoteReader; ahead: LookedAhead }[] | undefined;

  /** When a read of `size` got so much, lets `look` read on for another, from these readers only. */
  begin(size: number, readers: readonly RemoteReader[], look: () => void): void {
    if (size < LEAST_READ) return;
    this.#size = size;
    this.#soon = setImmediate(() => {
      for (const reader of readers) reader.startLookAhead();
      const isWhole = succeeds(look); // An error is for the read that comes upon it.
      const seen = readers.map((reader) => ({ reader, ahead: reader.endLookAhead() }));
      if (isWhole) this.#seen = seen;
    });
  }

  /** Takes what was looked at, for a read of `size`. False when it is not what comes next for that. */
  take(size: number): boolean {
    const seen = this.#seen;
    this.end();
    if (size < this.#size || !seen?.every(({ reader, ahead }) => reader.canSkipTo(ahead)))
      return false;
    for (const { reader, ahead } of seen) reader.skipTo(ahead);
    return true;
  }

  /** Forgets what was looked at, or would have been. */
  end(): void {
    clearImmediate(this.#soon);
    this.#seen = undefined;
  }
}

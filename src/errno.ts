import { constants } from 'node:os';

/** The name of an error number, as errno(3) spells it. */
export type Errno = keyof typeof constants.errno;

/**
 * What a system call or a hypercall reports to its caller. Every error that a shell can see is
 * one of these; any other exception is a bug of ours and ends the daemon.
 */
export class ErrnoError extends Error {
  override readonly name = 'ErrnoError';
  readonly code: Errno;

  constructor(code: Errno, detail: string) {
    super(`${code}: ${detail}`);
    this.code = code;
  }

  /** The number as the kernel returns it: an errno below zero. */
  get result(): number {
    return -constants.errno[this.code];
  }

  /** The error behind a negative result, the other direction of `result`. */
  static fromResult(result: number, detail: string): ErrnoError {
    return new ErrnoError(NAMES.get(-result) ?? 'EIO', detail);
  }
}

/** EWOULDBLOCK and EOPNOTSUPP are second names of a number; the first one listed wins. */
const NAMES = new Map<number, Errno>(
  (Object.entries(constants.errno) as [Errno, number][]).map(([name, number]) => [number, name]),
);

/** Whether `action` ends without an ErrnoError, of which nobody hears. */
export function succeeds(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof ErrnoError) return false;
    throw error;
  }
}

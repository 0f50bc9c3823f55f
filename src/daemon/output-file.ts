import {
  closeSync,
  fstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { EXIT, ExitError } from './exit-code.ts';

export const STDOUT = 1;

/** Nobody reads any more what is written: as with SIGPIPE, that is the end of it. */
export class BrokenPipe extends Error {}

/** @throws BrokenPipe, or an ExitError when `name` cannot take it. */
export function writeAll(fd: number, bytes: Uint8Array, name: string): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') throw new BrokenPipe();
      if (code !== 'EAGAIN') throw cannotWrite(name, error);
    }
  }
}

const cannotWrite = (name: string, error: unknown): ExitError =>
  new ExitError(EXIT.CANNOT_CREATE, `cannot write to ${name}: ${(error as Error).message}`);

export const print = (text: string): void => writeAll(STDOUT, Buffer.from(text), 'stdout');

export interface OutputOptions {
  /** Whether what is in an open file of `size` bytes was written by us, so that we may replace it. */
  readonly isOurs: (fd: number, size: number) => boolean;
  /** Replace whatever there is. */
  readonly force: boolean;
}

const PERMISSIONS = 0o777;
const NEW_MODE = 0o666;

/**
 * A file that is complete when it is there: it has another name until all is written. A device
 * or a pipe is written to as it is.
 */
export class OutputFile {
  readonly #path: string;
  readonly #target: string | undefined;
  readonly #temporary: string;
  readonly #fd: number;

  /** @throws an error of the file system, or an ExitError where `path` has something of value. */
  constructor(path: string, options: OutputOptions) {
    const existing = statSync(path, { throwIfNoEntry: false });
    this.#path = path;
    if (existing && !existing.isFile()) {
      this.#temporary = path;
      this.#fd = openSync(path, 'w');
      return;
    }
    if (existing) checkReplaceable(path, options);
    this.#target = existing ? realpathSync(path) : path;
    this.#temporary = `${this.#target}.${process.pid}.tmp`;
    this.#fd = openSync(this.#temporary, 'wx', existing ? existing.mode & PERMISSIONS : NEW_MODE);
  }

  write(bytes: Uint8Array): void {
    writeAll(this.#fd, bytes, this.#path);
  }

  /** All is written. */
  close(): void {
    try {
      closeSync(this.#fd);
      if (this.#target !== undefined) renameSync(this.#temporary, this.#target);
    } catch (error) {
      throw cannotWrite(this.#path, error);
    }
  }

  /** Leaves what was there before. */
  discard(): void {
    if (this.#target !== undefined) rmSync(this.#temporary, { force: true });
  }
}

/** An empty file has nothing to lose: mktemp(1) makes one. */
function checkReplaceable(path: string, { isOurs, force }: OutputOptions): void {
  const fd = openSync(path, 'r+'); // Whoever may not write to it may not replace it.
  try {
    const { size } = fstatSync(fd);
    if (force || size === 0 || isOurs(fd, size)) return;
  } finally {
    closeSync(fd);
  }
  throw new ExitError(
    EXIT.CANNOT_CREATE,
    `${path} exists and is not a trace of ours: --force replaces it`,
  );
}

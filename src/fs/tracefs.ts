import { constants as open } from 'node:fs';
import { Deferred } from '../deferred.ts';
import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import type { Dir, Io, Node, OpenFile } from './nodes.ts';

interface Handle {
  readonly file: OpenFile;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Who opened it, or read it last. */
  user: HostTask | undefined;
}

const EPOCH = new Date(0);

/** What stat(2) shows of a path. */
export interface Attributes {
  readonly isDir: boolean;
  /** The permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly atime: Date;
  readonly mtime: Date;
}

/** What chmod(2), chown(2) and utimes(2) may change. */
export type Changes = Partial<Pick<Attributes, 'mode' | 'uid' | 'gid' | 'atime' | 'mtime'>>;

export interface TracefsOptions {
  /** Who owns all files at first. */
  readonly uid: number;
  readonly gid: number;
  /** Show every file with a size of 0, as tracefs does, whatever it contains. */
  readonly sizeZero?: boolean;
}

/** The bits of poll(2). */
const POLLIN = 0x001 | 0x040; // and POLLRDNORM
const POLLOUT = 0x004 | 0x100; // and POLLWRNORM

/** How long a file that is probably being closed holds up the next open. */
const CLOSING_MS = 50;
/** And one whose user is dying: as long as a busy machine may take for it. */
const DYING_MS = 2_000;

/**
 * The file operations over a tree of nodes: paths, open files and errnos, as a shell's system
 * calls arrive. Knows nothing of FUSE, so a test needs no mount.
 */
export class Tracefs {
  readonly #root: Dir;
  readonly #options: TracefsOptions;
  readonly #changes = new Map<Node, Changes>();
  readonly #handles = new Map<number, Handle>();
  readonly #closing = new Map<number, Deferred>();
  #nextFd = 1;
  #reading = 0;

  constructor(root: Dir, options: TracefsOptions) {
    this.#root = root;
    this.#options = options;
  }

  /** @throws ErrnoError ENOENT, ENOTDIR */
  lookup(path: string): Node {
    let node: Node = this.#root;
    for (const name of path.split('/').filter(Boolean)) {
      if (node.kind !== 'dir') throw new ErrnoError('ENOTDIR', path);
      const child: Node | undefined = Object.hasOwn(node.children, name)
        ? node.children[name]
        : undefined;
      if (!child) throw new ErrnoError('ENOENT', path);
      node = child;
    }
    return node;
  }

  /** The names in a directory. @throws ErrnoError ENOENT, ENOTDIR */
  readdir(path: string): string[] {
    const node = this.lookup(path);
    if (node.kind !== 'dir') throw new ErrnoError('ENOTDIR', path);
    return Object.keys(node.children);
  }

  /** stat(2). @throws ErrnoError ENOENT, ENOTDIR */
  async stat(path: string): Promise<Attributes> {
    const node = this.lookup(path);
    const { uid, gid, sizeZero } = this.#options;
    const size = node.kind === 'dir' || sizeZero ? 0 : await node.size();
    const { mode } = node;
    const isDir = node.kind === 'dir';
    return { isDir, mode, uid, gid, size, atime: EPOCH, mtime: EPOCH, ...this.#changes.get(node) };
  }

  /** chmod(2), chown(2), utimes(2): kept for as long as we live. */
  change(path: string, changes: Changes): void {
    const node = this.lookup(path);
    this.#changes.set(node, { ...this.#changes.get(node), ...changes });
  }

  get openFiles(): number {
    return this.#handles.size;
  }

  /** open(2) with O_* `flags`. Returns a file descriptor of this tree. */
  async open(path: string, flags: number, task: HostTask): Promise<number> {
    await this.#settle();
    const node = this.lookup(path);
    if (node.kind === 'dir') throw new ErrnoError('EISDIR', path);
    if ((flags & open.O_DIRECT) !== 0) throw new ErrnoError('EINVAL', 'no O_DIRECT');
    const access = flags & (open.O_WRONLY | open.O_RDWR);
    const readable = access !== open.O_WRONLY;
    const writable = access !== open.O_RDONLY;
    const truncates = (flags & open.O_TRUNC) !== 0;
    const file = await node.open({ task, reads: readable, writes: writable, truncates });
    const fd = this.#nextFd++;
    this.#handles.set(fd, { file, readable, writable, user: task });
    return fd;
  }

  /** read(2) into `to`, or pread(2): the caller keeps the position. Returns how much it was. */
  async read(fd: number, to: Uint8Array, offset: number, io: Io): Promise<number> {
    const handle = this.#handle(fd);
    const { file, readable } = handle;
    if (!readable) throw new ErrnoError('EBADF', 'opened for writing only');
    if (!file.read) throw new ErrnoError('EINVAL', 'not a file to read');
    this.#staysOpen(fd);
    handle.user = io.task;
    this.#reading++;
    try {
      return await file.read(to, offset, io);
    } catch (error) {
      // Nearly always the signal ends the reader, and its descriptors are closed next.
      if (error instanceof ErrnoError && error.code === 'EINTR')
        this.#mayClose(fd, io.task.dying() ? DYING_MS : CLOSING_MS);
      throw error;
    } finally {
      this.#reading--;
    }
  }

  /** write(2). Returns how much was written. */
  async write(fd: number, data: Uint8Array, io: Io): Promise<number> {
    const { file, writable } = this.#handle(fd);
    if (!writable) throw new ErrnoError('EBADF', 'opened for reading only');
    this.#staysOpen(fd);
    if (file.writeSome) return file.writeSome(data, io);
    if (!file.write) throw new ErrnoError('EINVAL', 'not a file to write');
    await file.write(data, io);
    return data.length;
  }

  /** poll(2), as bits. `onNews` is called whenever there is something new to read. */
  poll(fd: number, onNews?: () => void): number {
    const { file } = this.#handle(fd);
    if (!file.poll) return POLLIN | POLLOUT;
    return file.poll(onNews) ? POLLIN : 0;
  }

  /** One of the descriptors of this open file was closed, perhaps the last. */
  flush(fd: number): void {
    const { file } = this.#handle(fd);
    file.flush?.();
    if (file.release) this.#mayClose(fd);
  }

  /** The last one was closed. */
  async release(fd: number): Promise<void> {
    const { file } = this.#handle(fd);
    this.#handles.delete(fd);
    await file.release?.();
    this.#staysOpen(fd);
  }

  /**
   * Waits for what came before to have its effect, so that in `kill $reader; cat buffer_size_kb`
   * the cat finds the reader gone. On a busy machine the reader may not even have noticed the
   * signal yet; and the kernel tells us of a close only some time after it.
   */
  async #settle(): Promise<void> {
    if (this.#reading > 0) await new Promise((resolve) => setImmediate(resolve));
    for (const [fd, { file, user }] of this.#handles)
      if (file.release && user?.dying()) this.#mayClose(fd, DYING_MS);
    await Promise.all([...this.#closing.values()].map(({ promise }) => promise));
  }

  #mayClose(fd: number, limitMs = CLOSING_MS): void {
    if (this.#closing.has(fd)) return;
    const closing = new Deferred();
    this.#closing.set(fd, closing);
    const timer = setTimeout(() => {
      const handle = this.#handles.get(fd); // Gone while its release waits for a start.
      if (handle) handle.user = undefined; // Still there: somebody else has it open too.
      this.#staysOpen(fd);
    }, limitMs);
    void closing.promise.then(() => clearTimeout(timer));
  }

  /** Or was closed by now: nobody needs to wait for that any more. */
  #staysOpen(fd: number): void {
    this.#closing.get(fd)?.resolve();
    this.#closing.delete(fd);
  }

  #handle(fd: number): Handle {
    const handle = this.#handles.get(fd);
    if (!handle) throw new ErrnoError('EBADF', `no open file ${fd}`);
    return handle;
  }
}

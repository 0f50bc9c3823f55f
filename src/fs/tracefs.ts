import { constants as open } from 'node:fs';
import { ErrnoError } from '../errno.ts';
import { DyingUsers } from './dying-users.ts';
import { type Changes, type Inode, Inodes } from './inodes.ts';
import type { Awaitable, Dir, Io, OpenFile, Read } from './nodes.ts';

interface Handle {
  readonly file: OpenFile;
  readonly readable: boolean;
  readonly writable: boolean;
}

/** What stat(2) shows of a node. Times are in ms since 1970. */
export interface Attributes extends Required<Changes> {
  readonly isDir: boolean;
  readonly size: number;
}

export interface TracefsOptions {
  /** The first owner of all files. */
  readonly uid: number;
  readonly gid: number;
  /** Show every file with a size of 0, as tracefs does, whatever it contains. */
  readonly sizeZero?: boolean;
}

/** The bits of poll(2). */
const POLLIN = 0x001 | 0x040; // and POLLRDNORM
const POLLOUT = 0x004 | 0x100; // and POLLWRNORM

/**
 * The file operations over a tree of nodes: open files and errnos, as a shell's system calls
 * arrive. Knows nothing of FUSE, so a test needs no mount.
 */
export class Tracefs {
  readonly inodes: Inodes;
  readonly #options: TracefsOptions;
  readonly #handles = new Map<number, Handle>();
  readonly #users = new DyingUsers();
  #nextFd = 1;

  constructor(root: Dir, options: TracefsOptions) {
    this.inodes = new Inodes(root);
    this.#options = options;
  }

  /** stat(2). @throws ErrnoError ENOENT */
  stat(inode: Inode): Awaitable<Attributes> {
    const { node } = inode;
    const size = node.kind === 'dir' || this.#options.sizeZero ? 0 : node.size();
    if (typeof size === 'number') return this.#attributes(inode, size);
    return size.then((known) => this.#attributes(inode, known));
  }

  #attributes({ node, changes }: Inode, size: number): Attributes {
    const { uid, gid } = this.#options;
    const isDir = node.kind === 'dir';
    return { isDir, mode: node.mode, uid, gid, size, atimeMs: 0, mtimeMs: 0, ...changes };
  }

  /** Whether a later stat(2) may show another size, though nobody has changed the file by it. */
  sizeVaries({ node }: Inode): boolean {
    return node.kind === 'file' && !node.hasFixedSize && !this.#options.sizeZero;
  }

  /** chmod(2), chown(2), utimes(2): kept for as long as we live. */
  change(inode: Inode, changes: Changes): void {
    inode.changes = { ...inode.changes, ...changes };
  }

  get openFiles(): number {
    return this.#handles.size;
  }

  /** open(2) with O_* `flags`. Returns a file descriptor of this tree. */
  async open(
    { node, name }: Inode,
    flags: number,
    { task, onInterrupt }: Pick<Io, 'task' | 'onInterrupt'>,
  ): Promise<number> {
    await this.#users.gone(onInterrupt);
    if (node.kind === 'dir') throw new ErrnoError('EISDIR', name);
    if ((flags & open.O_DIRECT) !== 0) throw new ErrnoError('EINVAL', 'no O_DIRECT');
    const access = flags & (open.O_WRONLY | open.O_RDWR);
    const readable = access !== open.O_WRONLY;
    const writable = access !== open.O_RDONLY;
    const truncates = (flags & open.O_TRUNC) !== 0;
    const file = await node.open({ task, reads: readable, writes: writable, truncates });
    const fd = this.#nextFd++;
    this.#handles.set(fd, { file, readable, writable });
    if (file.release) this.#users.opened(fd, task);
    return fd;
  }

  /** Whether it matters when one of several descriptors of an open file is closed. */
  heedsFlush(fd: number): boolean {
    return this.#handle(fd).file.flush !== undefined;
  }

  /** read(2), or pread(2). */
  read(fd: number, read: Read): Awaitable<void> {
    const { file, readable } = this.#handle(fd);
    if (!readable) throw new ErrnoError('EBADF', 'opened for writing only');
    if (!file.read) throw new ErrnoError('EINVAL', 'not a file to read');
    this.#users.used(fd, read.task);
    return file.read(read);
  }

  /** write(2). Returns how much was written. */
  async write(fd: number, data: Uint8Array, io: Io): Promise<number> {
    const { file, writable } = this.#handle(fd);
    if (!writable) throw new ErrnoError('EBADF', 'opened for reading only');
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
    this.#handle(fd).file.flush?.();
  }

  /** The last one was closed. */
  async release(fd: number): Promise<void> {
    const { file } = this.#handle(fd);
    this.#handles.delete(fd);
    await file.release?.();
    this.#users.closed(fd);
  }

  #handle(fd: number): Handle {
    const handle = this.#handles.get(fd);
    if (!handle) throw new ErrnoError('EBADF', `no open file ${fd}`);
    return handle;
  }
}

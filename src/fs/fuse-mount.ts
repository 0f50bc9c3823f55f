import { constants as open } from 'node:fs';
import { constants } from 'node:os';
import { promisify } from 'node:util';
import Fuse, { type Operations, type Request, type Stat } from 'fuse-native';
import { type Errno, ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import { caller } from './caller.ts';
import type { Io, Node } from './nodes.ts';
import type { Tracefs } from './tracefs.ts';

/** How /proc/mounts shows the mount: tools look for "tracefs" in a line, we for our own type. */
export const FS_SUBTYPE = 'pkvm-tracefs';

export interface MountOptions {
  readonly mountpoint: string;
  /** Whether other users may come in, as far as the modes let them. */
  readonly allowOther: boolean;
  /** Who owns all files. */
  readonly uid: number;
  readonly gid: number;
  /** Called when the file system was unmounted, by us or by anybody. */
  readonly onUnmounted: () => void;
  /** Called with anything that is not an ErrnoError: a bug. The caller gets EIO. */
  readonly onBug: (error: unknown) => void;
}

/** The largest read or write that the kernel sends in one request. */
const MAX_IO = 131_072;

/** fuse-native has options of its own for few of libfuse's. */
class TracefsFuse extends Fuse {
  readonly #options: readonly string[];

  constructor(mountpoint: string, operations: Operations, options: readonly string[]) {
    super(mountpoint, operations, { timeout: false }); // A trace_pipe may be silent for days.
    this.#options = options;
  }

  override _fuseOptions(): string {
    return `-o${this.#options.join(',')}`;
  }
}

/** Mounts `tracefs`; the function it resolves to unmounts it, even while it is busy. */
export async function mount(tracefs: Tracefs, options: MountOptions): Promise<() => Promise<void>> {
  const { mountpoint, allowOther } = options;
  const fuse = new TracefsFuse(mountpoint, operations(tracefs, options), [
    'fsname=tracefs',
    `subtype=${FS_SUBTYPE}`,
    'default_permissions',
    'direct_io', // Or a read would be cut to the size that stat(2) shows, which is 0.
    'attr_timeout=0',
    'entry_timeout=0',
    'atomic_o_trunc',
    'big_writes',
    `max_read=${MAX_IO}`,
    ...(allowOther ? ['allow_other'] : []),
  ]);
  await promisify(fuse.mount.bind(fuse))();
  return promisify(fuse.unmount.bind(fuse)) as () => Promise<void>;
}

function operations(tracefs: Tracefs, options: MountOptions): Operations {
  const answer = answerWith(options.onBug);
  const succeed = (...args: unknown[]): void => (args.at(-1) as (result: number) => void)(0);
  return {
    init: (done) => done(0),
    destroy: options.onUnmounted,
    readdir: (path, done) => answer(done, () => [0, tracefs.readdir(path)]),
    getattr: (path, done) => answer(done, () => [0, stat(tracefs.lookup(path), options)]),
    open: (path, flags, done, { pid }) =>
      answer(done, async () => {
        const fd = await tracefs.open(path, flags, caller(pid));
        const node = tracefs.lookup(path);
        return [0, fd, node.kind === 'file' && !node.seekable];
      }),
    read: (_path, fd, to, size, offset, done, request) =>
      answer(done, async () => {
        const bytes = await tracefs.read(fd, size, offset, ioOf(request));
        to.set(bytes);
        return [bytes.length];
      }),
    write: (_path, fd, from, size, _offset, done, request) =>
      answer(done, async () => [await tracefs.write(fd, from.subarray(0, size), ioOf(request))]),
    flush: (_path, fd, done) =>
      answer(done, () => {
        tracefs.flush(fd);
        return [0];
      }),
    release: (_path, fd, done) =>
      answer(done, async () => {
        await tracefs.release(fd);
        return [0];
      }),
    // Attributes are accepted and change nothing: O_TRUNC comes with the open.
    truncate: (_path, _size, done) => done(0),
    ftruncate: (_path, _fd, _size, done) => done(0),
    utimens: succeed,
    ...refuse('EPERM', 'mkdir', 'rmdir', 'unlink', 'rename', 'link', 'symlink'),
    ...refuse('EACCES', 'mknod', 'create'),
  };
}

/** The tree is the kernel's to change: mkdir(2), rm(1) and their like. */
function refuse(errno: Errno, ...names: string[]): Record<string, (...args: unknown[]) => void> {
  const result = -constants.errno[errno];
  return Object.fromEntries(
    names.map((name) => [name, (...args) => (args.at(-1) as (result: number) => void)(result)]),
  );
}

/** What a request is answered with: an errno below zero, or a result and what belongs to it. */
type Reply = [result: number, ...values: unknown[]];

/** The one place where an ErrnoError becomes a number. Anything else is a bug. */
function answerWith(onBug: (error: unknown) => void) {
  return async (
    done: (result: number, ...values: never[]) => void,
    operation: () => Reply | Promise<Reply>,
  ): Promise<void> => {
    (done as (...reply: Reply) => void)(...(await replyOf(operation, onBug)));
  };
}

async function replyOf(
  operation: () => Reply | Promise<Reply>,
  onBug: (error: unknown) => void,
): Promise<Reply> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof ErrnoError) return [error.result];
    onBug(error);
    return [-constants.errno.EIO];
  }
}

function ioOf(request: Request): Io {
  return {
    task: caller(request.pid),
    nonblock: ((request.flags ?? 0) & open.O_NONBLOCK) !== 0,
    onInterrupt(callback) {
      if (request.interrupted) callback();
      else request.oninterrupt = callback;
    },
  };
}

function stat(node: Node, { uid, gid }: MountOptions): Stat {
  const epoch = new Date(0);
  const isDir = node.kind === 'dir';
  return {
    mode: (isDir ? open.S_IFDIR : open.S_IFREG) | node.mode,
    size: 0,
    nlink: isDir ? 2 : 1,
    blksize: PAGE_SIZE,
    uid,
    gid,
    atime: epoch,
    mtime: epoch,
    ctime: epoch,
  };
}

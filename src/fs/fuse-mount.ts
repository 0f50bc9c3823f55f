import { constants as open } from 'node:fs';
import { constants } from 'node:os';
import { promisify } from 'node:util';
import Fuse, {
  type DirEntry,
  type Done,
  type Notify,
  type Operations,
  type Request,
  type Stat,
} from 'fuse-native';
import { type Errno, ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import { caller } from './caller.ts';
import type { Awaitable, Io } from './nodes.ts';
import type { Attributes, Tracefs } from './tracefs.ts';

/** How /proc/mounts shows the mount: tools look for "tracefs" in a line, we for our own type. */
export const FS_SUBTYPE = 'pkvm-tracefs';

export interface MountOptions {
  readonly mountpoint: string;
  /** Whether other users may come in, as far as the modes let them. */
  readonly allowOther: boolean;
  /** Called when the file system was unmounted, by us or by anybody. */
  readonly onUnmounted: () => void;
  /** Called with anything that is not an ErrnoError: a bug. The caller gets EIO. */
  readonly onBug: (error: unknown) => void;
}

/** The largest read or write that the kernel sends in one request. */
const MAX_IO = 131_072;
const NAME_MAX = 255;
const PERMISSIONS = 0o7777;
/** The uid or gid that chown(2) leaves alone. */
const UNCHANGED = 2 ** 32 - 1;

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
    'attr_timeout=0',
    'entry_timeout=0',
    'atomic_o_trunc', // O_TRUNC comes with the open, and not as a truncate(2) after it.
    'auto_unmount', // If we are killed, fusermount takes the mount away.
    'big_writes',
    'max_readahead=0', // A splice(2) from a pipe asks for a page at a time.
    `max_read=${MAX_IO}`,
    ...(allowOther ? ['allow_other'] : []),
  ]);
  await promisify(fuse.mount.bind(fuse))();
  return promisify(fuse.unmount.bind(fuse)) as () => Promise<void>;
}

function operations(tracefs: Tracefs, options: MountOptions): Operations {
  const answer = answerWith(options.onBug);
  const succeed = (done: Done, operation: () => Awaitable<void>): Promise<void> =>
    answer(done, async () => {
      await operation();
      return [0];
    });
  const notifies = new Map<number, Notify>();
  const forget = (fd: number): void => {
    notifies.get(fd)?.destroy();
    notifies.delete(fd);
  };
  return {
    init: (done) => done(0),
    destroy: options.onUnmounted,
    readdir: (path, done) => answer(done, () => [0, ...entries(tracefs, path)]),
    getattr: (path, done) => answer(done, async () => [0, stat(await tracefs.stat(path))]),
    statfs: (_path, done) => done(0, { bsize: PAGE_SIZE, frsize: PAGE_SIZE, namemax: NAME_MAX }),
    open: (path, flags, done, { pid }) =>
      answer(done, async () => {
        const fd = await tracefs.open(path, flags, caller(pid));
        const node = tracefs.lookup(path);
        return [0, fd, { directIo: true, nonseekable: node.kind === 'file' && !node.seekable }];
      }),
    read: (_path, fd, to, size, offset, done, request) =>
      answer(done, async () => [
        await tracefs.read(fd, to.subarray(0, size), offset, ioOf(request)),
      ]),
    write: (_path, fd, from, size, _offset, done, request) =>
      answer(done, async () => [await tracefs.write(fd, from.subarray(0, size), ioOf(request))]),
    poll: (_path, fd, notify, done) =>
      answer(done, () => {
        if (notify === null) return [0, tracefs.poll(fd)];
        forget(fd);
        notifies.set(fd, notify);
        return [0, tracefs.poll(fd, notify)];
      }),
    ioctl: (_path, _fd, command, done) => done(command === 0 ? 0 : -constants.errno.ENOTTY),
    flush: (_path, fd, done) => succeed(done, () => tracefs.flush(fd)),
    release: (_path, fd, done) => {
      forget(fd);
      return succeed(done, () => tracefs.release(fd));
    },
    fsync: (_path, _datasync, _fd, done) => done(-constants.errno.EINVAL),
    chmod: (path, mode, done) =>
      succeed(done, () => tracefs.change(path, { mode: mode & PERMISSIONS })),
    chown: (path, uid, gid, done) =>
      succeed(done, () =>
        tracefs.change(path, {
          ...(uid === UNCHANGED ? {} : { uid }),
          ...(gid === UNCHANGED ? {} : { gid }),
        }),
      ),
    utimens: (path, atime, mtime, done) =>
      succeed(done, () => tracefs.change(path, { atime: new Date(atime), mtime: new Date(mtime) })),
    listxattr: (_path, done) => done(0, []),
    truncate: (_path, _size, done) => done(0), // Accepted, and without effect.
    ftruncate: (_path, _fd, _size, done) => done(0),
    mknod: (_path, mode, _device, done) =>
      done(
        (mode & open.S_IFMT) === open.S_IFREG ? -constants.errno.EACCES : -constants.errno.EPERM,
      ),
    ...refuse('EACCES', 'create'),
    ...refuse('EPERM', 'mkdir', 'rmdir', 'unlink', 'rename', 'link', 'symlink'),
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
    forCache: request.forCache ?? false,
    onInterrupt(callback) {
      if (request.interrupted) callback();
      else request.oninterrupt = callback;
    },
  };
}

const DIR_ENTRY = { mode: open.S_IFDIR };
const FILE_ENTRY = { mode: open.S_IFREG };

/** The names in a directory, and the type of each. */
function entries(tracefs: Tracefs, path: string): [names: string[], types: DirEntry[]] {
  const names = tracefs.readdir(path);
  const types = names.map((name) =>
    tracefs.lookup(`${path}/${name}`).kind === 'dir' ? DIR_ENTRY : FILE_ENTRY,
  );
  return [
    ['.', '..', ...names],
    [DIR_ENTRY, DIR_ENTRY, ...types],
  ];
}

function stat({ isDir, mode, ...attributes }: Attributes): Stat {
  return {
    ...attributes,
    mode: (isDir ? open.S_IFDIR : open.S_IFREG) | mode,
    nlink: isDir ? 2 : 1,
    blksize: PAGE_SIZE,
    ctime: attributes.mtime,
  };
}

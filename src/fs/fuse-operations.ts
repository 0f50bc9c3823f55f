import { constants as open } from 'node:fs';
import { constants } from 'node:os';
import type { DirectoryEntry, Operations, PollNotifier, Request, Stat } from 'fuse-native';
import { type Errno, ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import { caller, isInPageFault } from './caller.ts';
import type { Inode } from './inodes.ts';
import type { Awaitable, Io } from './nodes.ts';
import type { Attributes, Tracefs } from './tracefs.ts';

/** How long the kernel may keep the name or the attributes of a node that stays: a year, in s. */
const FOR_GOOD = 365 * 86_400;
/** How long it may keep the size of a text: from the look-up to the open that follows, in s. */
const SIZE_TIMEOUT = 0.1;

const NAME_MAX = 255;
const PERMISSIONS = 0o7777;
const ANYBODY_WRITES = 0o222;
/** The number of an entry that has none yet. */
const UNKNOWN_NUMBER = 0xffff_ffff;

/** The answer to a read that was given nothing. After one that was, it is ignored. */
const NOTHING = new Uint8Array(0);

type OwnOperations = Omit<Operations, 'init' | 'destroy' | 'bug'>;

/** What the kernel's requests do to `tracefs`. */
export function operations(tracefs: Tracefs, onBug: (error: unknown) => void): OwnOperations {
  const answering = answeringWith(onBug);
  return {
    forget: (number, lookups) => tracefs.inodes.forget(number, lookups),
    ...nodeOperations(tracefs, answering),
    ...directoryOperations(tracefs, answering),
    ...fileOperations(tracefs, answering),
    ...pollOperations(tracefs, answering),
    ...refusals(),
  };
}

/** Makes an operation of a function that answers its request, or throws what to answer. */
type Answering = <A extends unknown[]>(
  answer: (request: Request, ...args: A) => Awaitable<void>,
) => (request: Request, ...args: A) => void;

/** The one place where an ErrnoError becomes a number. Anything else is a bug. */
function answeringWith(onBug: (error: unknown) => void): Answering {
  return (answer) =>
    (request, ...args) => {
      const fail = (error: unknown): void => {
        if (!(error instanceof ErrnoError)) onBug(error);
        request.error(error instanceof ErrnoError ? -error.result : constants.errno.EIO);
      };
      try {
        answer(request, ...args)?.catch(fail);
      } catch (error) {
        fail(error);
      }
    };
}

/** Names and attributes. */
function nodeOperations(tracefs: Tracefs, answering: Answering) {
  const { inodes } = tracefs;
  const attributeTimeout = (inode: Inode): number =>
    tracefs.sizeVaries(inode) ? SIZE_TIMEOUT : FOR_GOOD;
  // A look-up brings the size as it is now, for programs that splice what they have opened. The
  // kernel has an opinion of its own where somebody has written, or has opened with O_TRUNC.
  const nameTimeout = (inode: Inode): number =>
    inode.isTransient || tracefs.sizeVaries(inode) || isWritable(inode) ? 0 : FOR_GOOD;
  const answerAttributes = answering(async (request) => {
    const inode = inodes.get(request.node);
    request.attributes(statOf(inode, await tracefs.stat(inode)), attributeTimeout(inode));
  });
  return {
    lookup: answering(async (request, name: string) => {
      const inode = inodes.lookup(inodes.get(request.node), name);
      const stat = statOf(inode, await tracefs.stat(inode));
      if (request.entry(stat, attributeTimeout(inode), nameTimeout(inode))) inode.lookups++;
    }),
    getattr: answerAttributes,
    setattr: answering((request, { mode, ...changes }) => {
      const permissions = mode === undefined ? {} : { mode: mode & PERMISSIONS };
      tracefs.change(inodes.get(request.node), { ...changes, ...permissions });
      answerAttributes(request);
    }),
    statfs: answering((request) => request.statfs(PAGE_SIZE, NAME_MAX)),
  } satisfies Partial<Operations>;
}

const isWritable = ({ node }: Inode): boolean =>
  node.kind === 'file' && (node.mode & ANYBODY_WRITES) !== 0;

function directoryOperations({ inodes }: Tracefs, answering: Answering) {
  /** The entries of each open directory, as they were when it was opened. */
  const opened = new Map<number, readonly DirectoryEntry[]>();
  let next = 1;
  return {
    opendir: answering((request) => {
      const handle = next++;
      opened.set(handle, entriesOf(inodes.get(request.node)));
      request.opened(handle);
    }),
    readdir: answering((request, { handle, size, offset }) => {
      request.entries(opened.get(handle) ?? [], offset, size);
    }),
    releasedir: answering((request, handle) => {
      opened.delete(handle);
      request.error(0);
    }),
  } satisfies Partial<Operations>;
}

function entriesOf(directory: Inode): readonly DirectoryEntry[] {
  const { node, number, parent = directory } = directory;
  if (node.kind !== 'dir') throw new ErrnoError('ENOTDIR', directory.name);
  const children = Object.entries(node.children).map(([name, child]) => ({
    name,
    ino: directory.children.get(name)?.number ?? UNKNOWN_NUMBER,
    mode: child.kind === 'dir' ? open.S_IFDIR : open.S_IFREG,
  }));
  return [
    { name: '.', ino: number, mode: open.S_IFDIR },
    { name: '..', ino: parent.number, mode: open.S_IFDIR },
    ...children,
  ];
}

function fileOperations(tracefs: Tracefs, answering: Answering) {
  return {
    open: answering(async (request, flags) => {
      const inode = tracefs.inodes.get(request.node);
      const handle = await tracefs.open(inode, flags, ioOf(request, flags, false));
      request.opened(handle, {
        directIo: true,
        stream: inode.node.kind === 'file' && !inode.node.seekable,
        tellsFlush: tracefs.heedsFlush(handle),
      });
    }),
    read: answering((request, { handle, size, offset, flags, forCache }) => {
      const give = (bytes: Uint8Array): void => request.data(bytes);
      const read = { ...ioOf(request, flags, forCache), size, offset, give };
      const reading = tracefs.read(handle, read);
      return reading === undefined ? give(NOTHING) : reading.then(() => give(NOTHING));
    }),
    write: answering(async (request, { handle, bytes, flags }) => {
      request.count(await tracefs.write(handle, bytes, ioOf(request, flags, false)));
    }),
    flush: answering((request, handle) => {
      tracefs.flush(handle);
      request.error(0);
    }),
    fsync: answering((request) => request.error(constants.errno.EINVAL)),
  } satisfies Partial<Operations>;
}

/** Polling, and the end of an open file that was polled. */
function pollOperations(tracefs: Tracefs, answering: Answering) {
  const notifiers = new Map<number, PollNotifier>();
  const forget = (handle: number): void => {
    notifiers.get(handle)?.destroy();
    notifiers.delete(handle);
  };
  return {
    poll: answering((request, handle, notifier) => {
      if (notifier !== null) {
        forget(handle);
        notifiers.set(handle, notifier);
      }
      request.events(tracefs.poll(handle, notifier === null ? undefined : () => notifier.notify()));
    }),
    release: answering(async (request, handle) => {
      forget(handle);
      await tracefs.release(handle);
      request.error(0);
    }),
    ioctl: answering((request, _handle, command) => {
      if (command === 0) request.ioctl();
      else request.error(constants.errno.ENOTTY);
    }),
  } satisfies Partial<Operations>;
}

/** The tree is the kernel's to change: mkdir(2), rm(1) and their like fail. */
function refusals() {
  const refuse = (errno: Errno) => (request: Request) => request.error(constants.errno[errno]);
  return {
    create: refuse('EACCES'),
    mkdir: refuse('EPERM'),
    rmdir: refuse('EPERM'),
    unlink: refuse('EPERM'),
    rename: refuse('EPERM'),
    link: refuse('EPERM'),
    symlink: refuse('EPERM'),
    mknod(request, _name, mode) {
      const isFile = (mode & open.S_IFMT) === open.S_IFREG;
      request.error(isFile ? constants.errno.EACCES : constants.errno.EPERM);
    },
  } satisfies Partial<Operations>;
}

function ioOf(request: Request, flags: number, forCache: boolean): Io {
  return {
    task: caller(request.pid),
    nonblock: (flags & open.O_NONBLOCK) !== 0,
    forCache,
    isPageFault: () => forCache && isInPageFault(request.pid),
    onInterrupt(callback) {
      if (request.interrupted) callback();
      else request.oninterrupt = callback;
    },
  };
}

function statOf({ number }: Inode, { isDir, mode, ...attributes }: Attributes): Stat {
  return {
    ...attributes,
    ino: number,
    mode: (isDir ? open.S_IFDIR : open.S_IFREG) | mode,
    nlink: isDir ? 2 : 1,
    blksize: PAGE_SIZE,
  };
}

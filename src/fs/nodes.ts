import { ErrnoError } from '../errno.ts';
import { type HostTask, KERNEL_THREAD } from '../host-task.ts';

/** What stands at a path of the tree. */
export type Node = Dir | File;

export interface Dir {
  readonly kind: 'dir';
  readonly mode: number;
  readonly children: Readonly<Record<string, Node>>;
  /** Its entries come and go. */
  readonly isLive?: boolean;
}

export interface File {
  readonly kind: 'file';
  readonly mode: number;
  /** False for a file without positions: lseek(2) and pread(2) give ESPIPE. */
  readonly seekable: boolean;
  /** What stat(2) shows: the text's length now, so that tools that splice see all of it. */
  size(): Awaitable<number>;
  /** It is always the same. */
  readonly hasFixedSize?: boolean;
  open(how: HowToOpen): Awaitable<OpenFile>;
}

export type Awaitable<T> = T | Promise<T>;

export interface HowToOpen {
  readonly task: HostTask;
  readonly writes: boolean;
  readonly reads: boolean;
  /** O_TRUNC. */
  readonly truncates: boolean;
}

/** What one open(2) returned: the kernel's struct file. A missing operation is EINVAL. */
export interface OpenFile {
  /** Answers a read by giving it bytes, once. A read that is given none is at the end. */
  read?(read: Read): Awaitable<void>;
  /** Takes all of it or throws. */
  write?(data: Uint8Array, io: Io): Awaitable<void>;
  /** In place of it: takes the start of it, and returns how much. */
  writeSome?(data: Uint8Array, io: Io): Awaitable<number>;
  /**
   * Whether a read has something to give now, or an error; without this it always has. Calls
   * `onNews`, in place of an earlier one, each time that there is something new to read.
   */
  poll?(onNews?: () => void): boolean;
  /** One of its descriptors was closed, perhaps the last. */
  flush?(): void;
  /** After the last close. */
  release?(): Awaitable<void>;
}

/** The circumstances of one read(2) or write(2). */
export interface Io {
  readonly task: HostTask;
  /** O_NONBLOCK, as it is now. */
  readonly nonblock: boolean;
  /** The page cache reads, for a splice(2) or for a page fault of a mapping. */
  readonly forCache: boolean;
  /** Whether it is a page fault. The answer takes some 10 µs. */
  isPageFault(): boolean;
  /** Calls back when the caller has been signalled and wants an answer: EINTR if there is none. */
  onInterrupt(callback: () => void): void;
}

/** One read(2), or pread(2). */
export interface Read extends Io {
  /** Bytes that the caller wants at most. */
  readonly size: number;
  /** Where the caller is in the file; the kernel keeps the position. */
  readonly offset: number;
  /** Sends `bytes`, `size` of them at most, before it returns: they may change afterwards. */
  give(bytes: Uint8Array): void;
}

/** A directory's entries: one for each item. */
export function byName<T>(
  items: readonly T[],
  name: (item: T) => string,
  node: (item: T) => Node,
): Record<string, Node> {
  return Object.fromEntries(items.map((item) => [name(item), node(item)]));
}

const READ = 0o440;
const READ_WRITE = 0o640;

export const dir = (children: Readonly<Record<string, Node>>, mode = 0o750): Dir => ({
  kind: 'dir',
  mode,
  children,
});

/** A directory whose entries come and go: `children` is asked each time. */
export const liveDir = (children: () => Readonly<Record<string, Node>>, mode = 0o750): Dir => ({
  kind: 'dir',
  mode,
  isLive: true,
  get children() {
    return children();
  },
});

/** Text made anew for each read, as of now. */
export function show(get: (task: HostTask) => Awaitable<string>): File {
  return {
    kind: 'file',
    mode: READ,
    seekable: true,
    size: async () => (await get(KERNEL_THREAD)).length,
    open: () => ({ read: reader(get) }),
  };
}

/** The same, and a value taken from each write: DEFINE_SHOW_STORE_ATTRIBUTE(). */
export function showStore(
  get: (task: HostTask) => Awaitable<string>,
  set: (written: Uint8Array, task: HostTask, io: Io) => Awaitable<void>,
): File {
  return {
    ...show(get),
    mode: READ_WRITE,
    open: () => ({ read: reader(get), write: (data, io) => set(data, io.task, io) }),
  };
}

/** The same file, which is cleared first when it is opened to write with O_TRUNC. */
export const clearedByTruncation = (
  file: File,
  clear: (task: HostTask) => Awaitable<void>,
): File => ({
  ...file,
  open: async (how) => {
    if (how.writes && how.truncates) await clear(how.task);
    return file.open(how);
  },
});

const empty = (): number => 0;

/** A button: opening it for writing does something, once, and what is written is ignored. */
export function button(
  mode: number,
  press: (task: HostTask) => Awaitable<void>,
  options: { readonly mayOpenToRead: boolean },
): File {
  return {
    kind: 'file',
    mode,
    seekable: false,
    size: empty,
    async open({ task, writes }) {
      if (writes) await press(task);
      else if (!options.mayOpenToRead) throw new ErrnoError('EPERM', 'cannot be read');
      return { write: () => {} };
    },
  };
}

/**
 * Bytes that arrive over time, such as trace_pipe: a reader waits, and takes what it reads. `size` is
 * what stat(2) shows: FUSE ends a splice(2) there.
 */
export function stream(
  mode: number,
  size: number,
  open: (task: HostTask) => Awaitable<OpenFile>,
): File {
  return {
    kind: 'file',
    mode,
    seekable: false,
    size: () => size,
    hasFixedSize: true,
    open: ({ task }) => open(task),
  };
}

/** A file whose text always has one length: its own now, unless `bytes` says it. */
export const fixedSize = (file: File, bytes?: number): File => ({
  ...file,
  hasFixedSize: true,
  size: bytes === undefined ? file.size : () => bytes,
});

/** Text that never changes. */
export const constant = (get: () => string): File => fixedSize(show(get));

function reader(get: (task: HostTask) => Awaitable<string>): NonNullable<OpenFile['read']> {
  return (read) => {
    const text = get(read.task);
    return typeof text === 'string'
      ? giveText(text, read)
      : text.then((known) => giveText(known, read));
  };
}

/** Gives what the text has at the place of the read, which may be beyond its end. */
function giveText(text: string, read: Read): void {
  read.give(Buffer.from(text, 'latin1').subarray(read.offset, read.offset + read.size));
}

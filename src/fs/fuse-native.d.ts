/** fuse-native 2.2.6 as patches/ changes it: one session, served from Node's own loop. */
declare module 'fuse-native' {
  /** What stat(2) shows. Times are in ms since 1970. */
  export interface Stat {
    readonly ino: number;
    /** The file type and the permission bits. */
    readonly mode: number;
    readonly nlink: number;
    readonly uid: number;
    readonly gid: number;
    readonly size: number;
    readonly blksize: number;
    readonly atimeMs: number;
    readonly mtimeMs: number;
  }

  /** What setattr(2)'s family changes. */
  export interface Changes {
    readonly mode?: number;
    readonly uid?: number;
    readonly gid?: number;
    readonly atimeMs?: number;
    readonly mtimeMs?: number;
  }

  export interface DirectoryEntry {
    readonly name: string;
    readonly ino: number;
    /** The file type. */
    readonly mode: number;
  }

  /** How an open file behaves. */
  export interface OpenFlags {
    /** Reads and writes come as they are made, past the page cache. */
    readonly directIo: boolean;
    /** It has no positions: two processes that share it may wait in read(2) at once. */
    readonly stream: boolean;
    /** Whether each close of a descriptor is told, and not only the last. */
    readonly tellsFlush: boolean;
  }

  /** Wakes the programs that poll an open file, as often as there is news, until it is destroyed. */
  export interface PollNotifier {
    notify(): void;
    destroy(): void;
  }

  /** A request of the kernel's. Its first answer counts; any other is ignored. Timeouts are in s. */
  export interface Request {
    /** The calling thread; 0 if it is in a pid namespace that we cannot see. */
    readonly pid: number;
    /** The number of the node that it is about. */
    readonly node: number;
    /** A signal has reached the caller. */
    readonly interrupted: boolean;
    /** Called once when one does, unless the request was answered before. */
    oninterrupt: (() => void) | null;

    /** An errno above zero; 0 is success. */
    error(errno: number): void;
    attributes(stat: Stat, attrTimeout: number): void;
    /** Returns whether the kernel has taken it, and counts one more look-up of the node. */
    entry(stat: Stat, attrTimeout: number, entryTimeout: number): boolean;
    opened(handle: number, flags?: OpenFlags): void;
    /** Sends bytes before it returns, so that they may change afterwards. */
    data(bytes: Uint8Array): void;
    /** As many entries from `offset` on as fit into `size` bytes. */
    entries(list: readonly DirectoryEntry[], offset: number, size: number): void;
    /** How many bytes of a write were taken. */
    count(bytes: number): void;
    /** The bits of poll(2). */
    events(bits: number): void;
    /** An ioctl(2) that succeeded and gives no bytes. */
    ioctl(): void;
    statfs(blockSize: number, nameMax: number): void;
  }

  export interface ReadArguments {
    readonly handle: number;
    readonly size: number;
    readonly offset: number;
    /** The open file's O_* flags as they are now. */
    readonly flags: number;
    /** The page cache reads, for a splice(2) or a page fault, and not read(2). */
    readonly forCache: boolean;
  }

  export interface WriteArguments {
    readonly handle: number;
    readonly bytes: Uint8Array;
    readonly flags: number;
  }

  type OnHandle = (request: Request, handle: number) => void;
  type OnName = (request: Request, name: string, mode: number) => void;

  /** What the kernel asks for. Each operation answers its request, at once or later. */
  export interface Operations {
    /** The kernel is there. */
    init(): void;
    /** The file system was unmounted, by us or by anybody. */
    destroy(): void;
    /** An operation threw this. */
    bug(error: unknown): void;
    lookup: OnName;
    forget(node: number, lookups: number): void;
    getattr(request: Request): void;
    setattr(request: Request, changes: Changes): void;
    open(request: Request, flags: number): void;
    read(request: Request, read: ReadArguments): void;
    write(request: Request, write: WriteArguments): void;
    /** One descriptor of the open file was closed. */
    flush: OnHandle;
    /** The last one was closed. */
    release: OnHandle;
    fsync: OnHandle;
    opendir(request: Request): void;
    readdir(request: Request, read: Pick<ReadArguments, 'handle' | 'size' | 'offset'>): void;
    releasedir: OnHandle;
    statfs(request: Request): void;
    /** `notifier` is null where the kernel does not want to be told. */
    poll(request: Request, handle: number, notifier: PollNotifier | null): void;
    ioctl(request: Request, handle: number, command: number): void;
    mknod: OnName;
    mkdir: OnName;
    unlink: OnName;
    rmdir: OnName;
    symlink: OnName;
    rename: OnName;
    link: OnName;
    create: OnName;
  }

  export class Session {
    constructor(mountpoint: string, options: readonly string[], operations: Operations);
    /** @throws Error when it cannot mount; libfuse says why on stderr. */
    mount(): void;
    unmount(done: (error: Error | null) => void): void;
  }
}

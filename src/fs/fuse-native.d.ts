/** fuse-native 2.2.6 as patches/ changes it: only what fuse-mount.ts uses. */
declare module 'fuse-native' {
  /** Who made a request. It lives until the request is answered. */
  export interface Request {
    /** The calling thread. */
    readonly pid: number;
    readonly uid: number;
    readonly gid: number;
    /** Of a read or a write: the open file's O_* flags as they are now. */
    readonly flags?: number;
    /** Of a read: the page cache makes it, and no read(2). */
    readonly forCache?: boolean;
    /** The caller was signalled, perhaps before `oninterrupt` was set. */
    readonly interrupted: boolean;
    oninterrupt: (() => void) | null;
  }

  export interface Stat {
    mode: number;
    uid: number;
    gid: number;
    size: number;
    nlink: number;
    blksize: number;
    atime: Date;
    mtime: Date;
    ctime: Date;
  }

  /** The part of an entry's mode that says its type. */
  export type DirEntry = Pick<Stat, 'mode'>;

  export interface Statfs {
    bsize: number;
    frsize: number;
    namemax: number;
  }

  /** How an open file behaves. */
  export interface OpenFlags {
    /** Reads and writes come as they are made, past the page cache. */
    readonly directIo: boolean;
    readonly nonseekable: boolean;
  }

  /** Wakes who polls the open file; good for many times, until it is destroyed. */
  export interface Notify {
    (): void;
    destroy(): void;
  }

  export type Done = (result: number) => void;

  export interface Operations {
    init(done: Done): void;
    /** The file system was unmounted, by us or by anybody. */
    destroy(): void;
    readdir(
      path: string,
      done: (result: number, names?: string[], types?: DirEntry[]) => void,
    ): void;
    getattr(path: string, done: (result: number, stat?: Stat) => void): void;
    statfs(path: string, done: (result: number, stat?: Statfs) => void): void;
    open(
      path: string,
      flags: number,
      done: (result: number, fd?: number, how?: OpenFlags) => void,
      request: Request,
    ): void;
    read(
      path: string,
      fd: number,
      to: Buffer,
      size: number,
      offset: number,
      done: Done,
      request: Request,
    ): void;
    write(
      path: string,
      fd: number,
      from: Buffer,
      size: number,
      offset: number,
      done: Done,
      request: Request,
    ): void;
    flush(path: string, fd: number, done: Done): void;
    release(path: string, fd: number, done: Done): void;
    /** `notify` is null where the kernel does not want to be told. */
    poll(
      path: string,
      fd: number,
      notify: Notify | null,
      done: (result: number, events?: number) => void,
    ): void;
    ioctl(path: string, fd: number, command: number, done: Done): void;
    fsync(path: string, datasync: number, fd: number, done: Done): void;
    chmod(path: string, mode: number, done: Done): void;
    chown(path: string, uid: number, gid: number, done: Done): void;
    /** Times in ms. */
    utimens(path: string, atime: number, mtime: number, done: Done): void;
    mknod(path: string, mode: number, device: number, done: Done): void;
    listxattr(path: string, done: (result: number, names?: string[]) => void): void;
    truncate(path: string, size: number, done: Done): void;
    ftruncate(path: string, fd: number, size: number, done: Done): void;
    [refused: string]: unknown;
  }

  export default class Fuse {
    constructor(mountpoint: string, operations: Operations, options?: { timeout?: false });
    mount(done: (error: Error | null) => void): void;
    unmount(done: (error: Error | null) => void): void;
    /** The mount options, `-o…`. */
    _fuseOptions(): string;
  }
}

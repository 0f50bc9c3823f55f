import type { Changes, Inode } from '../../src/fs/inodes.ts';
import type { Awaitable, Dir, Io, Node } from '../../src/fs/nodes.ts';
import { type Attributes, Tracefs, type TracefsOptions } from '../../src/fs/tracefs.ts';
import type { HostTask } from '../../src/host-task.ts';

/** A tree with paths, which the kernel resolves where there is a mount. */
export class PathTracefs {
  readonly #tracefs: Tracefs;

  constructor(root: Dir, options: TracefsOptions) {
    this.#tracefs = new Tracefs(root, options);
  }

  /** @throws ErrnoError ENOENT, ENOTDIR */
  lookup(path: string): Node {
    return this.#inode(path).node;
  }

  #inode(path: string): Inode {
    const { inodes } = this.#tracefs;
    const names = path.split('/').filter(Boolean);
    return names.reduce((inode, name) => inodes.lookup(inode, name), inodes.root);
  }

  readdir(path: string): string[] {
    const node = this.lookup(path);
    return node.kind === 'dir' ? Object.keys(node.children) : [];
  }

  stat(path: string): Awaitable<Attributes> {
    return this.#tracefs.stat(this.#inode(path));
  }

  change(path: string, changes: Changes): void {
    this.#tracefs.change(this.#inode(path), changes);
  }

  async open(
    path: string,
    flags: number,
    task: HostTask,
    onInterrupt: Io['onInterrupt'] = () => {},
  ): Promise<number> {
    return this.#tracefs.open(this.#inode(path), flags, { task, onInterrupt });
  }

  get openFiles(): number {
    return this.#tracefs.openFiles;
  }

  /** Reads into `to`; resolves to how much it was. */
  async read(fd: number, to: Uint8Array, offset: number, io: Io): Promise<number> {
    let given = 0;
    const give = (bytes: Uint8Array): void => {
      to.set(bytes);
      given = bytes.length;
    };
    await this.#tracefs.read(fd, { ...io, size: to.length, offset, give });
    return given;
  }

  write(fd: number, data: Uint8Array, io: Io): Promise<number> {
    return this.#tracefs.write(fd, data, io);
  }

  poll(fd: number, onNews?: () => void): number {
    return this.#tracefs.poll(fd, onNews);
  }

  flush(fd: number): void {
    this.#tracefs.flush(fd);
  }

  release(fd: number): Promise<void> {
    return this.#tracefs.release(fd);
  }
}

import { ErrnoError } from '../errno.ts';
import type { Dir, Node } from './nodes.ts';

/** The number that FUSE gives the root. */
const ROOT = 1;

/** What chmod(2), chown(2) and utimes(2) may change. Times are in ms since 1970. */
export interface Changes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly atimeMs?: number;
  readonly mtimeMs?: number;
}

/** A node of the tree at its place, under the number by which the kernel knows it. */
export class Inode {
  readonly number: number;
  readonly name: string;
  readonly parent: Inode | undefined;
  /** Whether it comes and goes with what it stands for. */
  readonly isTransient: boolean;
  changes: Changes = {};
  /** Lookups that the kernel has not forgotten. */
  lookups = 0;
  readonly children = new Map<string, Inode>();
  readonly #node: Node | undefined;

  constructor(number: number, name: string, parent: Inode | undefined, root?: Node) {
    this.number = number;
    this.name = name;
    this.parent = parent;
    this.isTransient = parent !== undefined && (parent.isTransient || isLive(parent.node));
    this.#node = this.isTransient ? undefined : (root ?? (parent && childOf(parent.node, name)));
  }

  /** @throws ErrnoError ENOENT when it is gone. */
  get node(): Node {
    const node = this.#node ?? (this.parent && childOf(this.parent.node, this.name));
    if (node === undefined) throw new ErrnoError('ENOENT', this.name);
    return node;
  }
}

/** The nodes of a tree by the numbers that the kernel uses in place of paths. */
export class Inodes {
  readonly root: Inode;
  readonly #byNumber = new Map<number, Inode>();
  #next = ROOT + 1;

  constructor(root: Dir) {
    this.root = new Inode(ROOT, '/', undefined, root);
    this.#byNumber.set(ROOT, this.root);
  }

  /** @throws ErrnoError ENOENT */
  get(number: number): Inode {
    const inode = this.#byNumber.get(number);
    if (inode === undefined) throw new ErrnoError('ENOENT', `no node ${number}`);
    return inode;
  }

  /** The entry `name` of a directory. @throws ErrnoError ENOENT, ENOTDIR */
  lookup(parent: Inode, name: string): Inode {
    if (parent.node.kind !== 'dir') throw new ErrnoError('ENOTDIR', parent.name);
    if (childOf(parent.node, name) === undefined) throw new ErrnoError('ENOENT', name);
    return parent.children.get(name) ?? this.#add(parent, name);
  }

  #add(parent: Inode, name: string): Inode {
    const inode = new Inode(this.#next++, name, parent);
    parent.children.set(name, inode);
    this.#byNumber.set(inode.number, inode);
    return inode;
  }

  /** The kernel has dropped `lookups` of them. A node that stays has its number for good. */
  forget(number: number, lookups: number): void {
    const inode = this.#byNumber.get(number);
    if (inode === undefined) return;
    inode.lookups -= lookups;
    this.#removeUnknown(inode);
  }

  #removeUnknown(inode: Inode): void {
    const isKnown = inode.lookups > 0 || inode.children.size > 0;
    if (isKnown || !inode.isTransient || inode.parent === undefined) return;
    this.#byNumber.delete(inode.number);
    inode.parent.children.delete(inode.name);
    this.#removeUnknown(inode.parent);
  }
}

const isLive = (node: Node): boolean => node.kind === 'dir' && node.isLive === true;

function childOf(node: Node, name: string): Node | undefined {
  if (node.kind !== 'dir' || !Object.hasOwn(node.children, name)) return undefined;
  return node.children[name];
}

import { promisify } from 'node:util';
import { Session } from 'fuse-native';
import { Deferred } from '../deferred.ts';
import { operations } from './fuse-operations.ts';
import type { Tracefs } from './tracefs.ts';

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

/** Mounts `tracefs`; the function it resolves to unmounts it, even while it is busy. */
export async function mount(tracefs: Tracefs, options: MountOptions): Promise<() => Promise<void>> {
  const ready = new Deferred();
  const session = new Session(
    options.mountpoint,
    [
      'fsname=tracefs',
      `subtype=${FS_SUBTYPE}`,
      'default_permissions',
      'atomic_o_trunc', // O_TRUNC comes with the open, and not as a truncate(2) after it.
      'auto_unmount', // If we are killed, fusermount takes the mount away.
      'big_writes',
      'max_background=65535', // Closes come in order, however many at once.
      'max_readahead=0', // A splice(2) from a pipe asks for a page at a time.
      `max_read=${MAX_IO}`,
      ...(options.allowOther ? ['allow_other'] : []),
    ],
    {
      ...operations(tracefs, options.onBug),
      init: ready.resolve,
      destroy: options.onUnmounted,
      bug: options.onBug,
    },
  );
  session.mount();
  await ready.promise;
  return promisify(session.unmount.bind(session)) as () => Promise<void>;
}

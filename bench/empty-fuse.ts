import { mount } from '../src/fs/fuse-mount.ts';
import { dir } from '../src/fs/nodes.ts';
import { Tracefs } from '../src/fs/tracefs.ts';

const ZEROS = new Uint8Array(131_072);

/** Serves a file whose every read gives zeros that are there already: FUSE, and no more. */
const [, , mountpoint = ''] = process.argv;
const root = dir({
  empty: {
    kind: 'file',
    mode: 0o444,
    seekable: false,
    size: () => 0,
    open: () => ({ read: (read) => read.give(ZEROS.subarray(0, read.size)) }),
  },
});
const unmount = await mount(new Tracefs(root, { uid: 0, gid: 0 }), {
  mountpoint,
  allowOther: false,
  onUnmounted: () => process.exit(),
  onBug: (error) => {
    throw error;
  },
});
process.on('SIGTERM', () => void unmount());
console.log('ready');

import { describe, expect } from 'vitest';
import { test } from '../support/daemon.ts';

/** Prints with which ids of the mount at its argument perf_event_open(2) opens an event. */
const OPEN_EVENTS = `
import ctypes, glob, os, platform, struct, sys
PERF_TYPE_TRACEPOINT = 2
NR = {"x86_64": 298, "aarch64": 241}[platform.machine()]
SIZE = 112
libc = ctypes.CDLL(None)
ids = [int(open(path).read()) for path in glob.glob(sys.argv[1] + "/events/*/*/id")]
print(len(ids), "ids")
for ident in ids:
    attr = struct.pack("<IIQ", PERF_TYPE_TRACEPOINT, SIZE, ident).ljust(SIZE, bytes(1))
    fd = libc.syscall(NR, ctypes.create_string_buffer(attr, SIZE), 0, -1, -1, 0)
    if fd >= 0:
        print("an event of the kernel's has the id", ident)
        os.close(fd)`;

describe('perf_event_open(2)', () => {
  test.for(['.', 'instances/hypervisor'])(
    'opens no event of the kernel’s with an id of %s',
    async (view, { daemon }) => {
      await daemon.start('--rate', '0');
      const python = daemon.spawn('python3', '-c', OPEN_EVENTS, `${daemon.dir}/${view}`);
      expect(await python.exit(), python.stderr).toBe(0);
      expect(python.stdout).toBe('12 ids\n');
    },
  );
});

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Daemon } from '../support/daemon.ts';

/** One read(2) into a buffer that begins `offset` bytes behind the start of a page. */
const READ_TO_OFFSET = `
import ctypes, mmap, os, sys
file, size, offset = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
memory = mmap.mmap(-1, size + 2 * mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + offset
libc = ctypes.CDLL(None)
libc.read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
sys.stdout.buffer.write(ctypes.string_at(address, libc.read(fd, address, size)))
`;

const read = (daemon: Daemon, size: number, offset: number): string =>
  execFileSync(
    'python3',
    ['-c', READ_TO_OFFSET, join(daemon.hypervisor, 'trace_pipe'), `${size}`, `${offset}`],
    { encoding: 'latin1', maxBuffer: 2 ** 20, timeout: 10_000 },
  );

/** What one read gives of a trace that is the same each time. */
async function readOfTrace(size: number, offset: number): Promise<string> {
  const daemon = new Daemon();
  try {
    await daemon.start('--virtual', '--scenario', 'storm', '--cpus', '1');
    await daemon.sh(`
      echo 4096 > buffer_size_kb; echo 1 > events/enable; echo 1 > tracing_on
      echo 'advance 5ms' > ../sim/clock; echo 0 > tracing_on`);
    return read(daemon, size, offset);
  } finally {
    await daemon.stop();
  }
}

// FUSE divides a read that covers more than 32 pages, and asks for the second part if the first came whole.
test('a read that FUSE has to divide gives whole lines, also when some fill its first part', async () => {
  const text = await readOfTrace(131_072, 0);
  const fillFirst = text.lastIndexOf('\n', text.length - 2) + 1;
  const given = await readOfTrace(131_100, 131_072 - fillFirst);
  expect(given).toMatch(/\n$/);
  expect(given.length).toBeGreaterThan(126_000);
  expect(text.startsWith(given)).toBe(true);
});

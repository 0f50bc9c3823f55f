import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { type Daemon, test } from '../support/daemon.ts';

/** Reads a CPU's pages with read(2) of `size` bytes, until there are no more. */
function drain(daemon: Daemon, cpu: number, size: number): Buffer[] {
  const path = join(daemon.hypervisor, `per_cpu/cpu${cpu}/trace_pipe_raw`);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const pages: Buffer[] = [];
  try {
    for (;;) {
      const bytes = Buffer.alloc(size);
      const read = readSync(fd, bytes);
      expect(read % PAGE_SIZE).toBe(0);
      for (let at = 0; at < read; at += PAGE_SIZE) pages.push(bytes.subarray(at, at + PAGE_SIZE));
    }
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
    return pages;
  } finally {
    closeSync(fd);
  }
}

test.for([4_096, 131_072])(
  'pages read %i bytes at a time hold every event that was written',
  async (size, { daemon }) => {
    await daemon.start('--virtual', '--scenario', 'storm', '--cpus', '2');
    await daemon.sh(`
      taskset -pc 0 $$ > /dev/null; echo 4096 > buffer_size_kb; echo 1 > events/enable
      echo 1 > tracing_on; echo 'advance 3ms' > ../sim/clock; echo 0 > tracing_on`);
    for (const cpu of [0, 1]) {
      const { stdout } = await daemon.sh(`sed -n 's/^entries: //p' per_cpu/cpu${cpu}/stats`);
      const written = Number(stdout);
      expect(written).toBeGreaterThan(10_000);
      let events = 0;
      let last = 0;
      for (const page of drain(daemon, cpu, size)) {
        const image = getPageImage(page);
        expect(image.lost).toBe(0);
        for (const { ts } of pageEvents(image)) {
          expect(ts).toBeGreaterThanOrEqual(last);
          last = ts;
          events++;
        }
      }
      expect(events).toBe(written);
    }
  },
);

test('the shell’s tools read pages too', async ({ daemon }) => {
  await daemon.start('--rate', '0', '--cpus', '1');
  const { stdout } = await daemon.sh(`
    echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on; echo 1 > selftest_event
    dd if=per_cpu/cpu0/trace_pipe_raw bs=4096 count=1 status=none | od -An -tu2 -j20 -N2
    dd if=per_cpu/cpu0/trace_pipe_raw bs=4096 count=1 iflag=nonblock status=none 2>&1 || true
    cat events/hypervisor/selftest/id`);
  const [id, empty, announced] = stdout.split('\n');
  expect(Number(id)).toBe(Number(announced));
  expect(empty).toContain('Resource temporarily unavailable');
});

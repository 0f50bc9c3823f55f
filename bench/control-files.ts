import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Benchmark, ratio, timeNs } from './benchmark.ts';
import { Daemon } from './daemon.ts';
import type { HostTracefs } from './host-tracefs.ts';

const TIMES = 30;

/** Of ours, and of the kernel's that does the same; what is written, if anything. */
const FILES: readonly [ours: string, kernels: string, written?: string][] = [
  ['tracing_on', 'tracing_on', '0'],
  ['buffer_size_kb', 'buffer_size_kb', '7'],
  ['events/hypervisor/selftest/enable', 'events/raw_syscalls/sys_enter/enable', '0'],
  ['events/hypervisor/selftest/format', 'events/raw_syscalls/sys_enter/format'],
  ['trace_clock', 'trace_clock'],
];

/** A write(2) and a read(2) of a file, each with its open(2) and close(2). */
export function controlFiles(tracefs: HostTracefs | undefined): Benchmark[] {
  return FILES.map(([ours, kernels, written]) => {
    let daemon: Daemon;
    return {
      name: `${ours}: ${written === undefined ? 'read' : 'write and read'}`,
      unit: 'µs',
      better: 'less',
      besides: 'the kernel',
      target: ratio(20),
      async setUp() {
        daemon = await Daemon.start(2, '--rate', '0');
        return () => daemon.stop();
      },
      async round() {
        return {
          ours: await usesUs(daemon.path(ours), written),
          beside: tracefs && (await usesUs(join(tracefs.instance, kernels), written)),
        };
      },
    };
  });
}

async function usesUs(file: string, written: string | undefined): Promise<number> {
  const ns = await timeNs(() => {
    for (let n = 0; n < TIMES; n++) {
      if (written !== undefined) writeFileSync(file, written);
      readFileSync(file);
    }
  });
  return ns / TIMES / 1e3;
}

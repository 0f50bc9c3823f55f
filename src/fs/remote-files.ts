import { formatSwitch, parseULong } from './kstrto.ts';
import { byName, type Dir, dir, type File, type Node, showStore } from './nodes.ts';
import type { TraceRemote } from './trace-remote.ts';

/** What hypervisor/ and an instance have alike. */

/** The mode that eventfs gives its directories. */
export const EVENTS_MODE = 0o755;

/** per_cpu/: a directory of these files for each CPU. */
export const perCpu = (remote: TraceRemote, files: (cpu: number) => Record<string, Node>): Dir =>
  dir(
    byName(
      remote.callbacks.cpus,
      (cpu) => `cpu${cpu}`,
      (cpu) => dir(files(cpu)),
    ),
  );

export const tracingOn = (remote: TraceRemote): File =>
  showStore(
    async () => formatSwitch(await remote.tracingOn()),
    (written, task) => remote.setTracing(parseULong(written) !== 0n, task),
  );

import { formatSwitch, parseULong } from './kstrto.ts';
import { byName, type Dir, dir, type File, fixedSize, type Node, showStore } from './nodes.ts';
import type { TraceRemote } from './trace-remote.ts';

/** What hypervisor/ and an instance have alike. */

/** The mode that eventfs gives its directories. */
export const EVENTS_MODE = 0o755;

/** A character and a newline. */
const SWITCH_SIZE = 2;

/** per_cpu/: a directory of these files for each CPU. */
export const perCpu = (remote: TraceRemote, files: (cpu: number) => Record<string, Node>): Dir =>
  dir(
    byName(
      remote.callbacks.cpus,
      (cpu) => `cpu${cpu}`,
      (cpu) => dir(files(cpu)),
    ),
  );

/** A file that shows `0`, `1` or `X`. */
export const switchFile = (...showAndStore: Parameters<typeof showStore>): File =>
  fixedSize(showStore(...showAndStore), SWITCH_SIZE);

export const tracingOn = (remote: TraceRemote): File =>
  switchFile(
    async () => formatSwitch(await remote.tracingOn()),
    (written, task) => remote.setTracing(parseULong(written) !== 0n, task),
  );

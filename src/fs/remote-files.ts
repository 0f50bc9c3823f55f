import { formatSwitch, parseULong } from './kstrto.ts';
import { type File, showStore } from './nodes.ts';
import type { TraceRemote } from './trace-remote.ts';

/** What hypervisor/ and an instance have alike. */

/** The mode that eventfs gives its directories. */
export const EVENTS_MODE = 0o755;

export const tracingOn = (remote: TraceRemote): File =>
  showStore(
    async () => formatSwitch(await remote.tracingOn()),
    (written, task) => remote.setTracing(parseULong(written) !== 0n, task),
  );

import { timeText } from './trace-output.ts';
import type { RemoteStats } from './trace-remote.ts';

/** The text of per_cpu/cpuN/stats. Nothing here ever drops an event or overruns a commit. */
export function ringStats(stats: RemoteStats): string {
  return [
    `entries: ${stats.entries}`,
    `overrun: ${stats.overrun}`,
    'commit overrun: 0',
    `bytes: ${stats.bytes}`,
    `oldest event ts: ${timeText(stats.oldestEventTs)}`,
    `now ts: ${timeText(stats.nowTs)}`,
    'dropped events: 0',
    `read events: ${stats.readEvents}`,
    '',
  ].join('\n');
}

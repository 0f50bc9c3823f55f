import { TraceSeq } from '../trace-seq.ts';
import { printTime } from './trace-output.ts';
import type { RemoteStats } from './trace-remote.ts';

const TIME_SIZE = 32;

/** The text of per_cpu/cpuN/stats. Nothing here ever drops an event or overruns a commit. */
export function ringStats(stats: RemoteStats): string {
  return [
    `entries: ${stats.entries}`,
    `overrun: ${stats.overrun}`,
    'commit overrun: 0',
    `bytes: ${stats.bytes}`,
    `oldest event ts: ${time(stats.oldestEventTs)}`,
    `now ts: ${time(stats.nowTs)}`,
    'dropped events: 0',
    `read events: ${stats.readEvents}`,
    '',
  ].join('\n');
}

function time(ns: number): string {
  const text = new TraceSeq(TIME_SIZE);
  printTime(ns, text);
  return Buffer.from(text.bytes.subarray(0, text.length)).toString('latin1');
}

import { closeSync, openSync, readSync } from 'node:fs';
import type { HostTask } from '../host-task.ts';

/** Fields of /proc/PID/stat, counted from 1: proc(5). */
const STATE = 3;
const PENDING_SIGNALS = 31;
const PROCESSOR = 39;

/** Whatever signal kills a process, the kernel then sends SIGKILL to each of its threads. */
const SIGKILL_BIT = 2 ** (9 - 1);

/** What FUSE passes for a task of a pid namespace that is not ours to see. */
const UNSEEN = 0;

/** The task with this pid or tid, while it waits for our answer. */
export function caller(pid: number): HostTask {
  return {
    cpu: () => look(pid).cpu,
    recentCpu: () => recentLook(pid).cpu,
    dying() {
      if (pid === UNSEEN) return false;
      const field = statOf(pid);
      if (field === undefined || field(STATE) === 'Z') return true;
      return (Number(field(PENDING_SIGNALS)) & SIGKILL_BIT) !== 0;
    },
  };
}

/** On which CPU a task was seen, and when. */
interface Look {
  readonly pid: number;
  readonly cpu: number;
  readonly atMs: number;
}

/** How old a look may be that `recentCpu` answers from. To look takes as long as ten pages of events. */
const RECENT_MS = 10;
let lastLook: Look = { pid: UNSEEN, cpu: 0, atMs: Number.NEGATIVE_INFINITY };

function look(pid: number): Look {
  lastLook = { pid, cpu: Number(statOf(pid)?.(PROCESSOR) ?? 0), atMs: performance.now() };
  return lastLook;
}

function recentLook(pid: number): Look {
  const isRecent = pid === lastLook.pid && performance.now() - lastLook.atMs <= RECENT_MS;
  return isRecent ? lastLook : look(pid);
}

/** Undefined for a task that is gone, or that we cannot see. */
function statOf(pid: number): ((field: number) => string | undefined) | undefined {
  try {
    const stat = readStat(pid);
    // The second field is the name in brackets; it may contain blanks and brackets itself.
    const fromState = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (field) => fromState[field - STATE];
  } catch {
    return undefined;
  }
}

const STAT = Buffer.alloc(4_096);

/** In less than half the time of readFileSync(), which asks for the size and for the end. */
function readStat(pid: number): string {
  const fd = openSync(`/proc/${pid}/stat`, 'r');
  try {
    return STAT.toString('latin1', 0, readSync(fd, STAT));
  } finally {
    closeSync(fd);
  }
}

import { closeSync, openSync, readSync } from 'node:fs';
import type { HostTask } from '../host-task.ts';

/** Fields of /proc/PID/stat, counted from 1: proc(5). */
const STATE = 3;
const FLAGS = 9;
const PENDING_SIGNALS = 31;
const PROCESSOR = 39;

/** Whatever signal kills a process, the kernel then sends SIGKILL to each of its threads. */
const SIGKILL_BIT = 2 ** (9 - 1);

/** The task flags of one that ends: PF_EXITING, and PF_SIGNALED on its way there. */
const ENDING = 0x4 | 0x400;

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
      if (field === undefined || field(STATE) === 'Z') return false;
      const isKilled = (Number(field(PENDING_SIGNALS)) & SIGKILL_BIT) !== 0;
      return isKilled || (Number(field(FLAGS)) & ENDING) !== 0;
    },
  };
}

/** How /proc/PID/syscall begins for a task that is in the kernel for another reason: proc(5). */
const NO_SYSTEM_CALL = '-1 ';

/** Whether a page fault of the task waits for our answer, and not a system call. */
export const isInPageFault = (pid: number): boolean =>
  contentsOf(`/proc/${pid}/syscall`)?.startsWith(NO_SYSTEM_CALL) ?? false;

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
  const stat = contentsOf(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The second field is the name in brackets; it may contain blanks and brackets itself.
  const fromState = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (field) => fromState[field - STATE];
}

const CONTENTS = Buffer.alloc(4_096);

/**
 * The text of a short file of /proc, in less than half the time of readFileSync(), which asks for
 * the size and for the end. Undefined when it cannot be read.
 */
function contentsOf(file: string): string | undefined {
  try {
    const fd = openSync(file, 'r');
    try {
      return CONTENTS.toString('latin1', 0, readSync(fd, CONTENTS));
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

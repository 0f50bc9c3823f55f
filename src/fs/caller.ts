import { readFileSync } from 'node:fs';
import type { HostTask } from '../host-task.ts';

/** Which field of /proc/PID/stat is the CPU that the task is on, counted from 1: proc(5). */
const PROCESSOR_FIELD = 39;

/** The task with this pid or tid, while it waits for our answer. */
export function caller(pid: number): HostTask {
  let cpu: number | undefined;
  return {
    cpu() {
      cpu ??= processorOf(pid);
      return cpu;
    },
  };
}

/** A task that is gone, or in a pid namespace that we cannot see, counts as on CPU 0. */
function processorOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the name in brackets; it may contain blanks and brackets itself.
    const fromThird = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fromThird[PROCESSOR_FIELD - 3] ?? 0);
  } catch {
    return 0;
  }
}

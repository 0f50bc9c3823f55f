/**
 * The host task on whose behalf something runs: who called read(2), or a kernel thread. The
 * hypervisor hears of it only as the physical CPU that it is on.
 */
export interface HostTask {
  /** The number of the CPU that the task is on at this moment, counted as the host counts. */
  cpu(): number;
  /** The CPU that the task was on a few milliseconds ago, or is on now. It is quicker to ask. */
  recentCpu(): number;
  /** Whether a signal has been sent to the task that it will die of, and it has not died yet. */
  dying(): boolean;
}

/** Kernel threads of the host, such as the one behind delayed work. */
export const KERNEL_THREAD: HostTask = {
  cpu: () => 0,
  recentCpu: () => 0,
  dying: () => false,
};

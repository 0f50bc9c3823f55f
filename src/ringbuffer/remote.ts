import type { HostTask } from '../host-task.ts';

/** One CPU's ring as the host sees it. */
export interface RemotePages {
  readonly cpu: number;
  readonly meta: number;
  readonly pages: readonly number[];
}

/** What the host asks of the ring's side; both may throw an ErrnoError. */
export interface RemoteCallbacks {
  swapReaderPage(cpu: number, task: HostTask): void;
  reset(cpu: number, task: HostTask): void;
  /** Whether a CPU is up, and how often it came up since it was first; 0 if it always was. */
  isOnline(cpu: number): boolean;
  timesUp(cpu: number): number;
}

/** The counters of per_cpu/cpuN/stats, in events, bytes and ns. */
export interface RingStats {
  readonly entries: number;
  readonly overrun: number;
  readonly bytes: number;
  readonly oldestEventTs: number;
  readonly readEvents: number;
}

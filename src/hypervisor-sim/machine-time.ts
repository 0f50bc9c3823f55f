import type { Counter } from './trace-clock.ts';

/**
 * The time of the machine's CPUs. Real time passes by itself; virtual time passes where the
 * hypervisor says what takes how long.
 */
export interface MachineTime {
  /** The CPUs' counter, of which each event's time is made. */
  readonly counter: Counter;
  /** Of so many traps one is timed, for the statistics: to read the counter takes real time. */
  readonly trapsATimedOne: number;
  /** From here on this thread is `cpu`, until `leave`. */
  enter(cpu: number): void;
  leave(): void;
  /** What the CPU does takes so many ns. */
  spend(ns: number): void;
  /**
   * The CPU comes to what only one at a time can do, and whose order shows in the trace; from
   * there on it is after all that did it before. `unlock` ends that.
   */
  lock(what: SerialWork): void;
  unlock(what: SerialWork): void;
}

export type SerialWork = 'vms' | 'mem protect' | 'ffa';

const nothing = (): void => {};

/** Time that passes by itself. */
export const realTime = (counter: Counter): MachineTime => ({
  counter,
  trapsATimedOne: 16,
  enter: nothing,
  leave: nothing,
  spend: nothing,
  lock: nothing,
  unlock: nothing,
});

/** What things take in virtual time, in ns: about what they do on a big core of today. */
export const COST_NS = {
  /** Saving the host's or a guest's registers, or restoring them. */
  contextSwitch: 120,
  hypercall: 180,
  /** The secure world's round trip. */
  smc: 1_900,
  /** A change of page tables, with its TLB invalidation. */
  pageTable: 350,
  guestInstruction: 15,
  powerDown: 25_000,
} as const;

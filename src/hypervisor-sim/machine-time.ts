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

/**
 * What things take in virtual time, in ns: about what they do on a big core of today. Nothing is
 * free. The measure is C. Dall et al., "ARM Virtualization: Performance and Architectural
 * Implications" (ISCA 2016), at 2.4 GHz: 376 cycles from a kernel to EL2 and back, without a change
 * of context; 152 and 184 to save and restore the general registers; 670 and 1,015 with EL1's system
 * registers, the timer and stage 2. What pKVM does besides is estimated from its number of instructions.
 */
export const COST_NS = {
  /** The way into the hypervisor or out of it: the exception, the general registers, mitigations. */
  contextSwitch: 120,
  /** After each entry: the syndrome register, or the firmware's answer, is read and acted on. */
  dispatch: 40,
  /** A call of the host's or a guest's: its number checked, its arguments taken out of registers. */
  hypercall: 140,
  /** Whether an SMC of the host's is one for the PSCI relay or the FF-A proxy. */
  smcFilter: 60,
  /** An instruction carried out for a host or a guest, or an exception injected in its place. */
  emulation: 60,
  /** The secure world's round trip. */
  smc: 1_900,
  /** A change of page tables, with its TLB invalidation. */
  pageTable: 350,
  /** A guest's system registers, timer and stage 2 in place of the host's, or back. */
  worldSwitch: 300,
  guestInstruction: 15,
  /** EL2's registers and MMU set up on a CPU that comes up. */
  cpuInit: 700,
  powerDown: 25_000,
} as const;

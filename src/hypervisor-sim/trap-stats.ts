import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { HYP_REASON_NAMES, type HypReason } from './hyp-events.ts';

/**
 * What a CPU did in the hypervisor, written by that CPU alone. An entry for each hypercall by its
 * number, then one for each reason to enter:
 *
 *      0 f64 calls    8 f64 errors    16 f64 cycles spent, by those that were timed
 */
const CALLS = 0;
const ERRORS = 8;
const CYCLES = 16;
const ENTRY_SIZE = 24;

/** More than the host's table has. */
export const MAX_HYPERCALLS = 64;
export const TRAP_STATS_SIZE = (MAX_HYPERCALLS + HYP_REASON_NAMES.length) * ENTRY_SIZE;

export interface TrapCount {
  readonly calls: number;
  readonly errors: number;
  /** Of the CPU's counter. */
  readonly cycles: number;
}

export class TrapStats {
  readonly #memory: SharedMemory;
  readonly #at: number;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
  }

  countHypercall(id: number, failed: boolean, cycles: number): void {
    this.#count(id, failed, cycles);
  }

  countTrap(reason: HypReason, failed: boolean, cycles: number): void {
    this.#count(MAX_HYPERCALLS + reason, failed, cycles);
  }

  hypercall(id: number): TrapCount {
    return this.#read(id);
  }

  trap(reason: HypReason): TrapCount {
    return this.#read(MAX_HYPERCALLS + reason);
  }

  #count(index: number, failed: boolean, cycles: number): void {
    const { view } = this.#memory;
    const entry = this.#at + index * ENTRY_SIZE;
    view.setFloat64(entry + CALLS, view.getFloat64(entry + CALLS, true) + 1, true);
    if (cycles > 0)
      view.setFloat64(entry + CYCLES, view.getFloat64(entry + CYCLES, true) + cycles, true);
    if (failed) view.setFloat64(entry + ERRORS, view.getFloat64(entry + ERRORS, true) + 1, true);
  }

  #read(index: number): TrapCount {
    const { view } = this.#memory;
    const entry = this.#at + index * ENTRY_SIZE;
    return {
      calls: view.getFloat64(entry + CALLS, true),
      errors: view.getFloat64(entry + ERRORS, true),
      cycles: view.getFloat64(entry + CYCLES, true),
    };
  }
}

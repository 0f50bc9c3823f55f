import type { SharedMemory } from '../ringbuffer/shared-memory.ts';

/** Reads the CPU's counter (CNTPCT_EL0), in cycles since the machine was switched on. */
export type Counter = () => number;

/** Cycles to nanoseconds: ns = ((cycles - epochCyc) * mult >> shift) + epochNs. */
export interface ClockParameters {
  readonly mult: number;
  readonly shift: number;
  readonly epochNs: bigint;
  readonly epochCyc: bigint;
}

/**
 * Two banks of parameters, and the count of updates, of which the last bit says which one counts:
 *
 *      0 u32 mult    8 u64 epochNs     24 f64 epochNs  } the same, for the fast path; a NaN where
 *      4 u32 shift  16 u64 epochCyc    32 f64 epochCyc } that path cannot be taken
 *                                      40 f64 scale, which is 2^-(shift - 16)
 *
 * Invariant: the bank that `updates` names is never written. An update fills the other bank and
 * then names it, so a reader takes all parameters of one update and never waits. Two updates must
 * not overtake one reader: the hypercall lets every event in flight commit first.
 */
const MULT = 0;
const SHIFT = 4;
const EPOCH_NS = 8;
const EPOCH_CYC = 16;
const FAST_EPOCH_NS = 24;
const FAST_EPOCH_CYC = 32;
const FAST_SCALE = 40;
const BANK_SIZE = 48;
const UPDATES = 2 * BANK_SIZE;
export const TRACE_CLOCK_SIZE = UPDATES + 8;

const HALF = 2 ** 16;
/** Below this many cycles the fast path's products fit in the 53 bits of a double. */
const FAST_CYCLES = 2 ** 36;
const MIN_FAST_SHIFT = 16;
const MAX_FAST_SHIFT = 32;

/** The hypervisor's copy of the host's boot clock, read by every pCPU and set by the host. */
export class TraceClock {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #counter: Counter;
  /** The bank that counts, as of the last look, and what of it the fast path takes. */
  #updates = 0;
  #epochNs = 0;
  #epochCyc = Number.NaN;
  #mult = 0;
  #scale = 0;
  #ratio = 0;
  #isWhole = false;

  constructor(memory: SharedMemory, at: number, counter: Counter) {
    this.#memory = memory;
    this.#at = at;
    this.#counter = counter;
  }

  update({ mult, shift, epochNs, epochCyc }: ClockParameters): void {
    const updates = this.#memory.load(this.#at + UPDATES) + 1;
    const bank = this.#bankOf(updates);
    const { view } = this.#memory;
    view.setUint32(bank + MULT, mult, true);
    view.setUint32(bank + SHIFT, shift, true);
    view.setBigUint64(bank + EPOCH_NS, epochNs, true);
    view.setBigUint64(bank + EPOCH_CYC, epochCyc, true);
    const fast =
      shift >= MIN_FAST_SHIFT && shift <= MAX_FAST_SHIFT && isSafe(epochNs) && isSafe(epochCyc);
    view.setFloat64(bank + FAST_EPOCH_NS, Number(epochNs), true);
    view.setFloat64(bank + FAST_EPOCH_CYC, fast ? Number(epochCyc) : Number.NaN, true);
    view.setFloat64(bank + FAST_SCALE, 2 ** (MIN_FAST_SHIFT - shift), true);
    this.#memory.store(this.#at + UPDATES, updates);
  }

  /**
   * The time in ns; 0 until the first update. Exact up to 2^53 ns, 104 days after the host's
   * boot; from there on the nearest that a double can hold, in steps of 2 ns, then 4.
   */
  now(): number {
    if (this.#memory.readOnce(this.#at + UPDATES) !== this.#updates) this.#look();
    const cycles = this.#counter();
    const elapsed = cycles - this.#epochCyc;
    // The product has up to 68 bits, so it is rounded. But no rounding goes past a whole number; so
    // unless it has come to one, what is left of the point is right.
    const product = elapsed * this.#ratio;
    const ns = Math.floor(product);
    const isRight = product > ns || this.#isWhole;
    if (elapsed >= 0 && elapsed < FAST_CYCLES && isRight) return ns + this.#epochNs;
    return this.#slowly(cycles);
  }

  /** What the fast path cannot say: a product that was rounded, or parameters that it is not for. */
  #slowly(cycles: number): number {
    const elapsed = cycles - this.#epochCyc;
    if (elapsed >= 0 && elapsed < FAST_CYCLES) return this.#inHalves(elapsed) + this.#epochNs;
    return this.#exactly(cycles);
  }

  /** Multiplies the halves of `elapsed`, each product below 2^53: exact, and a little slower. */
  #inHalves(elapsed: number): number {
    const high = Math.floor(elapsed / HALF);
    const low = elapsed - high * HALF;
    // What the low product's last 16 bits say is shifted out anyway.
    const product = high * this.#mult + Math.floor((low * this.#mult) / HALF);
    return Math.floor(product * this.#scale);
  }

  /** Reads the bank that counts now, once for each update. */
  #look(): void {
    const updates = this.#memory.load(this.#at + UPDATES);
    const bank = this.#bankOf(updates);
    const { view } = this.#memory;
    this.#updates = updates;
    this.#epochNs = view.getFloat64(bank + FAST_EPOCH_NS, true);
    this.#epochCyc = view.getFloat64(bank + FAST_EPOCH_CYC, true);
    this.#mult = view.getUint32(bank + MULT, true);
    this.#scale = view.getFloat64(bank + FAST_SCALE, true);
    this.#ratio = (this.#mult * this.#scale) / HALF;
    this.#isWhole = Number.isInteger(this.#ratio); // Then nothing is rounded.
  }

  #bankOf(updates: number): number {
    return this.#at + (updates & 1) * BANK_SIZE;
  }

  /** Any parameters, as the u64 arithmetic of the hypervisor has it. */
  #exactly(cycles: number): number {
    const bank = this.#bankOf(this.#updates);
    const { view } = this.#memory;
    return Number(
      cyclesToNs(BigInt(cycles), {
        mult: view.getUint32(bank + MULT, true),
        shift: view.getUint32(bank + SHIFT, true),
        epochNs: view.getBigUint64(bank + EPOCH_NS, true),
        epochCyc: view.getBigUint64(bank + EPOCH_CYC, true),
      }),
    );
  }
}

/** The definition: a product of 128 bits that does not wrap, and a sum of 64 bits that does. */
export function cyclesToNs(cycles: bigint, clock: ClockParameters): bigint {
  const elapsed = BigInt.asUintN(64, cycles - clock.epochCyc);
  const ns = (elapsed * BigInt(clock.mult)) >> BigInt(clock.shift);
  return BigInt.asUintN(64, ns + clock.epochNs);
}

const isSafe = (value: bigint): boolean => value <= BigInt(Number.MAX_SAFE_INTEGER);

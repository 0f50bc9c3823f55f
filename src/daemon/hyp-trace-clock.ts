import { Deferred } from '../deferred.ts';
import type { StartingClock } from '../fs/trace-remote.ts';
import { type ClockParameters, cyclesToNs } from '../hypervisor-sim/trace-clock.ts';
import { NS_PER_MS, NS_PER_S } from '../units.ts';

/** The counter and CLOCK_BOOTTIME of one moment: struct system_time_snapshot. */
export interface Snapshot {
  readonly cycles: bigint;
  readonly bootNs: bigint;
}

export interface HypTraceClockHost {
  snapshot(): Snapshot;
  /** The counter's frequency, where it is known; it is not measured then, which takes no time. */
  readonly exactHz: bigint | undefined;
  /** Makes the hypercall. */
  update(parameters: ClockParameters): void;
  warn(message: string): void;
}

const INIT_MS = 100;
const POLL_MS = 500;
const MAX_CONVERSION_S = 600n;
const MAX_ERROR_NS = 1_000n;
const U64_MAX = 2n ** 64n - 1n;
const HZ = BigInt(NS_PER_S);

/**
 * Keeps the hypervisor's clock on the host's boot clock while tracing is on: measures the counter
 * against it for 100 ms, sends the result, and from then on checks and corrects it twice a
 * second. The kernel's hyp_trace_clock.
 */
export function startHypTraceClock(host: HypTraceClockHost): StartingClock {
  return host.exactHz === undefined ? measuredClock(host) : exactClock(host, host.exactHz);
}

function exactClock(host: HypTraceClockHost, hz: bigint): StartingClock {
  const { bootNs, cycles } = host.snapshot();
  host.update({ ...multShift(hz), epochNs: bootNs, epochCyc: cycles });
  return { calibrated: Promise.resolve(), stop: () => {} };
}

function measuredClock(host: HypTraceClockHost): StartingClock {
  let epoch = host.snapshot();
  const started = epoch;
  let rate: { mult: number; shift: number } | undefined;
  let timer: NodeJS.Timeout | undefined;
  const calibrated = new Deferred();

  function work(): void {
    const now = host.snapshot();
    const early = INIT_MS - Number(now.bootNs - started.bootNs) / NS_PER_MS;
    if (early > 0) {
      timer = setTimeout(work, Math.ceil(early)); // A timer of Node's may be a little too quick.
      return;
    }
    try {
      adjust(now);
      calibrated.resolve();
      timer = setTimeout(work, POLL_MS);
    } catch (error) {
      calibrated.reject(error);
    }
  }

  function adjust(now: Snapshot): void {
    const error = rate === undefined ? undefined : errorOf(now, epoch, rate);
    if (rate !== undefined && error === 0n) {
      if (now.cycles - epoch.cycles < maxCycles(rate.mult)) return;
    } else {
      if (error !== undefined && error > MAX_ERROR_NS)
        host.warn(`hyp trace clock off by ${error / 1_000n}us`);
      rate = rateBetween(epoch, now);
    }
    epoch = now;
    host.update({ ...rate, epochNs: now.bootNs, epochCyc: now.cycles });
  }

  timer = setTimeout(work, INIT_MS);
  calibrated.promise.catch(() => {}); // Whoever awaits it hears; after a stop nobody does.
  return { calibrated: calibrated.promise, stop: () => clearTimeout(timer) };
}

function errorOf(now: Snapshot, epoch: Snapshot, rate: { mult: number; shift: number }): bigint {
  const predicted = cyclesToNs(now.cycles, {
    ...rate,
    epochNs: epoch.bootNs,
    epochCyc: epoch.cycles,
  });
  return predicted > now.bootNs ? predicted - now.bootNs : now.bootNs - predicted;
}

/** From here on the epoch moves even if the clock is right. */
const maxCycles = (mult: number): bigint => U64_MAX / BigInt(mult) / 2n;

function rateBetween(from: Snapshot, to: Snapshot): { mult: number; shift: number } {
  const hz = ((to.cycles - from.cycles) * HZ) / (to.bootNs - from.bootNs);
  return multShift(hz);
}

/**
 * clocks_calc_mult_shift() from `hz` to ns: the largest shift, and with it the best precision,
 * with which 600 s of cycles still fit into 64 bits.
 */
export function multShift(hz: bigint): { mult: number; shift: number } {
  let accuracy = 32n;
  for (let excess = (MAX_CONVERSION_S * hz) >> 32n; excess !== 0n; excess >>= 1n) accuracy--;
  for (let shift = 32n; shift > 1n; shift--) {
    const mult = ((HZ << shift) + hz / 2n) / hz;
    if (mult >> accuracy === 0n) return { mult: Number(mult), shift: Number(shift) };
  }
  return { mult: Number(((HZ << 1n) + hz / 2n) / hz), shift: 1 };
}

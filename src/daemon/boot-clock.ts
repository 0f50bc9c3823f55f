import { readFileSync } from 'node:fs';
import { monotonicNs } from '../hypervisor-sim/counter.ts';
import { NS_PER_MS, NS_PER_S } from '../units.ts';

/** /proc/uptime counts CLOCK_BOOTTIME in hundredths of a second. */
const UPTIME_TICK_NS = 10 * NS_PER_MS;
/** More than a tick off: the machine was suspended since the last look. */
const TOLERANCE_NS = 2 * UPTIME_TICK_NS;
/** No suspend is this short; a machine that was never suspended has an offset of exactly 0. */
const MIN_SUSPEND_NS = NS_PER_MS;

/**
 * The host's CLOCK_BOOTTIME, which Node does not read: CLOCK_MONOTONIC plus all the time that the
 * machine was suspended. That changes only with a suspend, and then by a lot.
 */
export class BootClock {
  #offsetNs = 0;

  /** In ns. */
  now(): number {
    return this.at(monotonicNs());
  }

  /** The time when CLOCK_MONOTONIC was `monotonic`. */
  at(monotonic: number): number {
    return monotonic + this.#offsetNs;
  }

  /** Takes note of a suspend since the last call. */
  resync(): void {
    if (Math.abs(readUptimeNs() - this.now()) > TOLERANCE_NS) this.#offsetNs = measureOffset();
  }
}

function readUptimeNs(): number {
  const [uptime = '0'] = readFileSync('/proc/uptime', 'latin1').split(' ');
  return Number(uptime) * NS_PER_S;
}

/** Waits for the next tick of /proc/uptime, 10 ms at most: its value is exact just then. */
function measureOffset(): number {
  const first = readUptimeNs();
  let uptime = first;
  while (uptime === first) uptime = readUptimeNs();
  const offset = uptime - monotonicNs();
  return Math.abs(offset) < MIN_SUSPEND_NS ? 0 : offset;
}

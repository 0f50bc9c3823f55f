import { hrtime } from 'node:process';
import { NS_PER_S } from '../units.ts';
import type { Counter } from './trace-clock.ts';

/**
 * CLOCK_MONOTONIC in ns, the same on all threads. Of Node's clocks hrtime.bigint() allocates, and
 * performance.now() counts from the start of its thread; all of them take about as long.
 */
export function monotonicNs(): number {
  const time = hrtime();
  return time[0] * NS_PER_S + time[1];
}

/** A counter of `hz` that was switched on at `switchedOnNs` of CLOCK_MONOTONIC. */
export function systemCounter(hz: number, switchedOnNs: number): Counter {
  const cyclesPerNs = hz / NS_PER_S;
  return () => Math.floor((monotonicNs() - switchedOnNs) * cyclesPerNs);
}

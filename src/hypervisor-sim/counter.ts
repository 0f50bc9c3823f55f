import { hrtime } from 'node:process';
import { NS_PER_MS, NS_PER_S } from '../units.ts';
import type { Counter } from './trace-clock.ts';

const CALIBRATION_ROUNDS = 100;

/**
 * performance.now() is CLOCK_MONOTONIC less the moment when its thread started. It needs no
 * BigInt, so we read that, and add the moment: measured between two readings of the absolute
 * clock, as close together as they get.
 */
const THREAD_START_NS = measureThreadStart();

function measureThreadStart(): number {
  let tightest = Number.POSITIVE_INFINITY;
  let start = 0;
  for (let round = 0; round < CALIBRATION_ROUNDS; round++) {
    const before = Number(hrtime.bigint());
    const now = performance.now() * NS_PER_MS;
    const after = Number(hrtime.bigint());
    if (after - before >= tightest) continue;
    tightest = after - before;
    start = (before + after) / 2 - now;
  }
  return start;
}

/** CLOCK_MONOTONIC in ns; threads agree on it to a fraction of a microsecond. */
export function monotonicNs(): number {
  return performance.now() * NS_PER_MS + THREAD_START_NS;
}

/** A counter of `hz` that was switched on at `switchedOnNs` of CLOCK_MONOTONIC. */
export function systemCounter(hz: number, switchedOnNs: number): Counter {
  const cyclesPerNs = hz / NS_PER_S;
  return () => Math.floor((monotonicNs() - switchedOnNs) * cyclesPerNs);
}

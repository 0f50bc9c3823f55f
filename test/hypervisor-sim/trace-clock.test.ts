import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { multShift } from '../../src/daemon/hyp-trace-clock.ts';
import { cyclesToNs, TRACE_CLOCK_SIZE, TraceClock } from '../../src/hypervisor-sim/trace-clock.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';

function clockAt(cycles: number): { clock: TraceClock; set: (cycles: number) => void } {
  let now = cycles;
  const memory = new SharedMemory(new SharedArrayBuffer(TRACE_CLOCK_SIZE));
  const clock = new TraceClock(memory, 0, () => now);
  return {
    clock,
    set: (value) => {
      now = value;
    },
  };
}

/** What times `odd` is -1, but for a multiple of 2^32. */
function minusInverse(odd: bigint): bigint {
  let inverse = odd; // Right in its last three bits, and in twice as many after each step.
  for (let bits = 3; bits < 32; bits *= 2) inverse *= 2n - odd * inverse;
  return BigInt.asUintN(32, -inverse);
}

describe('the hypervisor’s clock', () => {
  test('is at 0 before it was ever set', () => {
    expect(clockAt(123_456).clock.now()).toBe(0);
  });

  // The fast path works in doubles; the definition, in whole numbers without limit.
  test('agrees with exact arithmetic, for any parameters and any counter', () => {
    const u32 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map(Number);
    const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const near = fc.bigInt({ min: 0n, max: 2n ** 52n });
    fc.assert(
      fc.property(
        fc.record({
          mult: u32,
          shift: fc.oneof(fc.integer({ min: 0, max: 40 }), u32),
          epochNs: fc.oneof(near, u64),
          epochCyc: fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 38n }), near, u64),
        }),
        fc.integer({ min: 0, max: 2 ** 52 }),
        fc.boolean(),
        (parameters, cycles, closeToEpoch) => {
          const counter = closeToEpoch
            ? Number(BigInt.asUintN(52, parameters.epochCyc)) + (cycles % 2 ** 37)
            : cycles;
          const { clock } = clockAt(counter);
          clock.update(parameters);
          expect(clock.now()).toBe(Number(cyclesToNs(BigInt(counter), parameters)));
        },
      ),
      { numRuns: 5000 },
    );
  });

  // In doubles the product is that whole number.
  test('does not round a product up that is a hair below a whole number', () => {
    const odd = fc.integer({ min: 2 ** 24, max: 2 ** 31 - 1 }).map((half) => 2 * half + 1);
    fc.assert(
      fc.property(odd, fc.integer({ min: 1, max: 15 }), (mult, high) => {
        const cycles = high * 2 ** 32 + Number(minusInverse(BigInt(mult)));
        const { clock } = clockAt(cycles);
        const parameters = { mult, shift: 32, epochNs: 0n, epochCyc: 0n };
        clock.update(parameters);
        expect(((cycles * mult) / 2 ** 32) % 1).toBe(0);
        expect(clock.now()).toBe(Number(cyclesToNs(BigInt(cycles), parameters)));
      }),
    );
  });

  test('takes all its parameters from one update', () => {
    const { clock, set } = clockAt(1_000);
    clock.update({ mult: 2 ** 24, shift: 24, epochNs: 5_000n, epochCyc: 0n });
    expect(clock.now()).toBe(6_000);
    clock.update({ mult: 2 ** 25, shift: 24, epochNs: 100n, epochCyc: 1_000n });
    expect(clock.now()).toBe(100);
    set(1_500);
    expect(clock.now()).toBe(1_100);
  });

  test('does not overflow where 64 bits do', () => {
    const { clock } = clockAt(2 ** 50);
    const parameters = { mult: 2 ** 32 - 1, shift: 32, epochNs: 0n, epochCyc: 0n };
    clock.update(parameters);
    expect(clock.now()).toBe(Number((2n ** 50n * (2n ** 32n - 1n)) >> 32n));
  });
});

// Arm's usual frequencies, and what the kernel computes for them.
test.each([
  { hz: 19_200_000n, mult: 873_813_333, shift: 24 },
  { hz: 24_000_000n, mult: 699_050_667, shift: 24 },
  { hz: 62_500_000n, mult: 134_217_728, shift: 23 },
  { hz: 100_000_000n, mult: 167_772_160, shift: 24 },
  { hz: 1_000_000_000n, mult: 8_388_608, shift: 23 },
])('a counter of $hz Hz gives mult $mult and shift $shift', ({ hz, mult, shift }) => {
  expect(multShift(hz)).toEqual({ mult, shift });
});

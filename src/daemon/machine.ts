import { ErrnoError } from '../errno.ts';
import { PageAllocator } from '../host-sim/page-allocator.ts';
import type { Scenario } from '../host-sim/scenario.ts';
import { VirtualTime } from '../host-sim/virtual-time.ts';
import { monotonicNs, systemCounter } from '../hypervisor-sim/counter.ts';
import { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { allocateMachine, type MachineBuffers } from '../hypervisor-sim/machine-memory.ts';
import { realTime } from '../hypervisor-sim/machine-time.ts';
import { MIB, NS_PER_S } from '../units.ts';
import { BootClock } from './boot-clock.ts';
import { EXIT, ExitError } from './exit-code.ts';
import type { HypTraceHost } from './hyp-trace.ts';

export interface MachineOptions {
  readonly cpus: number;
  readonly memoryMib: number;
  readonly counterHz: number;
}

/** A machine and the host that was booted on it. */
export interface Machine extends HypTraceHost {
  readonly buffers: MachineBuffers;
  readonly counterHz: number;
}

/** In real time: when its counter was 0, in ns of CLOCK_MONOTONIC. */
export interface RealMachine extends Machine {
  readonly switchedOnNs: number;
}

export interface VirtualMachine extends Machine {
  readonly time: VirtualTime;
}

/** By how much the clocks of two CPUs may differ: each thread has measured its own. */
const CLOCK_SKEW_NS = 1_000;

export function switchOn(
  options: MachineOptions,
  scenario: Scenario,
  warn: (message: string) => void,
): RealMachine {
  const { buffers, counterHz } = powered(options);
  const switchedOnNs = monotonicNs();
  const counter = systemCounter(counterHz, switchedOnNs);
  const clock = new BootClock();
  return {
    ...booted(buffers, new Hypervisor(buffers, realTime(counter)), scenario),
    counterHz,
    switchedOnNs,
    warn,
    clockSkewNs: CLOCK_SKEW_NS,
    now: () => clock.now(),
    snapshot() {
      clock.resync();
      // Both from one reading of the same clock, as if the counter stood still meanwhile.
      const cycles = counter();
      const elapsedNs = (cycles / counterHz) * NS_PER_S;
      return {
        cycles: BigInt(cycles),
        bootNs: BigInt(Math.round(clock.at(switchedOnNs + elapsedNs))),
      };
    },
  };
}

/** The same in virtual time, whose boot clock starts at 0. */
export function switchOnVirtual(options: MachineOptions, scenario: Scenario): VirtualMachine {
  const { buffers, counterHz } = powered(options);
  const time = new VirtualTime(options.cpus, counterHz);
  return {
    ...booted(buffers, new Hypervisor(buffers, time), scenario),
    counterHz,
    time,
    warn: () => {}, // Its clock cannot be off.
    unseen: true,
    clockSkewNs: 0,
    exactHz: BigInt(counterHz),
    now: () => time.now,
    snapshot: () => ({ cycles: BigInt(time.counter()), bootNs: BigInt(time.now) }),
  };
}

function powered({ cpus, memoryMib, counterHz }: MachineOptions) {
  return { buffers: allocateMachine(cpus, memoryMib * MIB), counterHz };
}

function booted(buffers: MachineBuffers, hypervisor: Hypervisor, { offline }: Scenario) {
  for (const cpu of offline) if (cpu < buffers.nrCpus) hypervisor.leaveOff(cpu);
  return { buffers, hypervisor, pages: new PageAllocator(hypervisor.machine.ram.nrPages) };
}

/** What becomes of an error of a scenario that did not fit on the machine. @throws always. */
export function tooSmall(error: unknown): never {
  if (!(error instanceof ErrnoError)) throw error;
  throw new ExitError(EXIT.UNAVAILABLE, `the machine has too little --memory (${error.message})`);
}

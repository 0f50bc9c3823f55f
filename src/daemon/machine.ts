import { monotonicNs, systemCounter } from '../hypervisor-sim/counter.ts';
import { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { allocateMachine, type MachineBuffers } from '../hypervisor-sim/machine-memory.ts';
import { PageAllocator } from '../hypervisor-sim/page-allocator.ts';
import { MIB, NS_PER_S, PAGE_SIZE } from '../units.ts';
import { BootClock } from './boot-clock.ts';
import type { HypTraceHost } from './hyp-trace.ts';

export interface MachineOptions {
  readonly cpus: number;
  readonly memoryMib: number;
  readonly counterHz: number;
}

/** A machine in real time: its memory, its counter, and the host that was booted on it. */
export interface Machine extends HypTraceHost {
  readonly buffers: MachineBuffers;
  readonly switchedOnNs: number;
  /** A page of the host's for each CPU's workload. */
  readonly workloadPages: readonly number[];
}

export function switchOn(options: MachineOptions, warn: (message: string) => void): Machine {
  const buffers = allocateMachine(options.cpus, options.memoryMib * MIB);
  const switchedOnNs = monotonicNs();
  const counter = systemCounter(options.counterHz, switchedOnNs);
  const hypervisor = new Hypervisor(buffers, counter);
  const pages = new PageAllocator(hypervisor.machine.ram.nrPages);
  const clock = new BootClock();
  return {
    buffers,
    switchedOnNs,
    hypervisor,
    pages,
    workloadPages: Array.from({ length: options.cpus }, () => pages.alloc(PAGE_SIZE)),
    warn,
    now: () => clock.now(),
    snapshot() {
      clock.resync();
      // Both from one reading of the same clock, as if the counter stood still meanwhile.
      const cycles = counter();
      const elapsedNs = (cycles / options.counterHz) * NS_PER_S;
      return {
        cycles: BigInt(cycles),
        bootNs: BigInt(Math.round(clock.at(switchedOnNs + elapsedNs))),
      };
    },
  };
}

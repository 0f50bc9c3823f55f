import type { Instruction } from '../hypervisor-sim/guest-program.ts';
import type { HypercallName } from '../hypervisor-sim/hypercalls.ts';

/** One thing that a host's task does; times in ns. docs/scenarios.md says what each is. */
export type Step =
  | { readonly do: 'share_hyp' | 'ffa_share'; readonly pages: number }
  | { readonly do: 'hvc'; readonly call: HypercallName | number; readonly args: readonly number[] }
  | { readonly do: 'smc'; readonly id: number; readonly args: readonly number[] }
  | { readonly do: 'touch'; readonly what: 'ram' | 'mmio' | 'hypervisor' }
  | { readonly do: 'sysreg' }
  | { readonly do: 'run_vm'; readonly guest: string }
  | { readonly do: 'suspend'; readonly depth: 'standby' | 'power_down'; readonly ns: number }
  | { readonly do: 'cpu_on' | 'cpu_off'; readonly cpu: number }
  | { readonly do: 'sleep'; readonly ns: number }
  | { readonly do: 'repeat'; readonly times: number; readonly steps: readonly Step[] }
  | { readonly do: 'any'; readonly choices: readonly Choice[] };

/** One of several steps, as likely as its weight is among all of them. */
export interface Choice {
  readonly weight: number;
  readonly step: Step;
}

/** A task of the host's kernel, on each CPU that it names. */
export interface HostTaskPlan {
  readonly cpus: 'all' | readonly number[];
  /** How often it does all its steps; infinity for as long as the machine is on. */
  readonly times: number;
  readonly steps: readonly Step[];
}

/** A kind of VM. */
export interface Guest {
  readonly isProtected: boolean;
  readonly vcpus: number;
  /** What is in its memory from GUEST_RAM on, a page at least for each of its programs. */
  readonly image: readonly Instruction[];
  /** How many pages it comes to use at the most. */
  readonly pages: number;
}

/** A workload, as it crosses to the threads of the CPUs. */
export interface Scenario {
  readonly name: string;
  readonly description: string;
  /** How many CPUs the machine has, unless its owner says otherwise. */
  readonly cpus: number | undefined;
  /** Events a second that each CPU's tasks are worth; infinity for as fast as it goes. */
  readonly rate: number;
  /** CPUs that are off when the machine is switched on. */
  readonly offline: readonly number[];
  readonly guests: Readonly<Record<string, Guest>>;
  readonly tasks: readonly HostTaskPlan[];
}

export const runsOn = ({ cpus }: HostTaskPlan, cpu: number): boolean =>
  cpus === 'all' || cpus.includes(cpu);

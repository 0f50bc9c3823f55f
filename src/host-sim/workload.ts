import { defined } from '../assert.ts';
import { HYP_VCPU_PAGES, HYP_VM_PAGES, PGD_PAGES } from '../hypervisor-sim/host-structs.ts';
import { PAGE_SIZE } from '../units.ts';
import type { PageAllocator } from './page-allocator.ts';
import { runsOn, type Scenario, type Step } from './scenario.ts';

/** What the host's CPUs do all by themselves: a scenario, in real or in virtual time. */
export interface Workload {
  /** Events a second that each CPU's tasks are worth. */
  rate: number;
  /**
   * Ends what runs now, which gives back all that it has, and starts `scenario`.
   *
   * @throws ErrnoError ENOMEM when the host has not enough memory for it; then nothing runs.
   */
  run(scenario: Scenario, seed: number): Promise<void>;
  /** Ends what runs now. */
  windDown(): Promise<void>;
}

/** The host's pages for the tasks of one CPU. */
export interface Pool {
  readonly base: number;
  readonly nrPages: number;
}

/** Beyond what a CPU's tasks need: what is free of a pool need not be in one piece. */
const SPARE_PAGES = 4;

/** How many pages a CPU's tasks have in use at the most. */
export function pagesNeeded(scenario: Scenario, cpu: number): number {
  const plans = scenario.tasks.filter((plan) => runsOn(plan, cpu));
  const needed = plans.map(({ steps }) =>
    Math.max(...steps.map((step) => pagesOf(scenario, step))),
  );
  return needed.reduce((sum, pages) => sum + pages, SPARE_PAGES);
}

function pagesOf(scenario: Scenario, step: Step): number {
  switch (step.do) {
    case 'share_hyp':
      return step.pages;
    case 'ffa_share':
      return step.pages + 2; // And the mailbox.
    case 'run_vm': {
      const { vcpus, pages } = defined(scenario.guests[step.guest], `guest ${step.guest}`);
      return 1 + HYP_VM_PAGES + PGD_PAGES + vcpus * (1 + HYP_VCPU_PAGES) + pages;
    }
    case 'repeat':
      return Math.max(...step.steps.map((inner) => pagesOf(scenario, inner)), 0);
    case 'any':
      return Math.max(...step.choices.map(({ step: choice }) => pagesOf(scenario, choice)));
    default:
      return 0;
  }
}

/** Takes the pages that a scenario needs on each CPU; all of them or none. */
export function allocatePools(pages: PageAllocator, scenario: Scenario, nrCpus: number): Pool[] {
  const pools: Pool[] = [];
  try {
    for (let cpu = 0; cpu < nrCpus; cpu++) {
      const nrPages = pagesNeeded(scenario, cpu);
      pools.push({ base: pages.alloc(nrPages * PAGE_SIZE), nrPages });
    }
    return pools;
  } catch (error) {
    freePools(pages, pools);
    throw error;
  }
}

export function freePools(pages: PageAllocator, pools: readonly Pool[]): void {
  for (const { base, nrPages } of pools) pages.free(base, nrPages * PAGE_SIZE);
}

import { HYPERCALLS } from './hypercalls.ts';
import type { Hypervisor } from './hypervisor.ts';
import { pfnOf } from './memory.ts';
import { Prng } from './prng.ts';

/** Of 100 traps of an idling host, so many are SMCs and so many stage-2 aborts; the rest HVCs. */
const SMC_PERCENT = 10;
const ABORT_PERCENT = 20;

/**
 * What a host does on one CPU all by itself: it shares a page with the hypervisor and takes it
 * back, calls the firmware, and touches memory for the first time.
 */
export class Workload {
  readonly #hypervisor: Hypervisor;
  readonly #cpu: number;
  readonly #pfn: number;
  readonly #prng: Prng;
  #shared = false;

  /** `page` is a page of the host's, for this workload alone. */
  constructor(hypervisor: Hypervisor, cpu: number, page: number, seed: number) {
    this.#hypervisor = hypervisor;
    this.#cpu = cpu;
    this.#pfn = pfnOf(page);
    this.#prng = new Prng(seed + cpu);
  }

  /** Makes one trap. Returns how many events it is worth when all are enabled. */
  step(): number {
    const dice = this.#prng.below(100);
    if (dice < SMC_PERCENT) {
      this.#hypervisor.smc(this.#cpu);
      return 4;
    }
    if (dice < SMC_PERCENT + ABORT_PERCENT) this.#hypervisor.hostMemAbort(this.#cpu);
    else this.#toggleShare();
    return 2;
  }

  #toggleShare(): void {
    const { id } = this.#shared
      ? HYPERCALLS.__pkvm_host_unshare_hyp
      : HYPERCALLS.__pkvm_host_share_hyp;
    this.#hypervisor.hvc(this.#cpu, id, this.#pfn, 1);
    this.#shared = !this.#shared;
  }
}

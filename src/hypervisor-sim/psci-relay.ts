import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { type SmcResult, smcResult } from './firmware.ts';
import type { HypCpu } from './hyp-cpu.ts';
import { HYP_REASON, psciMemProtect } from './hyp-events.ts';
import { COST_NS } from './machine-time.ts';
import { POWER_ON } from './pcpu.ts';
import { PSCI_NOT_SUPPORTED, PSCI_POWER_DOWN, SMC_FUNCTIONS } from './smccc.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/**
 * The hypervisor between the host and PSCI, so that it comes first wherever a CPU comes up: the
 * kernel's nvhe/psci-relay.c. Undefined when the CPU powered down and nothing returns to the host.
 */
export function hostPsciCall(
  hyp: HypCpu,
  id: number,
  x1: number,
  x2: number,
): SmcResult | undefined {
  switch (id) {
    case SMC_FUNCTIONS.PSCI_CPU_OFF:
    case SMC_FUNCTIONS.PSCI_SYSTEM_SUSPEND:
      return powerDown(hyp, id, x1);
    case SMC_FUNCTIONS.PSCI_CPU_SUSPEND:
      // Without the loss of its state a CPU just waits, and goes on where it was.
      return (x1 & PSCI_POWER_DOWN) === 0 ? hyp.smc(id, x1) : powerDown(hyp, id, x1);
    case SMC_FUNCTIONS.PSCI_VERSION:
    case SMC_FUNCTIONS.PSCI_CPU_ON:
    case SMC_FUNCTIONS.PSCI_AFFINITY_INFO:
    case SMC_FUNCTIONS.PSCI_MIGRATE_INFO_TYPE:
    case SMC_FUNCTIONS.PSCI_FEATURES:
      return hyp.smc(id, x1, x2);
    default: // SYSTEM_OFF and the like too: a simulated host cannot switch its machine off.
      return smcResult(PSCI_NOT_SUPPORTED);
  }
}

/** Leaves for the firmware, and comes back only if the firmware refuses. */
function powerDown(hyp: HypCpu, id: number, x1: number): SmcResult | undefined {
  hyp.exit(HYP_REASON.smc);
  const refusal = hyp.firmware.call(hyp.cpu, id, x1);
  if (hyp.pcpu.power !== POWER_ON) {
    hyp.time.spend(COST_NS.powerDown);
    return undefined;
  }
  hyp.time.spend(COST_NS.smc);
  hyp.enter(HYP_REASON.smc);
  return refusal;
}

/** A CPU comes up, switched on or resumed: the firmware starts it in the hypervisor. */
export function psciCpuEntry(hyp: HypCpu): void {
  hyp.pcpu.enterByPsci();
  hyp.enter(HYP_REASON.psci);
  hyp.time.spend(COST_NS.cpuInit);
  hyp.printk('cpu %llu is up', hyp.cpu);
  hyp.exit(HYP_REASON.psci);
}

const COUNT = TICKET_LOCK_SIZE;
export const MEM_PROTECT_SIZE = COUNT + 8;

/** How many pages hold guests' secrets: with the first one, the firmware wipes RAM at a reset. */
export class MemProtect {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #lock: TicketLock;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
    this.#lock = new TicketLock(memory, at);
  }

  get count(): number {
    return this.#memory.load(this.#at + COUNT);
  }

  change(hyp: HypCpu, pages: number): void {
    this.#lock.with(() => hyp.serially('mem protect', () => this.#change(hyp, pages)));
  }

  #change(hyp: HypCpu, pages: number): void {
    const was = this.count;
    const count = was + pages;
    if (was === 0 || count === 0) hyp.smc(SMC_FUNCTIONS.PSCI_MEM_PROTECT, pages < 0 ? 0 : 1);
    hyp.emit(psciMemProtect, count, was);
    this.#memory.store(this.#at + COUNT, count);
  }
}

import { ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import { isGuestDevice, isGuestRam } from './guest-program.ts';
import { EXIT_CPU_OFF, EXIT_CPU_ON, EXIT_SYSTEM_OFF } from './host-structs.ts';
import type { HypCpu } from './hyp-cpu.ts';
import { COST_NS } from './machine-time.ts';
import {
  AFFINITY_OFF,
  AFFINITY_ON,
  GUEST_FUNCTIONS,
  PSCI_ALREADY_ON,
  PSCI_INVALID_PARAMETERS,
  PSCI_NOT_SUPPORTED,
  PSCI_SUCCESS,
  PSCI_VERSION_1_1,
  SMCCC_RET_INVALID_PARAMETER,
  SMCCC_RET_NOT_SUPPORTED,
  SMCCC_RET_SUCCESS,
} from './smccc.ts';
import type { LoadedVcpu } from './vm-table.ts';

/** A call of the guest's that the host must hear of: the vCPU's run ends with it. */
export interface GuestExit {
  readonly exit: typeof EXIT_CPU_ON | typeof EXIT_CPU_OFF | typeof EXIT_SYSTEM_OFF;
  /** The vCPU that is meant, for EXIT_CPU_ON. */
  readonly target: number;
}

const KNOWN = new Set<number>(Object.values(GUEST_FUNCTIONS));

/**
 * HVC of a guest: PSCI, and KVM's vendor services for protected guests. Answers in x0, or gives
 * the exit to the host. Only a protected guest has secrets to guard, so memory and MMIO calls
 * are not there for others.
 */
export function guestHypercall(
  hyp: HypCpu,
  { vm, vcpu }: LoadedVcpu,
  id: number,
  x1: number,
  x2: number,
): number | GuestExit {
  switch (id) {
    case GUEST_FUNCTIONS.PSCI_VERSION:
      return PSCI_VERSION_1_1;
    case GUEST_FUNCTIONS.PSCI_FEATURES:
      return KNOWN.has(x1) ? PSCI_SUCCESS : PSCI_NOT_SUPPORTED;
    case GUEST_FUNCTIONS.PSCI_AFFINITY_INFO: {
      const target = vm.vcpu(x1);
      if (!target) return PSCI_INVALID_PARAMETERS;
      return target.isOn ? AFFINITY_ON : AFFINITY_OFF;
    }
    case GUEST_FUNCTIONS.PSCI_CPU_ON: {
      const target = vm.vcpu(x1);
      if (!target || !isGuestRam(x2)) return PSCI_INVALID_PARAMETERS;
      if (target.isOn) return PSCI_ALREADY_ON;
      target.powerOn(x2);
      return { exit: EXIT_CPU_ON, target: x1 };
    }
    case GUEST_FUNCTIONS.PSCI_CPU_OFF:
      vcpu.powerOff();
      return { exit: EXIT_CPU_OFF, target: 0 };
    case GUEST_FUNCTIONS.PSCI_SYSTEM_OFF:
    case GUEST_FUNCTIONS.PSCI_SYSTEM_RESET:
      for (const each of vm.vcpus) each.powerOff();
      return { exit: EXIT_SYSTEM_OFF, target: 0 };
    case GUEST_FUNCTIONS.PSCI_CPU_SUSPEND:
      return PSCI_SUCCESS;
    default:
      return vm.isProtected ? protectedCall(hyp, vm, id, x1) : SMCCC_RET_NOT_SUPPORTED;
  }
}

function protectedCall(hyp: HypCpu, vm: LoadedVcpu['vm'], id: number, ipa: number): number {
  const { ownership } = hyp.machine;
  const ipaPage = ipa / PAGE_SIZE;
  switch (id) {
    case GUEST_FUNCTIONS.HYP_MEMINFO:
    case GUEST_FUNCTIONS.MMIO_GUARD_INFO:
      return PAGE_SIZE;
    case GUEST_FUNCTIONS.MMIO_GUARD_ENROLL:
      return SMCCC_RET_SUCCESS;
    case GUEST_FUNCTIONS.MEM_SHARE:
      return onOwnPage(hyp, vm, ipa, (page) => ownership.guestShareHost(page));
    case GUEST_FUNCTIONS.MEM_UNSHARE:
      return onOwnPage(hyp, vm, ipa, (page) => ownership.guestUnshareHost(page));
    case GUEST_FUNCTIONS.MMIO_GUARD_MAP:
    case GUEST_FUNCTIONS.MMIO_GUARD_UNMAP:
      if (!Number.isInteger(ipaPage) || !isGuestDevice(ipa)) return SMCCC_RET_INVALID_PARAMETER;
      hyp.time.spend(COST_NS.pageTable);
      vm.lock.with(() =>
        id === GUEST_FUNCTIONS.MMIO_GUARD_MAP
          ? vm.stage2.noteMmio(ipaPage)
          : vm.stage2.unmap(ipaPage),
      );
      return SMCCC_RET_SUCCESS;
    default:
      return SMCCC_RET_NOT_SUPPORTED;
  }
}

function onOwnPage(
  hyp: HypCpu,
  vm: LoadedVcpu['vm'],
  ipa: number,
  change: (page: number) => void,
): number {
  if (!isGuestRam(ipa) || ipa % PAGE_SIZE !== 0) return SMCCC_RET_INVALID_PARAMETER;
  hyp.time.spend(COST_NS.pageTable);
  return vm.lock.with(() => {
    const page = vm.stage2.lookup(ipa / PAGE_SIZE);
    if (page === undefined) return SMCCC_RET_INVALID_PARAMETER;
    try {
      change(page);
      return SMCCC_RET_SUCCESS;
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      return SMCCC_RET_INVALID_PARAMETER;
    }
  });
}

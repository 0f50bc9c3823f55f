import type { SharedMemory } from '../ringbuffer/shared-memory.ts';

/**
 * What a host shares with the hypervisor of a VM and of a vCPU, a page each: the parts of the
 * kernel's struct kvm and struct kvm_vcpu that both sides use (little endian).
 *
 *      struct kvm                       struct kvm_vcpu
 *       0 u32 created_vcpus              0 u32 handle, of the VM
 *       4 u32 is_protected               4 u32 vcpu_idx
 *                                        8 i32 pid, of the vCPU's thread
 *                                       12 u32 pc, where a boot CPU starts: an IPA
 *                                       16 u32 esr    }  what the last exit was:
 *                                       20 u32 ipa    }  written by the hypervisor
 *                                       24 u32 x0     }
 *                                       28 u32 target }  the vCPU that PSCI_CPU_ON names
 *
 * The host may write anything at any time; the hypervisor copies a value once and checks that.
 */
export const KVM = { CREATED_VCPUS: 0, IS_PROTECTED: 4 } as const;
export const KVM_VCPU = {
  HANDLE: 0,
  VCPU_IDX: 4,
  PID: 8,
  PC: 12,
  ESR: 16,
  IPA: 20,
  X0: 24,
  TARGET: 28,
} as const;

/** What __kvm_vcpu_run returns: the kernel's ARM_EXCEPTION_* codes. */
export const ARM_EXCEPTION_IRQ = 0;
export const ARM_EXCEPTION_TRAP = 2;

/** In `x0` of an exit by HVC: which of PSCI's calls the guest made that the host must know of. */
export const EXIT_CPU_ON = 1;
export const EXIT_CPU_OFF = 2;
export const EXIT_SYSTEM_OFF = 3;

/** The pages that a host donates for a VM: its state, and its stage-2 tables; one for a vCPU. */
export const HYP_VM_PAGES = 1;
export const PGD_PAGES = 4;
export const HYP_VCPU_PAGES = 1;

export const MAX_VCPUS = 16;

export interface Exit {
  readonly esr: number;
  readonly ipa: number;
  readonly x0: number;
  readonly target: number;
}

export function putExit(to: SharedMemory, vcpu: number, exit: Exit): void {
  to.view.setUint32(vcpu + KVM_VCPU.ESR, exit.esr, true);
  to.view.setUint32(vcpu + KVM_VCPU.IPA, exit.ipa, true);
  to.view.setUint32(vcpu + KVM_VCPU.X0, exit.x0, true);
  to.view.setUint32(vcpu + KVM_VCPU.TARGET, exit.target, true);
}

export function getExit(from: SharedMemory, vcpu: number): Exit {
  return {
    esr: from.view.getUint32(vcpu + KVM_VCPU.ESR, true),
    ipa: from.view.getUint32(vcpu + KVM_VCPU.IPA, true),
    x0: from.view.getUint32(vcpu + KVM_VCPU.X0, true),
    target: from.view.getUint32(vcpu + KVM_VCPU.TARGET, true),
  };
}

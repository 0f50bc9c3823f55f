import { ErrnoError } from '../errno.ts';
import type { HypCpu } from './hyp-cpu.ts';
import {
  donateGuest,
  initVcpu,
  initVm,
  reclaimPage,
  shareGuest,
  shareHyp,
  teardownVm,
  unshareGuest,
  unshareHyp,
  vcpuRun,
} from './pkvm-hypercalls.ts';
import { SMCCC_RET_NOT_SUPPORTED, SMCCC_RET_SUCCESS } from './smccc.ts';
import {
  enableEvent,
  enableTracing,
  loadTracing,
  resetTracing,
  selftestEvent,
  swapReaderTracing,
  teardownTracing,
  updateClockTracing,
} from './trace-hypercalls.ts';

/** A register's value. Numbers where they are whole and below 2^53, for speed. */
export type Register = number | bigint;

/** Returns x1 where it is a number, else it is 0; of an ErrnoError the negative number. */
export type Handler = (
  hyp: HypCpu,
  x1: Register,
  x2: Register,
  x3: Register,
  x4: Register,
) => unknown;

interface Hypercall {
  readonly id: number;
  /** Absent for what the host may call only until pKVM has taken control: NOT_SUPPORTED. */
  readonly handler?: Handler;
  /** Nothing that a trace could show depends on it, so it only returns. */
  readonly weightless?: true;
}

const weightless = (id: number) => ({ id, handler: () => 0, weightless: true }) as const;
const beforeFinalisation = (id: number) => ({ id }) as const;

/**
 * The host's hypercalls, by the names and numbers of a 6.12 kernel with the series; what only
 * later kernels have stands behind. Every argument is checked by its handler.
 */
export const HYPERCALLS = {
  __kvm_hyp_init: beforeFinalisation(0),
  __kvm_get_mdcr_el2: beforeFinalisation(1),
  __pkvm_init: beforeFinalisation(2),
  __pkvm_create_private_mapping: beforeFinalisation(3),
  __pkvm_cpu_set_vector: beforeFinalisation(4),
  __kvm_enable_ssbs: beforeFinalisation(5),
  __vgic_v3_init_lrs: beforeFinalisation(6),
  __vgic_v3_get_gic_config: beforeFinalisation(7),
  __pkvm_prot_finalize: beforeFinalisation(8),
  __pkvm_host_share_hyp: { id: 9, handler: shareHyp },
  __pkvm_host_unshare_hyp: { id: 10, handler: unshareHyp },
  __kvm_adjust_pc: weightless(11),
  __kvm_vcpu_run: { id: 12, handler: vcpuRun },
  __kvm_flush_vm_context: weightless(13),
  __kvm_tlb_flush_vmid_ipa: weightless(14),
  __kvm_tlb_flush_vmid_ipa_nsh: weightless(15),
  __kvm_tlb_flush_vmid: weightless(16),
  __kvm_tlb_flush_vmid_range: weightless(17),
  __kvm_flush_cpu_context: weightless(18),
  __kvm_timer_set_cntvoff: weightless(19),
  __vgic_v3_save_vmcr_aprs: weightless(20),
  __vgic_v3_restore_vmcr_aprs: weightless(21),
  __pkvm_init_vm: { id: 22, handler: initVm },
  __pkvm_init_vcpu: { id: 23, handler: initVcpu },
  __pkvm_teardown_vm: { id: 24, handler: teardownVm },
  __pkvm_update_clock_tracing: { id: 25, handler: updateClockTracing },
  __pkvm_load_tracing: { id: 26, handler: loadTracing },
  __pkvm_teardown_tracing: { id: 27, handler: teardownTracing },
  __pkvm_enable_tracing: { id: 28, handler: enableTracing },
  __pkvm_reset_tracing: { id: 29, handler: resetTracing },
  __pkvm_swap_reader_tracing: { id: 30, handler: swapReaderTracing },
  __pkvm_enable_event: { id: 31, handler: enableEvent },
  __pkvm_selftest_event: { id: 32, handler: selftestEvent },
  __pkvm_host_share_guest: { id: 33, handler: shareGuest },
  __pkvm_host_unshare_guest: { id: 34, handler: unshareGuest },
  __pkvm_host_donate_guest: { id: 35, handler: donateGuest },
  __pkvm_host_reclaim_page: { id: 36, handler: reclaimPage },
} as const satisfies Record<string, Hypercall>;

export type HypercallName = keyof typeof HYPERCALLS;

export const HYPERCALL_NAMES = Object.keys(HYPERCALLS) as HypercallName[];

const BY_ID = new Map<number, Handler>(
  Object.values(HYPERCALLS).flatMap((call: Hypercall) =>
    call.handler ? [[call.id, call.handler]] : [],
  ),
);

/** SMCCC: what the host finds in x0, and in x1 the hypercall's own result. */
export interface HypercallResult {
  readonly x0: typeof SMCCC_RET_SUCCESS | typeof SMCCC_RET_NOT_SUPPORTED;
  readonly x1: number;
}

const SUCCESS: HypercallResult = { x0: SMCCC_RET_SUCCESS, x1: 0 };
const NOT_SUPPORTED: HypercallResult = { x0: SMCCC_RET_NOT_SUPPORTED, x1: 0 };

/** handle_host_hcall(): the one place where an ErrnoError becomes a register. */
export function handleHypercall(
  hyp: HypCpu,
  id: number,
  [x1 = 0, x2 = 0, x3 = 0, x4 = 0]: readonly Register[],
): HypercallResult {
  const handler = BY_ID.get(id);
  if (handler === undefined) return NOT_SUPPORTED;
  try {
    const value = handler(hyp, x1, x2, x3, x4);
    if (typeof value !== 'number' || value === 0) return SUCCESS;
    return { x0: SMCCC_RET_SUCCESS, x1: value };
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return { x0: SMCCC_RET_SUCCESS, x1: error.result };
  }
}

import { type HypEvent, hypEvent } from './hyp-event.ts';
import { PRINTK_FORMATS } from './hyp-printk.ts';

/** Why a CPU went into the hypervisor or out of it: enum hyp_enter_exit_reason. */
export const HYP_REASON = {
  smc: 0,
  hvc: 1,
  sys: 2,
  psci: 3,
  host_abort: 4,
  guest_exit: 5,
  eret_host: 6,
  eret_guest: 7,
} as const;
export type HypReason = (typeof HYP_REASON)[keyof typeof HYP_REASON];

/** What traces call them, in the order of their numbers. */
export const HYP_REASON_NAMES = Object.keys(HYP_REASON) as readonly (keyof typeof HYP_REASON)[];

const declared: HypEvent[] = [];

/** Declares an event: everything else that there is to it follows from this one place. */
function declare(...declaration: Parameters<typeof hypEvent>): HypEvent {
  const event = hypEvent(...declaration);
  declared.push(event);
  return event;
}

const reason = { field: 'reason', symbols: HYP_REASON_NAMES };

/** The CPU entered the hypervisor; `vcpu` is the pid of the vCPU's thread that ran, or 0. */
export const hypEnter = declare(
  'hyp_enter',
  { reason: 'u8', vcpu: 'pid_t' },
  'reason=%s vcpu=%d',
  reason,
  'vcpu',
);

/** The CPU went back to the host, into a guest or to the firmware. */
export const hypExit = declare(
  'hyp_exit',
  { reason: 'u8', vcpu: 'pid_t' },
  'reason=%s vcpu=%d',
  reason,
  'vcpu',
);

/** A hypercall of the host's was handled; `invalid` when there is none of that number. */
export const hostHcall = declare(
  'host_hcall',
  { id: 'unsigned int', invalid: 'u8' },
  'id=%u invalid=%u',
  'id',
  'invalid',
);

/** An SMC of the host's; `forwarded` when the hypervisor let the firmware answer it. */
export const hostSmc = declare(
  'host_smc',
  { id: 'u64', forwarded: 'u8' },
  'id=%llu forwarded=%u',
  'id',
  'forwarded',
);

/** The host touched what its stage-2 tables do not map. */
export const hostMemAbort = declare(
  'host_mem_abort',
  { esr: 'u64', addr: 'u64' },
  'esr=0x%llx addr=0x%llx',
  'esr',
  'addr',
);

/** A call of the host's to the secure world, with what it was answered. */
export const hostFfaCall = declare(
  'host_ffa_call',
  {
    func_id: 'u64',
    res_a1: 'u64',
    res_a2: 'u64',
    res_a3: 'u64',
    res_a4: 'u64',
    handled: 'int',
    err: 'int',
  },
  'ffa_func=0x%llx a1=0x%llx a2=0x%llx a3=0x%llx a4=%llx handled=%d err=%d',
  'func_id',
  'res_a1',
  'res_a2',
  'res_a3',
  'res_a4',
  'handled',
  'err',
);

/** Pages that would have to be wiped if the machine were reset: how many now, and before. */
export const psciMemProtect = declare(
  'psci_mem_protect',
  { count: 'u64', was: 'u64' },
  'count=%llu was=%llu',
  'count',
  'was',
);

/** A guest did what it may not. */
export const vcpuIllegalTrap = declare('vcpu_illegal_trap', { esr: 'u64' }, 'esr_el2=%llx', 'esr');

/** The IOMMU's identity map of what the host's devices may reach changed in [from, to). */
export const iommuIdmap = declare(
  'iommu_idmap',
  { from: 'u64', to: 'u64', prot: 'int' },
  'from=0x%llx to=0x%llx prot=0x%x',
  'from',
  'to',
  'prot',
);

/** And the change is in effect. */
export const iommuIdmapComplete = declare('iommu_idmap_complete', { map: 'bool' }, 'map=%d', 'map');

/** The hypervisor says something. */
export const hypPrintk = declare(
  '__hyp_printk',
  { fmt_id: 'u8', a: 'u64', b: 'u64', c: 'u64', d: 'u64' },
  { byId: 'fmt_id', formats: PRINTK_FORMATS, unknown: 'Unknown Format' },
  'a',
  'b',
  'c',
  'd',
);

/** Somebody wrote selftest_event; `id` counts those writes from 1. */
export const selftest = declare('selftest', { id: 'u64' }, 'id=%llu', 'id');

/** Above the ids of the kernel's own events, so that both fit in one trace file. */
const FIRST_ID = 1001;

/** All events, in the order of their names, which gives them their ids. */
export const HYP_EVENTS: readonly HypEvent[] = declared.sort((a, b) => (a.name < b.name ? -1 : 1));

/** The id of the event at `index` of HYP_EVENTS. */
export const hypEventId = (index: number): number => FIRST_ID + index;

/** Where the event with that id stands in HYP_EVENTS. */
export function hypEventIndex(id: number): number | undefined {
  const index = id - FIRST_ID;
  return index in HYP_EVENTS ? index : undefined;
}

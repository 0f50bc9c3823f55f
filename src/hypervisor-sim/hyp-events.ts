import { type HypEvent, hypEvent } from './hyp-event.ts';

/** Why a CPU went into the hypervisor or out of it, by number: enum hyp_enter_exit_reason. */
export const REASONS = [
  'smc',
  'hvc',
  'sys',
  'psci',
  'host_abort',
  'guest_exit',
  'eret_host',
  'eret_guest',
] as const;
export type Reason = (typeof REASONS)[number];

export const reasonNumber = (reason: Reason): number => REASONS.indexOf(reason);

const reason = { field: 'reason', symbols: REASONS };

/** The CPU entered the hypervisor; `vcpu` is the pid of the vCPU's thread that ran, or 0. */
export const hypEnter = hypEvent(
  'hyp_enter',
  { reason: 'u8', vcpu: 'pid_t' },
  'reason=%s vcpu=%d',
  reason,
  'vcpu',
);

/** The CPU went back to the host or into a guest. */
export const hypExit = hypEvent(
  'hyp_exit',
  { reason: 'u8', vcpu: 'pid_t' },
  'reason=%s vcpu=%d',
  reason,
  'vcpu',
);

/** Somebody wrote selftest_event; `id` counts those writes from 1. */
export const selftest = hypEvent('selftest', { id: 'u64' }, 'id=%llu', 'id');

/** Above the ids of the kernel's own events, so that both fit in one trace file. */
const FIRST_ID = 1001;

/** All events, in the order of their names, which gives them their ids. */
export const HYP_EVENTS: readonly HypEvent[] = [hypEnter, hypExit, selftest].sort((a, b) =>
  a.name < b.name ? -1 : 1,
);

/** The id of the event at `index` of HYP_EVENTS. */
export const hypEventId = (index: number): number => FIRST_ID + index;

/** Where the event with that id stands in HYP_EVENTS. */
export function hypEventIndex(id: number): number | undefined {
  const index = id - FIRST_ID;
  return index in HYP_EVENTS ? index : undefined;
}

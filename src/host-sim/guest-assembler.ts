import {
  GUEST_RAM,
  INSTRUCTION_SIZE,
  type Instruction,
  OP,
} from '../hypervisor-sim/guest-program.ts';
import { GUEST_FUNCTIONS } from '../hypervisor-sim/smccc.ts';
import { PAGE_SIZE } from '../units.ts';
import type { Guest } from './scenario.ts';

/** What a guest's program says, step by step; addresses are IPAs, times in ns. */
export type GuestStep =
  | { readonly do: 'work'; readonly ns: number }
  | {
      readonly do: 'load' | 'store' | 'share' | 'unshare' | 'mmio_guard' | 'mmio';
      readonly ipa: number;
    }
  | { readonly do: 'wfi' | 'smc' | 'off' }
  | { readonly do: 'sysreg' | 'illegal'; readonly encoding: number }
  | { readonly do: 'cpu_on'; readonly vcpu: number }
  | { readonly do: 'hvc'; readonly id: number }
  | { readonly do: 'repeat'; readonly times: number; readonly steps: readonly GuestStep[] };

/** Loops have four counters, so they nest no deeper. */
export const MAX_LOOP_DEPTH = 4;

const INSTRUCTIONS_PER_PAGE = PAGE_SIZE / INSTRUCTION_SIZE;

export interface GuestPlan {
  readonly isProtected: boolean;
  readonly vcpus: number;
  /** What the first vCPU does, and what the others do once it has turned them on. */
  readonly boot: readonly GuestStep[];
  readonly secondary: readonly GuestStep[];
}

/** Turns a guest's programs into what its memory holds, each from a page's start on. */
export function assemble({ isProtected, vcpus, boot, secondary }: GuestPlan): Guest {
  const bootLength = wholePages(programLength(boot));
  const entry = GUEST_RAM + bootLength * INSTRUCTION_SIZE;
  const image = [
    ...padded(program(boot, GUEST_RAM, entry, GUEST_FUNCTIONS.PSCI_SYSTEM_OFF)),
    ...padded(program(secondary, entry, entry, GUEST_FUNCTIONS.PSCI_CPU_OFF)),
  ];
  const touched = new Set([...boot, ...secondary].flatMap(pagesOf));
  return { isProtected, vcpus, image, pages: image.length / INSTRUCTIONS_PER_PAGE + touched.size };
}

/** A program that comes to its end switches its CPU off, or with the first one, all of the VM. */
function program(
  steps: readonly GuestStep[],
  at: number,
  entry: number,
  end: number,
): Instruction[] {
  return [...instructions(steps, at, entry, 0), { op: OP.HVC, a: end }];
}

const programLength = (steps: readonly GuestStep[]): number => program(steps, 0, 0, 0).length;

function instructions(
  steps: readonly GuestStep[],
  at: number,
  entry: number,
  depth: number,
): Instruction[] {
  const code: Instruction[] = [];
  for (const step of steps) {
    const here = at + code.length * INSTRUCTION_SIZE;
    if (step.do === 'repeat')
      code.push(...instructions(step.steps, here, entry, depth + 1), {
        op: OP.LOOP,
        a: here,
        b: step.times,
        c: depth,
      });
    else code.push(instruction(step, entry));
  }
  return code;
}

function instruction(step: Exclude<GuestStep, { do: 'repeat' }>, entry: number): Instruction {
  switch (step.do) {
    case 'work':
      return { op: OP.WORK, a: step.ns };
    case 'load':
    case 'mmio':
      return { op: OP.LOAD, a: step.ipa };
    case 'store':
      return { op: OP.STORE, a: step.ipa, b: step.ipa };
    case 'share':
      return { op: OP.HVC, a: GUEST_FUNCTIONS.MEM_SHARE, b: step.ipa };
    case 'unshare':
      return { op: OP.HVC, a: GUEST_FUNCTIONS.MEM_UNSHARE, b: step.ipa };
    case 'mmio_guard':
      return { op: OP.HVC, a: GUEST_FUNCTIONS.MMIO_GUARD_MAP, b: step.ipa };
    case 'wfi':
      return { op: OP.WFI };
    case 'smc':
      return { op: OP.SMC };
    case 'off':
      return { op: OP.HVC, a: GUEST_FUNCTIONS.PSCI_SYSTEM_OFF };
    case 'sysreg':
      return { op: OP.SYSREG, a: step.encoding };
    case 'illegal':
      return { op: OP.ILLEGAL, a: step.encoding };
    case 'cpu_on':
      return { op: OP.HVC, a: GUEST_FUNCTIONS.PSCI_CPU_ON, b: step.vcpu, c: entry };
    case 'hvc':
      return { op: OP.HVC, a: step.id };
  }
}

/** The pages of memory that a step touches besides the program's own. */
function pagesOf(step: GuestStep): number[] {
  if (step.do === 'repeat') return step.steps.flatMap(pagesOf);
  return 'ipa' in step && step.ipa >= GUEST_RAM ? [Math.floor(step.ipa / PAGE_SIZE)] : [];
}

const wholePages = (length: number): number =>
  Math.ceil(length / INSTRUCTIONS_PER_PAGE) * INSTRUCTIONS_PER_PAGE;

function padded(code: readonly Instruction[]): Instruction[] {
  const padding = wholePages(code.length) - code.length;
  return [...code, ...Array.from({ length: padding }, () => ({ op: 0 }))];
}

import { PAGE_SIZE } from '../units.ts';
import { type Access, abortEsr, SMC_ESR, sysregEsr, WFI_ESR } from './esr.ts';
import { guestHypercall } from './guest-hypercalls.ts';
import { INSTRUCTION_SIZE, isGuestRam, OP } from './guest-program.ts';
import type { GuestStage2 } from './guest-stage2.ts';
import {
  ARM_EXCEPTION_IRQ,
  ARM_EXCEPTION_TRAP,
  EXIT_CPU_OFF,
  type Exit,
  putExit,
} from './host-structs.ts';
import type { HypCpu } from './hyp-cpu.ts';
import { HYP_REASON, vcpuIllegalTrap } from './hyp-events.ts';
import { COST_NS } from './machine-time.ts';
import type { LoadedVcpu } from './vm-table.ts';

/** How many instructions a guest gets before the host's timer interrupt takes the CPU back. */
const TIME_SLICE = 32;

/** What took the CPU from the guest. */
type Trap =
  | { readonly kind: 'irq' | 'wfi' | 'smc' | 'sysreg' | 'undefined' }
  | { readonly kind: 'hvc'; readonly id: number; readonly x1: number; readonly x2: number }
  | { readonly kind: 'abort'; readonly access: Access; readonly ipa: number }
  | { readonly kind: 'illegal'; readonly esr: number };

const NO_EXIT: Exit = { esr: 0, ipa: 0, x0: 0, target: 0 };

/**
 * __kvm_vcpu_run: runs the guest until the host is needed, and leaves on the host's struct why.
 * Returns an ARM_EXCEPTION_* code. hyp_exit comes before each entry into the guest, hyp_enter
 * after each exit from it.
 */
export function runVcpu(hyp: HypCpu, loaded: LoadedVcpu): number {
  const { vcpu } = loaded;
  const { ram } = hyp.machine;
  if (!vcpu.isOn) {
    putExit(ram, vcpu.hostVcpu, { ...NO_EXIT, x0: EXIT_CPU_OFF });
    return ARM_EXCEPTION_TRAP;
  }
  hyp.pcpu.vcpu = vcpu.pid;
  const guest = new GuestCpu(hyp, loaded);
  hyp.time.spend(COST_NS.worldSwitch);
  for (;;) {
    hyp.exit(HYP_REASON.eret_guest);
    const trap = guest.run();
    hyp.enter(HYP_REASON.guest_exit);
    const exit = trap.kind === 'irq' ? NO_EXIT : handleTrap(hyp, loaded, trap);
    if (exit === undefined) continue;
    hyp.time.spend(COST_NS.worldSwitch);
    hyp.pcpu.vcpu = 0;
    putExit(ram, vcpu.hostVcpu, exit);
    return trap.kind === 'irq' ? ARM_EXCEPTION_IRQ : ARM_EXCEPTION_TRAP;
  }
}

/** What the hypervisor does about a trap; undefined when the guest goes on. */
function handleTrap(hyp: HypCpu, loaded: LoadedVcpu, trap: Trap): Exit | undefined {
  switch (trap.kind) {
    case 'wfi':
      return { ...NO_EXIT, esr: WFI_ESR };
    case 'hvc': {
      hyp.time.spend(COST_NS.hypercall);
      const answer = guestHypercall(hyp, loaded, trap.id, trap.x1, trap.x2);
      if (typeof answer !== 'number') return { ...NO_EXIT, x0: answer.exit, target: answer.target };
      loaded.vcpu.x0 = answer;
      return undefined;
    }
    case 'abort':
      return handleAbort(hyp, loaded, trap.access, trap.ipa);
    case 'smc':
      return refuse(hyp, SMC_ESR);
    case 'illegal':
      return refuse(hyp, trap.esr);
    case 'undefined': // Nothing in the guest handles it: the vCPU is lost.
      loaded.vcpu.powerOff();
      return { ...NO_EXIT, x0: EXIT_CPU_OFF };
    default: // A system register that the hypervisor emulates.
      hyp.time.spend(COST_NS.emulation);
      return undefined;
  }
}

/** The guest gets an exception in place of what it may not do. */
function refuse(hyp: HypCpu, esr: number): undefined {
  hyp.time.spend(COST_NS.emulation);
  hyp.emit(vcpuIllegalTrap, esr);
}

/** Memory that is not there yet is the host's to give; a device only where the guest said so. */
function handleAbort(
  hyp: HypCpu,
  { vm, vcpu }: LoadedVcpu,
  access: Access,
  ipa: number,
): Exit | undefined {
  if (isGuestRam(ipa)) return { ...NO_EXIT, esr: abortEsr(access), ipa };
  vcpu.pc += INSTRUCTION_SIZE; // Emulated by the host, or skipped by the guest's handler.
  if (!vm.isProtected || vm.stage2.isMmio(Math.floor(ipa / PAGE_SIZE)))
    return { ...NO_EXIT, esr: abortEsr(access, true), ipa };
  hyp.time.spend(COST_NS.emulation);
  hyp.printk('guest 0x%llx fault injected at 0x%llx', vm.handle, ipa);
  return undefined;
}

/** A vCPU between two traps: fetches and executes the guest's instructions. */
class GuestCpu {
  readonly #hyp: HypCpu;
  readonly #loaded: LoadedVcpu;
  readonly #stage2: GuestStage2;
  #instructionsLeft = TIME_SLICE;

  constructor(hyp: HypCpu, loaded: LoadedVcpu) {
    this.#hyp = hyp;
    this.#loaded = loaded;
    this.#stage2 = loaded.vm.stage2;
  }

  run(): Trap {
    while (this.#instructionsLeft-- > 0) {
      const trap = this.#execute();
      if (trap) return trap;
    }
    return { kind: 'irq' };
  }

  #execute(): Trap | undefined {
    const { vcpu } = this.#loaded;
    const { pc } = vcpu;
    const at = this.#translate(pc - (pc % INSTRUCTION_SIZE));
    if (at === undefined) return { kind: 'abort', access: 'execute', ipa: pc };
    const { view } = this.#hyp.machine.ram;
    const op = view.getUint32(at, true);
    const a = view.getUint32(at + 4, true);
    const b = view.getUint32(at + 8, true);
    const c = view.getUint32(at + 12, true);
    this.#hyp.time.spend(COST_NS.guestInstruction);

    // An access that faults is executed again, once the page is there.
    if (op === OP.LOAD || op === OP.STORE) {
      const fault = this.#access(op === OP.STORE, a, b);
      if (!fault) vcpu.pc = pc + INSTRUCTION_SIZE;
      return fault;
    }
    vcpu.pc = pc + INSTRUCTION_SIZE;
    switch (op) {
      case OP.WORK:
        this.#hyp.time.spend(a);
        return undefined;
      case OP.LOOP:
        if (vcpu.countLoop(c, b)) vcpu.pc = a;
        return undefined;
      case OP.WFI:
        return { kind: 'wfi' };
      case OP.HVC:
        return { kind: 'hvc', id: a, x1: b, x2: c };
      case OP.SMC:
        return { kind: 'smc' };
      case OP.SYSREG:
        return { kind: 'sysreg' };
      case OP.ILLEGAL:
        return { kind: 'illegal', esr: sysregEsr(a) };
      default:
        return { kind: 'undefined' };
    }
  }

  #access(isWrite: boolean, ipa: number, value: number): Trap | undefined {
    const at = this.#translate(ipa);
    if (at === undefined) return { kind: 'abort', access: isWrite ? 'write' : 'read', ipa };
    if (isWrite) this.#hyp.machine.ram.view.setUint32(at, value, true);
    return undefined;
  }

  /** Stage 2: the RAM behind an IPA. Instructions and words lie within a page. */
  #translate(ipa: number): number | undefined {
    const page = isGuestRam(ipa) ? this.#stage2.lookup(Math.floor(ipa / PAGE_SIZE)) : undefined;
    return page === undefined ? undefined : page * PAGE_SIZE + ((ipa % PAGE_SIZE) & ~3);
  }
}

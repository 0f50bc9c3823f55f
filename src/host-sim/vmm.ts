import { ErrnoError } from '../errno.ts';
import { ISV, WFI_ESR } from '../hypervisor-sim/esr.ts';
import { GUEST_RAM, INSTRUCTION_SIZE, putProgram } from '../hypervisor-sim/guest-program.ts';
import {
  ARM_EXCEPTION_IRQ,
  EXIT_CPU_OFF,
  EXIT_CPU_ON,
  EXIT_SYSTEM_OFF,
  type Exit,
  getExit,
  HYP_VCPU_PAGES,
  HYP_VM_PAGES,
  KVM,
  KVM_VCPU,
  PGD_PAGES,
} from '../hypervisor-sim/host-structs.ts';
import { PHYS_BASE, pfnOf, physToVirt } from '../hypervisor-sim/memory.ts';
import { NS_PER_MS, NS_PER_US, PAGE_SIZE } from '../units.ts';
import type { HostCpu } from './host-cpu.ts';
import type { Task } from './host-task.ts';
import type { Guest } from './scenario.ts';

/** How soon a device's interrupt wakes a guest that waits for one, at the least and more. */
const WFI_NS = 20 * NS_PER_US;
const WFI_MORE_NS = 180 * NS_PER_US;
/** How long a VMM waits that could not make its VM. */
const RETRY_NS = NS_PER_MS;

/** A VM that another CPU happens to look at cannot be torn down just then. */
const TEARDOWN_ATTEMPTS = 100;
const EBUSY = new ErrnoError('EBUSY', 'the VM is in use').result;

const INSTRUCTIONS_PER_PAGE = PAGE_SIZE / INSTRUCTION_SIZE;

/** A vCPU, to its VMM. */
interface Vcpu {
  /** The page of its struct kvm_vcpu. */
  readonly host: number;
  on: boolean;
  readyAt: number;
}

/**
 * A VM from its first breath to its last, as the host's KVM and its VMM see it: created, run on
 * this CPU until the guest switches it off, and torn down, with each page back in the end.
 */
export function* runVm(host: HostCpu, guest: Guest): Task {
  const vm = new Vm(host, guest);
  if (yield* vm.create()) yield* vm.run();
  else yield RETRY_NS; // For want of memory, perhaps: nothing may have trapped yet.
  yield* vm.destroy();
}

class Vm {
  readonly #host: HostCpu;
  readonly #guest: Guest;
  readonly #firstPid: number;
  readonly #vcpus: Vcpu[] = [];
  /** Pages that the guest has, and those taken for it that it could not be given. */
  readonly #guestPages: number[] = [];
  /** All that was allocated otherwise. */
  readonly #pages: { at: number; nrPages: number; shared: boolean }[] = [];
  #handle = -1;
  #off = false;

  constructor(host: HostCpu, guest: Guest) {
    this.#host = host;
    this.#guest = guest;
    this.#firstPid = host.newVmPid();
  }

  /** False when it could not be made. */
  *create(): Generator<number, boolean, void> {
    const kvm = yield* this.#allocShared();
    const state = this.#alloc(HYP_VM_PAGES);
    const pgd = this.#alloc(PGD_PAGES);
    if (kvm === undefined || state === undefined || pgd === undefined) return false;
    this.#put(kvm + KVM.CREATED_VCPUS, this.#guest.vcpus);
    this.#put(kvm + KVM.IS_PROTECTED, this.#guest.isProtected ? 1 : 0);
    this.#handle = this.#host.hvc(
      '__pkvm_init_vm',
      physToVirt(kvm),
      physToVirt(state),
      physToVirt(pgd),
    );
    yield 0;
    for (let idx = 0; this.#handle > 0 && idx < this.#guest.vcpus; idx++)
      if (!(yield* this.#createVcpu(idx))) return false;
    return this.#handle > 0;
  }

  *#createVcpu(idx: number): Generator<number, boolean, void> {
    const host = yield* this.#allocShared();
    const hyp = this.#alloc(HYP_VCPU_PAGES);
    if (host === undefined || hyp === undefined) return false;
    this.#put(host + KVM_VCPU.HANDLE, this.#handle);
    this.#put(host + KVM_VCPU.VCPU_IDX, idx);
    this.#put(host + KVM_VCPU.PID, this.#firstPid + idx);
    this.#put(host + KVM_VCPU.PC, GUEST_RAM);
    const result = this.#host.hvc(
      '__pkvm_init_vcpu',
      this.#handle,
      physToVirt(host),
      physToVirt(hyp),
    );
    yield 0;
    this.#vcpus.push({ host, on: idx === 0, readyAt: 0 });
    return result === 0;
  }

  /** Gives the vCPUs the CPU by turns, as the host's scheduler does. */
  *run(): Task {
    for (let turn = 0; !this.#off && !this.#host.stopping; turn++) {
      const on = this.#vcpus.filter((vcpu) => vcpu.on);
      if (on.length === 0) return;
      const now = this.#host.now();
      const ready = on.filter(({ readyAt }) => readyAt <= now);
      const vcpu = ready[turn % ready.length];
      if (vcpu) yield* this.#runVcpu(vcpu);
      else yield Math.max(1, Math.min(...on.map(({ readyAt }) => readyAt)) - now);
    }
  }

  *#runVcpu(vcpu: Vcpu): Task {
    const result = this.#host.hvc('__kvm_vcpu_run', physToVirt(vcpu.host));
    if (result < 0)
      vcpu.on = false; // Somebody took it away.
    else if (result !== ARM_EXCEPTION_IRQ)
      this.#handleExit(vcpu, getExit(this.#host.hypervisor.machine.ram, vcpu.host));
    yield 0;
  }

  #handleExit(vcpu: Vcpu, exit: Exit): void {
    if (exit.x0 === EXIT_SYSTEM_OFF) this.#off = true;
    else if (exit.x0 === EXIT_CPU_OFF) vcpu.on = false;
    else if (exit.x0 === EXIT_CPU_ON) {
      const target = this.#vcpus[exit.target];
      if (target) target.on = true;
    } else if (exit.esr === WFI_ESR)
      vcpu.readyAt = this.#host.now() + WFI_NS + this.#host.prng.below(WFI_MORE_NS);
    else if ((exit.esr & ISV) === 0 && !this.#give(exit.ipa)) vcpu.on = false;
  }

  /** Gives the guest the page that it touched: its part of the image, or zeros. */
  #give(ipa: number): boolean {
    const at = this.#host.alloc(1);
    if (at === undefined || !this.#host.touch(PHYS_BASE + at, 'write')) return false;
    this.#guestPages.push(at);
    const gfn = Math.floor(ipa / PAGE_SIZE);
    const first = (gfn - GUEST_RAM / PAGE_SIZE) * INSTRUCTIONS_PER_PAGE;
    const { ram } = this.#host.hypervisor.machine;
    ram.fill(at, PAGE_SIZE);
    putProgram(ram, at, this.#guest.image.slice(first, first + INSTRUCTIONS_PER_PAGE));
    const call = this.#guest.isProtected ? '__pkvm_host_donate_guest' : '__pkvm_host_share_guest';
    return this.#host.hvc(call, this.#handle, pfnOf(at), gfn) === 0;
  }

  *destroy(): Task {
    for (let attempt = 0; this.#handle > 0 && attempt < TEARDOWN_ATTEMPTS; attempt++) {
      const result = this.#host.hvc('__pkvm_teardown_vm', this.#handle);
      yield 0;
      if (result !== EBUSY) break;
    }
    // A page that does not come back, as somebody else meddled with it, is no page of ours.
    for (const at of this.#guestPages) {
      const back = this.#host.hvc('__pkvm_host_reclaim_page', pfnOf(at)) === 0;
      if (back) this.#host.free(at, 1);
      yield 0;
    }
    for (const { at, nrPages, shared } of this.#pages) {
      const back = !shared || this.#host.hvc('__pkvm_host_unshare_hyp', pfnOf(at), 1) === 0;
      if (back) this.#host.free(at, nrPages);
      if (shared) yield 0;
    }
  }

  /** A page that the hypervisor sees too. */
  *#allocShared(): Generator<number, number | undefined, void> {
    const at = this.#alloc(1);
    if (at === undefined) return undefined;
    if (!this.#host.touch(PHYS_BASE + at, 'write')) return undefined;
    this.#host.hypervisor.machine.ram.fill(at, PAGE_SIZE);
    const result = this.#host.hvc('__pkvm_host_share_hyp', pfnOf(at), 1);
    yield 0;
    if (result < 0) return undefined;
    this.#pages[this.#pages.length - 1] = { at, nrPages: 1, shared: true };
    return at;
  }

  #alloc(nrPages: number): number | undefined {
    const at = this.#host.alloc(nrPages);
    if (at !== undefined) this.#pages.push({ at, nrPages, shared: false });
    return at;
  }

  #put(at: number, value: number): void {
    this.#host.hypervisor.machine.ram.view.setUint32(at, value, true);
  }
}

import { GUEST_RAM, type Instruction, putProgram } from '../../src/hypervisor-sim/guest-program.ts';
import {
  type Exit,
  getExit,
  KVM,
  KVM_VCPU,
  PGD_PAGES,
} from '../../src/hypervisor-sim/host-structs.ts';
import { pfnOf, physToVirt } from '../../src/hypervisor-sim/memory.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import type { TracedMachine } from './traced-machine.ts';

/** A VM that a test makes by hand, with one program that starts where guest memory does. */
export class TestGuest {
  readonly machine: TracedMachine;
  readonly handle: number;
  readonly kvm: number;
  readonly vcpus: number[] = [];
  readonly image: number;

  constructor(
    machine: TracedMachine,
    program: readonly Instruction[],
    { vcpus = 1, isProtected = true } = {},
  ) {
    this.machine = machine;
    const { view } = machine.hypervisor.machine.ram;
    this.kvm = machine.page();
    view.setUint32(this.kvm + KVM.CREATED_VCPUS, vcpus, true);
    view.setUint32(this.kvm + KVM.IS_PROTECTED, isProtected ? 1 : 0, true);
    this.share(this.kvm);
    const [state, pgd] = [machine.page(), machine.page(PGD_PAGES)];
    this.handle = machine.call(
      '__pkvm_init_vm',
      physToVirt(this.kvm),
      physToVirt(state),
      physToVirt(pgd),
    ) as number;
    for (let idx = 0; idx < vcpus; idx++) this.vcpus.push(this.#initVcpu(idx));
    this.image = machine.page();
    putProgram(machine.hypervisor.machine.ram, this.image, program);
    this.give(this.image, GUEST_RAM, isProtected);
    machine.trace();
  }

  #initVcpu(idx: number): number {
    const vcpu = this.machine.page();
    const { view } = this.machine.hypervisor.machine.ram;
    view.setUint32(vcpu + KVM_VCPU.HANDLE, this.handle, true);
    view.setUint32(vcpu + KVM_VCPU.VCPU_IDX, idx, true);
    view.setInt32(vcpu + KVM_VCPU.PID, 100 + idx, true);
    view.setUint32(vcpu + KVM_VCPU.PC, GUEST_RAM, true);
    this.share(vcpu);
    this.machine.call(
      '__pkvm_init_vcpu',
      this.handle,
      physToVirt(vcpu),
      physToVirt(this.machine.page()),
    );
    return vcpu;
  }

  share(at: number): void {
    this.machine.call('__pkvm_host_share_hyp', pfnOf(at), 1);
  }

  /** Donates or lends a page to the guest. */
  give(at: number, ipa: number, isProtected = true): number | string {
    const call = isProtected ? '__pkvm_host_donate_guest' : '__pkvm_host_share_guest';
    return this.machine.call(call, this.handle, pfnOf(at), ipa / PAGE_SIZE);
  }

  /** Runs a vCPU until it comes back; the code, and why. */
  run(idx = 0): { code: number | string } & Exit {
    const vcpu = this.vcpus[idx] ?? 0;
    const code = this.machine.call('__kvm_vcpu_run', physToVirt(vcpu));
    return { code, ...getExit(this.machine.hypervisor.machine.ram, vcpu) };
  }

  teardown(): number | string {
    return this.machine.call('__pkvm_teardown_vm', this.handle);
  }
}

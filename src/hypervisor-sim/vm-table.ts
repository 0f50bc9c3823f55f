import { ErrnoError } from '../errno.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import {
  HYP_VCPU_PAGES,
  HYP_VM_PAGES,
  KVM,
  KVM_VCPU,
  MAX_VCPUS,
  PGD_PAGES,
} from './host-structs.ts';
import { HANDLE_OFFSET, HypVcpu, HypVm } from './hyp-vm.ts';
import type { Ram } from './memory.ts';
import type { PageOwnership } from './page-ownership.ts';
import { type PageRange, rangeOf } from './page-range.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/** The kernel's KVM_MAX_PVMS. */
export const MAX_VMS = 255;

/** A lock, then a word for each VM: where its state is, counted from 1; 0 for none. */
const SLOTS = TICKET_LOCK_SIZE;
export const VM_TABLE_SIZE = SLOTS + 4 * (MAX_VMS + 1);

/** A vCPU that a CPU has loaded, and its VM, which cannot go away meanwhile. */
export interface LoadedVcpu {
  readonly vm: HypVm;
  readonly vcpu: HypVcpu;
}

/**
 * All VMs that the hypervisor knows, and their life and death: the kernel's nvhe/pkvm.c. What the
 * host says of a VM lies on pages that it shares and that are pinned; what the hypervisor keeps
 * of it lies on pages that it was given.
 */
export class VmTable {
  readonly #ram: Ram;
  readonly #hyp: SharedMemory;
  readonly #ownership: PageOwnership;
  readonly #at: number;
  readonly #lock: TicketLock;

  constructor(ram: Ram, hyp: SharedMemory, ownership: PageOwnership, at: number) {
    this.#ram = ram;
    this.#hyp = hyp;
    this.#ownership = ownership;
    this.#at = at;
    this.#lock = new TicketLock(hyp, at);
  }

  /**
   * __pkvm_init_vm: returns the new VM, which nobody else can have heard of yet.
   *
   * @throws ErrnoError EPERM for a struct kvm that is not shared, EINVAL for a number of vCPUs
   *   that cannot be, ENOMEM for pages that are not the host's to give or a full table.
   */
  init(hostKvmVa: bigint, vmVa: bigint, pgdVa: bigint): HypVm {
    const hostKvm = this.#pin(hostKvmVa);
    const donated: PageRange[] = [];
    try {
      const createdVcpus = this.#ram.view.getUint32(hostKvm + KVM.CREATED_VCPUS, true);
      const isProtected = this.#ram.view.getUint32(hostKvm + KVM.IS_PROTECTED, true) !== 0;
      if (createdVcpus < 1 || createdVcpus > MAX_VCPUS)
        throw new ErrnoError('EINVAL', `${createdVcpus} vCPUs`);
      const at = this.#takeDonated(vmVa, HYP_VM_PAGES, donated);
      const pgd = this.#takeDonated(pgdVa, PGD_PAGES, donated);
      return this.#lock.with(() => {
        const slot = this.#freeSlot();
        const vm = new HypVm(this.#ram, at, slot);
        vm.init({ createdVcpus, isProtected, hostKvm, pgd });
        this.#setSlot(slot, at);
        return vm;
      });
    } catch (error) {
      for (const pages of donated) this.#giveBack(pages);
      this.#unpin(hostKvm);
      throw error;
    }
  }

  /**
   * __pkvm_init_vcpu: the VM's next one.
   *
   * @throws ErrnoError ENOMEM for pages that are not the host's to give, ENOENT without such a
   *   VM, EINVAL when all have been or it is not the next, EBUSY for a struct that is not shared.
   */
  initVcpu(handle: number, hostVcpuVa: bigint, vcpuVa: bigint): void {
    const donated: PageRange[] = [];
    try {
      const at = this.#takeDonated(vcpuVa, HYP_VCPU_PAGES, donated);
      this.#lock.with(() => this.#addVcpu(this.#find(handle), hostVcpuVa, at));
    } catch (error) {
      for (const pages of donated) this.#giveBack(pages);
      throw error;
    }
  }

  #addVcpu(vm: HypVm, hostVcpuVa: bigint, at: number): void {
    const idx = vm.vcpus.length;
    if (idx >= vm.createdVcpus) throw new ErrnoError('EINVAL', 'it has all its vCPUs');
    const hostVcpu = this.#pinVcpu(hostVcpuVa);
    const { view } = this.#ram;
    if (view.getUint32(hostVcpu + KVM_VCPU.VCPU_IDX, true) !== idx) {
      this.#unpin(hostVcpu);
      throw new ErrnoError('EINVAL', `the next vCPU is ${idx}`);
    }
    const pid = view.getInt32(hostVcpu + KVM_VCPU.PID, true);
    const pc = view.getUint32(hostVcpu + KVM_VCPU.PC, true);
    new HypVcpu(this.#ram, at).init({ idx, hostVcpu, pid, pc });
    vm.addVcpu(at);
  }

  /**
   * __pkvm_teardown_vm: returns the pages that the hypervisor gave back, and how many of the
   * guest's own wait to be reclaimed, one by one.
   *
   * @throws ErrnoError ENOENT without such a VM, EBUSY while a CPU has one of its vCPUs loaded.
   */
  teardown(handle: number): { donated: PageRange[]; guestPages: number } {
    const vm = this.#lock.with(() => {
      const found = this.#find(handle);
      if (found.refs > 0) throw new ErrnoError('EBUSY', 'the VM is in use');
      this.#hyp.store(this.#slotAt(found.slot), 0);
      return found;
    });
    let guestPages = 0;
    vm.stage2.forEach((_, page) => {
      if (this.#ownership.releaseGuestPage(page)) guestPages++;
    });
    for (const { hostVcpu } of vm.vcpus) this.#unpin(hostVcpu);
    this.#unpin(vm.hostKvm);
    const donated = [...vm.vcpus.map(({ at }) => rangeOf(at, HYP_VCPU_PAGES)), ...vm.donated];
    for (const pages of donated) this.#giveBack(pages);
    return { donated, guestPages };
  }

  /** pkvm_load_hyp_vcpu(). @throws ErrnoError EINVAL without such a vCPU, or when it runs. */
  load(hostVcpuVa: bigint): LoadedVcpu {
    const hostVcpu = this.#ram.offsetOfVirt(hostVcpuVa, PAGE_SIZE);
    const { view } = this.#ram;
    const handle = view.getUint32(hostVcpu + KVM_VCPU.HANDLE, true);
    const idx = view.getUint32(hostVcpu + KVM_VCPU.VCPU_IDX, true);
    return this.#lock.with(() => {
      const vm = this.#lookup(handle);
      const vcpu = vm?.vcpu(idx);
      if (!vm || vcpu?.hostVcpu !== hostVcpu || !vcpu.tryLoad())
        throw new ErrnoError('EINVAL', 'no such vCPU, or it is loaded');
      vm.addRefs(1);
      return { vm, vcpu };
    });
  }

  put({ vm, vcpu }: LoadedVcpu): void {
    vcpu.put();
    vm.addRefs(-1);
  }

  /** Works on a VM, which stays meanwhile. @throws ErrnoError ENOENT without such a VM. */
  with<T>(handle: number, work: (vm: HypVm) => T): T {
    const vm = this.#lock.with(() => {
      const found = this.#find(handle);
      found.addRefs(1);
      return found;
    });
    try {
      return vm.lock.with(() => work(vm));
    } finally {
      vm.addRefs(-1);
    }
  }

  /** The handles of all VMs that there are. */
  get handles(): number[] {
    return Array.from({ length: MAX_VMS }, (_, slot) => HANDLE_OFFSET + slot).filter(
      (handle) => this.#lookup(handle) !== undefined,
    );
  }

  #find(handle: number): HypVm {
    const vm = this.#lookup(handle);
    if (!vm) throw new ErrnoError('ENOENT', `no VM has the handle 0x${handle.toString(16)}`);
    return vm;
  }

  #lookup(handle: number): HypVm | undefined {
    const slot = handle - HANDLE_OFFSET;
    if (!(slot >= 0 && slot < MAX_VMS)) return undefined;
    const at = this.#hyp.load(this.#slotAt(slot));
    return at === 0 ? undefined : new HypVm(this.#ram, (at - 1) * PAGE_SIZE, slot);
  }

  #freeSlot(): number {
    for (let slot = 0; slot < MAX_VMS; slot++)
      if (this.#hyp.load(this.#slotAt(slot)) === 0) return slot;
    throw new ErrnoError('ENOMEM', 'the VM table is full');
  }

  #setSlot(slot: number, at: number): void {
    this.#hyp.store(this.#slotAt(slot), at / PAGE_SIZE + 1);
  }

  #slotAt(slot: number): number {
    return this.#at + SLOTS + 4 * slot;
  }

  /** hyp_pin_shared_mem() of one page. @throws ErrnoError EPERM when it is not shared. */
  #pin(va: bigint): number {
    const at = this.#pageAt(va, 1, 'EINVAL');
    this.#ownership.hypPinShared(at / PAGE_SIZE);
    return at;
  }

  #pinVcpu(va: bigint): number {
    try {
      return this.#pin(va);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      throw new ErrnoError('EBUSY', error.message);
    }
  }

  #unpin(at: number): void {
    this.#ownership.hypUnpinShared(at / PAGE_SIZE);
  }

  /** map_donated_memory(): zeroed. @throws ErrnoError ENOMEM, whatever is wrong with it. */
  #takeDonated(va: bigint, nrPages: number, donated: PageRange[]): number {
    const at = this.#pageAt(va, nrPages, 'ENOMEM');
    try {
      this.#ownership.hostDonateHyp(at / PAGE_SIZE, nrPages);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      throw new ErrnoError('ENOMEM', error.message);
    }
    donated.push(rangeOf(at, nrPages));
    this.#ram.fill(at, nrPages * PAGE_SIZE);
    return at;
  }

  #giveBack({ first, nrPages }: PageRange): void {
    this.#ram.fill(first * PAGE_SIZE, nrPages * PAGE_SIZE);
    this.#ownership.hypDonateHost(first, nrPages);
  }

  #pageAt(va: bigint, nrPages: number, errno: 'EINVAL' | 'ENOMEM'): number {
    if (va % BigInt(PAGE_SIZE) !== 0n) throw new ErrnoError(errno, 'not a page address');
    return this.#ram.offsetOfVirt(va, nrPages * PAGE_SIZE);
  }
}

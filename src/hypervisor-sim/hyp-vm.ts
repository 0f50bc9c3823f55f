import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { GuestStage2 } from './guest-stage2.ts';
import { HYP_VM_PAGES, PGD_PAGES } from './host-structs.ts';
import { type PageRange, rangeOf } from './page-range.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/**
 * The hypervisor's own state of a VM, on a page that the host donated: struct pkvm_hyp_vm.
 *
 *       0 lock, of the stage-2 tables     20 u32 host_kvm, where struct kvm is
 *       8 u32 created_vcpus               24 u32 pgd, where the stage-2 tables are
 *      12 u32 nr_vcpus, initialised       28 i32 refs, who uses it now
 *      16 u32 is_protected                32 u32 × MAX_VCPUS  where each vCPU's state is
 */
const LOCK = 0;
const CREATED_VCPUS = LOCK + TICKET_LOCK_SIZE;
const NR_VCPUS = CREATED_VCPUS + 4;
const IS_PROTECTED = NR_VCPUS + 4;
const HOST_KVM = IS_PROTECTED + 4;
const PGD = HOST_KVM + 4;
const REFS = PGD + 4;
const VCPUS = REFS + 4;

/** The kernel's: handles are not mistaken for indices. */
export const HANDLE_OFFSET = 0x1000;

export class HypVm {
  /** Its place in the VM table. */
  readonly slot: number;
  readonly at: number;
  readonly lock: TicketLock;
  readonly #ram: SharedMemory;

  constructor(ram: SharedMemory, at: number, slot: number) {
    this.slot = slot;
    this.at = at;
    this.lock = new TicketLock(ram, at + LOCK);
    this.#ram = ram;
  }

  get handle(): number {
    return HANDLE_OFFSET + this.slot;
  }

  init(fields: { createdVcpus: number; isProtected: boolean; hostKvm: number; pgd: number }): void {
    this.#ram.store(this.at + CREATED_VCPUS, fields.createdVcpus);
    this.#ram.store(this.at + IS_PROTECTED, fields.isProtected ? 1 : 0);
    this.#ram.store(this.at + HOST_KVM, fields.hostKvm);
    this.#ram.store(this.at + PGD, fields.pgd);
  }

  get createdVcpus(): number {
    return this.#ram.load(this.at + CREATED_VCPUS);
  }

  get isProtected(): boolean {
    return this.#ram.load(this.at + IS_PROTECTED) !== 0;
  }

  get hostKvm(): number {
    return this.#ram.load(this.at + HOST_KVM) >>> 0;
  }

  get pgd(): number {
    return this.#ram.load(this.at + PGD) >>> 0;
  }

  /** The pages that the host donated for the VM itself. */
  get donated(): PageRange[] {
    return [rangeOf(this.pgd, PGD_PAGES), rangeOf(this.at, HYP_VM_PAGES)];
  }

  get stage2(): GuestStage2 {
    return new GuestStage2(this.#ram, this.pgd);
  }

  get refs(): number {
    return this.#ram.load(this.at + REFS);
  }

  addRefs(count: 1 | -1): void {
    this.#ram.add(this.at + REFS, count);
  }

  get vcpus(): HypVcpu[] {
    const nr = this.#ram.load(this.at + NR_VCPUS);
    return Array.from({ length: nr }, (_, idx) => this.#vcpu(idx));
  }

  vcpu(idx: number): HypVcpu | undefined {
    return idx < this.#ram.load(this.at + NR_VCPUS) ? this.#vcpu(idx) : undefined;
  }

  addVcpu(at: number): void {
    const idx = this.#ram.add(this.at + NR_VCPUS, 1);
    this.#ram.store(this.at + VCPUS + 4 * idx, at);
  }

  #vcpu(idx: number): HypVcpu {
    return new HypVcpu(this.#ram, this.#ram.load(this.at + VCPUS + 4 * idx) >>> 0);
  }
}

/**
 * The hypervisor's own state of a vCPU, on a page that the host donated: struct pkvm_hyp_vcpu.
 *
 *       0 u32 idx                         16 u32 pc, an IPA
 *       4 u32 host_vcpu                   20 u32 x0
 *       8 u32 loaded, whether a CPU       24 u32 × 4  loop counters
 *         runs it                         40 i32 pid of its thread
 *      12 u32 power: 0 off, 1 on
 */
const IDX = 0;
const HOST_VCPU = 4;
const LOADED = 8;
const POWER = 12;
const PC = 16;
const X0 = 20;
const COUNTERS = 24;
const NR_COUNTERS = 4;
const PID = COUNTERS + 4 * NR_COUNTERS;

export class HypVcpu {
  readonly at: number;
  readonly #ram: SharedMemory;

  constructor(ram: SharedMemory, at: number) {
    this.at = at;
    this.#ram = ram;
  }

  init(fields: { idx: number; hostVcpu: number; pid: number; pc: number }): void {
    this.#ram.store(this.at + IDX, fields.idx);
    this.#ram.store(this.at + HOST_VCPU, fields.hostVcpu);
    this.#ram.store(this.at + PID, fields.pid);
    if (fields.idx === 0) this.powerOn(fields.pc); // The boot CPU; the others wait for PSCI.
  }

  powerOn(pc: number): void {
    this.pc = pc;
    this.#ram.store(this.at + POWER, 1);
  }

  powerOff(): void {
    this.#ram.store(this.at + POWER, 0);
  }

  get isOn(): boolean {
    return this.#ram.load(this.at + POWER) !== 0;
  }

  get idx(): number {
    return this.#ram.load(this.at + IDX);
  }

  get hostVcpu(): number {
    return this.#ram.load(this.at + HOST_VCPU) >>> 0;
  }

  get pid(): number {
    return this.#ram.load(this.at + PID);
  }

  /** False when it is loaded already. */
  tryLoad(): boolean {
    return this.#ram.compareExchange(this.at + LOADED, 0, 1);
  }

  put(): void {
    this.#ram.store(this.at + LOADED, 0);
  }

  get loaded(): boolean {
    return this.#ram.load(this.at + LOADED) !== 0;
  }

  get pc(): number {
    return this.#ram.load(this.at + PC) >>> 0;
  }

  set pc(ipa: number) {
    this.#ram.store(this.at + PC, ipa | 0);
  }

  set x0(value: number) {
    this.#ram.store(this.at + X0, value | 0);
  }

  /** Counts loop `index`; true until it has counted to `times`, and then again from 0. */
  countLoop(index: number, times: number): boolean {
    const at = this.at + COUNTERS + 4 * (index % NR_COUNTERS);
    const count = this.#ram.load(at) + 1;
    this.#ram.store(at, count < times ? count : 0);
    return count < times;
  }
}

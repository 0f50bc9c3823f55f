import { PAGE_SIZE } from '../units.ts';
import { FfaProxy } from './ffa-proxy.ts';
import { Firmware, type SmcResult } from './firmware.ts';
import { HostDevices } from './host-devices.ts';
import type { HypAddressSpace } from './hyp-address-space.ts';
import type { FieldValue, HypEvent } from './hyp-event.ts';
import {
  HYP_REASON,
  type HypReason,
  hypEnter,
  hypExit,
  hypPrintk,
  iommuIdmap,
  iommuIdmapComplete,
} from './hyp-events.ts';
import { PRINTK_FORMATS, type PrintkFormat } from './hyp-printk.ts';
import type { HypTraceBuffer, Tracepoint } from './hyp-trace-buffer.ts';
import type { MachineMemory } from './machine-memory.ts';
import { COST_NS, type MachineTime, type SerialWork } from './machine-time.ts';
import { PHYS_BASE } from './memory.ts';
import type { Pcpu } from './pcpu.ts';
import { MemProtect } from './psci-relay.ts';
import { TRAP_STATS_SIZE, TrapStats } from './trap-stats.ts';
import { VmTable } from './vm-table.ts';

/** The rights of a mapping: the kernel's enum kvm_pgtable_prot. */
export const PROT_NONE = 0;
export const PROT_RWX = 7;
export const PROT_DEVICE = 14;

const UNTIMED = -1;

/**
 * One CPU in the hypervisor: what its code there works on, and the steps in and out that all of
 * it shares. Only the thread that is this CPU may use it.
 */
export class HypCpu {
  readonly cpu: number;
  readonly pcpu: Pcpu;
  readonly machine: MachineMemory;
  readonly trace: HypTraceBuffer;
  readonly space: HypAddressSpace;
  readonly vms: VmTable;
  readonly firmware: Firmware;
  readonly ffa: FfaProxy;
  readonly memProtect: MemProtect;
  readonly devices: HostDevices;
  readonly stats: TrapStats;
  readonly time: MachineTime;
  #traps = 0;
  #timedSince = UNTIMED;
  readonly #tracepoints = new Map<HypEvent, Tracepoint>();
  readonly #hypEnter: Tracepoint;
  readonly #hypExit: Tracepoint;

  constructor(
    machine: MachineMemory,
    trace: HypTraceBuffer,
    pcpus: readonly Pcpu[],
    pcpu: Pcpu,
    time: MachineTime,
  ) {
    const { ram, hyp, ownership, layout } = machine;
    this.cpu = pcpu.cpu;
    this.pcpu = pcpu;
    this.machine = machine;
    this.trace = trace;
    this.space = trace.space;
    this.vms = new VmTable(ram, hyp, ownership, layout.vmTable);
    this.firmware = new Firmware(machine, pcpus);
    this.ffa = new FfaProxy(machine);
    this.memProtect = new MemProtect(hyp, layout.memProtect);
    this.devices = new HostDevices(hyp, layout.devices);
    this.stats = new TrapStats(hyp, layout.stats + this.cpu * TRAP_STATS_SIZE);
    this.time = time;
    this.#hypEnter = trace.tracepoint(hypEnter);
    this.#hypExit = trace.tracepoint(hypExit);
  }

  /** Starts to time a trap, if it is one of those that are. */
  startTiming(): void {
    const isTimed = this.#traps++ % this.time.trapsATimedOne === 0;
    this.#timedSince = isTimed ? this.time.counter() : UNTIMED;
  }

  /** The cycles since then, for all the traps that this one stands for; 0 when it is not timed. */
  get timedCycles(): number {
    if (this.#timedSince === UNTIMED) return 0;
    return (this.time.counter() - this.#timedSince) * this.time.trapsATimedOne;
  }

  /** Comes into the hypervisor. */
  enter(reason: HypReason): void {
    this.time.spend(COST_NS.contextSwitch);
    this.trace.emit(this.cpu, this.#hypEnter, reason, this.pcpu.vcpu);
    this.time.spend(COST_NS.dispatch);
  }

  /** Leaves it, for the host, a guest or the firmware. */
  exit(reason: HypReason): void {
    this.trace.emit(this.cpu, this.#hypExit, reason, this.pcpu.vcpu);
    this.time.spend(COST_NS.contextSwitch);
  }

  /** Does what only one CPU at a time can do. */
  serially<T>(what: SerialWork, work: () => T): T {
    this.time.lock(what);
    try {
      return work();
    } finally {
      this.time.unlock(what);
    }
  }

  emit(event: HypEvent, ...values: FieldValue[]): void {
    let tracepoint = this.#tracepoints.get(event);
    if (!tracepoint) {
      tracepoint = this.trace.tracepoint(event);
      this.#tracepoints.set(event, tracepoint);
    }
    this.trace.emit(this.cpu, tracepoint, ...values);
  }

  /** trace_hyp_printk(): a message of the hypervisor's, by the number of its format. */
  printk(format: PrintkFormat, a = 0, b = 0, c = 0, d = 0): void {
    this.emit(hypPrintk, PRINTK_FORMATS.indexOf(format), a, b, c, d);
  }

  /** An SMC of the hypervisor's own: arm_smccc_1_1_smc() with its events around. */
  smc(id: number, x1 = 0, x2 = 0): SmcResult {
    return this.outside(() => this.firmware.call(this.cpu, id, x1, x2));
  }

  /** What the firmware or the secure world does for this CPU, out of the hypervisor. */
  outside<T>(work: () => T): T {
    this.exit(HYP_REASON.smc);
    this.time.spend(COST_NS.smc);
    const result = work();
    this.enter(HYP_REASON.smc);
    return result;
  }

  /** What the host may reach of RAM has changed, so the IOMMU's tables for its devices follow. */
  idmap(firstPage: number, nrPages: number, prot: number): void {
    this.idmapRange(PHYS_BASE + firstPage * PAGE_SIZE, nrPages * PAGE_SIZE, prot);
  }

  idmapRange(phys: number, size: number, prot: number): void {
    this.time.spend(COST_NS.pageTable);
    this.emit(iommuIdmap, phys, phys + size, prot);
    this.emit(iommuIdmapComplete, prot === PROT_NONE ? 0 : 1);
  }
}

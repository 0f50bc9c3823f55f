import { AssertionError, assert, defined } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import type { Access } from './esr.ts';
import { type SmcResult, smcResult } from './firmware.ts';
import { handleHostMemAbort, isMappedForHost } from './host-mem-abort.ts';
import { HypCpu } from './hyp-cpu.ts';
import { HYP_REASON, type HypReason, hostFfaCall, hostHcall, hostSmc } from './hyp-events.ts';
import { HypTraceBuffer } from './hyp-trace-buffer.ts';
import {
  HYPERCALLS,
  type HypercallName,
  type HypercallResult,
  handleHypercall,
  type Register,
} from './hypercalls.ts';
import { type MachineBuffers, type MachineMemory, viewMachine } from './machine-memory.ts';
import { COST_NS, type MachineTime } from './machine-time.ts';
import { PCPU_STATE_SIZE, Pcpu, POWER_OFF, POWER_ON, POWER_PENDING } from './pcpu.ts';
import { hostPsciCall, psciCpuEntry } from './psci-relay.ts';
import { FFA_RET_SUCCESS, isFfa, isPsci, SMC_FUNCTIONS, SMCCC_RET_SUCCESS } from './smccc.ts';

/** Nothing can run on a CPU that is off, or asleep until an interrupt. */
export class CpuOffError extends Error {
  override readonly name = 'CpuOffError';
}

/** What became of a trap; from one that powered the CPU down nothing returns to the host. */
interface Outcome<T> {
  readonly result: T;
  readonly failed: boolean;
  readonly poweredDown?: boolean;
}

/**
 * The hypervisor, as one thread runs it: what a CPU does between a trap and the return to the
 * host. All threads have one of these over the same memory; whichever is inside a trap on a CPU
 * is that CPU.
 *
 * Every trap emits hyp_enter first thing and hyp_exit last thing, so on each CPU they alternate.
 */
export class Hypervisor {
  readonly machine: MachineMemory;
  readonly trace: HypTraceBuffer;
  readonly time: MachineTime;
  readonly #hypCpus: readonly HypCpu[];

  constructor(buffers: MachineBuffers, time: MachineTime) {
    this.machine = viewMachine(buffers);
    this.trace = new HypTraceBuffer(this.machine, time.counter);
    this.time = time;
    const { hyp, layout, nrCpus } = this.machine;
    const pcpus = Array.from(
      { length: nrCpus },
      (_, cpu) => new Pcpu(cpu, hyp, layout.pcpus + cpu * PCPU_STATE_SIZE),
    );
    this.#hypCpus = pcpus.map((pcpu) => new HypCpu(this.machine, this.trace, pcpus, pcpu, time));
  }

  get nrCpus(): number {
    return this.#hypCpus.length;
  }

  /** The CPU that a host's CPU number falls on: when that is off, the next one that is on. */
  pcpuOf(hostCpu: number): number {
    for (let step = 0; step < this.nrCpus; step++) {
      const cpu = (hostCpu + step) % this.nrCpus;
      if (this.isOnline(cpu)) return cpu;
    }
    throw new AssertionError('the boot CPU never goes off');
  }

  /** Does what traps on `cpu`. One that sleeps is woken. @throws CpuOffError when it is off. */
  on<T>(cpu: number, trap: () => T): T {
    for (;;) {
      try {
        return trap();
      } catch (error) {
        if (!(error instanceof CpuOffError) || !this.isOnline(cpu)) throw error;
        this.cpuEntry(cpu);
      }
    }
  }

  /** The same of a host's task on that CPU, which goes elsewhere when the CPU is off. */
  onTasksCpu<T>(hostCpu: number, trap: (cpu: number) => T): T {
    for (;;) {
      const cpu = this.pcpuOf(hostCpu);
      try {
        return this.on(cpu, () => trap(cpu));
      } catch (error) {
        if (!(error instanceof CpuOffError)) throw error;
      }
    }
  }

  isOnline(cpu: number): boolean {
    return this.cpu(cpu).pcpu.power !== POWER_OFF;
  }

  /** The CPU as the hypervisor's code sees it, for who looks and does not touch. */
  cpu(cpu: number): HypCpu {
    return defined(this.#hypCpus[cpu], 'a pCPU of that number');
  }

  /** Switched off before anything ran on it: it comes up by PSCI_CPU_ON only. */
  leaveOff(cpu: number): void {
    this.cpu(cpu).pcpu.power = POWER_OFF;
  }

  /** HVC on `cpu` with a function id, as a host may issue it. */
  hvc(cpu: number, id: number, ...args: Register[]): HypercallResult {
    return this.#trap(cpu, HYP_REASON.hvc, (hyp) => {
      this.time.spend(COST_NS.hypercall);
      const result = handleHypercall(hyp, id, args);
      const invalid = result.x0 !== SMCCC_RET_SUCCESS;
      if (!invalid) hyp.stats.countHypercall(id, result.x1 < 0, hyp.timedCycles);
      hyp.emit(hostHcall, id, invalid ? 1 : 0);
      return { result, failed: invalid || result.x1 < 0 };
    });
  }

  /** A hypercall by name; returns its x1. @throws ErrnoError what the hypervisor answered. */
  call(cpu: number, name: HypercallName, ...args: Register[]): number {
    return x1Of(name, this.hvc(cpu, HYPERCALLS[name].id, ...args));
  }

  /**
   * A hypercall that no CPU traps for, as a debugger would make it: it leaves no hyp_enter, host_hcall
   * or hyp_exit, is not counted, and wakes no CPU.
   *
   * @throws ErrnoError what the hypervisor answered.
   */
  callUnseen(name: HypercallName, ...args: Register[]): number {
    const hyp = this.cpu(0);
    this.#become(hyp);
    try {
      return x1Of(name, handleHypercall(hyp, HYPERCALLS[name].id, args));
    } finally {
      this.#cease(hyp);
    }
  }

  /**
   * SMC on `cpu`: PSCI goes through the hypervisor's relay, FF-A through its proxy, anything else
   * to the firmware as it is. Undefined when the CPU powered down, and does not return from here.
   */
  smc(cpu: number, id: number, x1 = 0, x2 = 0, x3 = 0): SmcResult | undefined {
    return this.#trap(cpu, HYP_REASON.smc, (hyp) => {
      this.time.spend(COST_NS.smcFilter);
      const answer = isPsci(id)
        ? hostPsciCall(hyp, id, x1, x2)
        : isFfa(id)
          ? this.#ffaCall(hyp, id, x1, x2, x3)
          : undefined;
      if (hyp.pcpu.power !== POWER_ON)
        return { result: undefined, failed: false, poweredDown: true };
      const result = answer ?? hyp.smc(id, x1, x2);
      hyp.emit(hostSmc, id, answer === undefined ? 1 : 0);
      return { result, failed: result[0] < 0 || result[0] === SMC_FUNCTIONS.FFA_ERROR };
    });
  }

  #ffaCall(hyp: HypCpu, id: number, x1: number, x2: number, x3: number): SmcResult | undefined {
    const result = hyp.ffa.call(hyp, id, x1, x2, x3);
    const [x0, r1, r2, r3, r4] = result ?? smcResult(0);
    const failed = x0 === SMC_FUNCTIONS.FFA_ERROR;
    const err = failed ? r2 : FFA_RET_SUCCESS;
    hyp.emit(hostFfaCall, id, r1, failed ? 0 : r2, r3, r4, result ? 1 : 0, err);
    return result;
  }

  /** The host touches a physical address. Returns whether it may; traps only if it must. */
  hostAccess(cpu: number, phys: number, access: Access): boolean {
    if (isMappedForHost(this.cpu(cpu), phys)) return true;
    return this.#trap(cpu, HYP_REASON.host_abort, (hyp) => {
      this.time.spend(COST_NS.pageTable);
      const allowed = handleHostMemAbort(hyp, phys, access);
      return { result: allowed, failed: !allowed };
    });
  }

  /** The host uses a system register that traps to the hypervisor. */
  sysreg(cpu: number): void {
    this.#trap(cpu, HYP_REASON.sys, () => {
      this.time.spend(COST_NS.emulation);
      return { result: undefined, failed: false };
    });
  }

  /** A CPU that was told to come up does: PSCI's entry point. False when it was not. */
  cpuEntry(cpu: number): boolean {
    const hyp = this.cpu(cpu);
    if (hyp.pcpu.power !== POWER_PENDING) return false;
    this.#become(hyp);
    try {
      if (hyp.pcpu.power !== POWER_PENDING) return false; // Another thread was faster.
      hyp.startTiming();
      psciCpuEntry(hyp);
      hyp.stats.countTrap(HYP_REASON.psci, false, hyp.timedCycles);
      return true;
    } finally {
      this.#cease(hyp);
    }
  }

  /**
   * An IPI to all CPUs, and the wait for its answers: kick_all_cpus_sync(). A CPU answers between
   * two events; so what one had begun before is committed when this returns.
   */
  kickAllCpus(): void {
    this.trace.waitForWriters();
  }

  #trap<T>(cpu: number, reason: HypReason, handle: (hyp: HypCpu) => Outcome<T>): T {
    const hyp = this.cpu(cpu);
    this.#become(hyp);
    try {
      if (hyp.pcpu.power !== POWER_ON) throw new CpuOffError(`cpu ${cpu}`);
      hyp.startTiming();
      hyp.enter(reason);
      const { result, failed, poweredDown } = handle(hyp);
      hyp.stats.countTrap(reason, failed, hyp.timedCycles);
      if (!poweredDown) hyp.exit(HYP_REASON.eret_host);
      return result;
    } finally {
      this.#cease(hyp);
    }
  }

  /** From here on this thread is that CPU. */
  #become(hyp: HypCpu): void {
    hyp.pcpu.acquire();
    this.time.enter(hyp.cpu);
  }

  #cease(hyp: HypCpu): void {
    this.time.leave();
    hyp.pcpu.release();
  }
}

/** @throws ErrnoError what the hypervisor answered. */
function x1Of(name: HypercallName, { x0, x1 }: HypercallResult): number {
  assert(x0 === SMCCC_RET_SUCCESS, `${name} is a hypercall`);
  if (x1 < 0) throw ErrnoError.fromResult(x1, name);
  return x1;
}

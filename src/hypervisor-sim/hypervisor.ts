import { assert, defined } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import { hypEnter, hypExit, type Reason, reasonNumber } from './hyp-events.ts';
import { HypTraceBuffer, type Tracepoint } from './hyp-trace-buffer.ts';
import {
  HYPERCALLS,
  type HypercallContext,
  type HypercallName,
  type HypercallResult,
  handleHypercall,
  type Register,
  SMCCC_RET_SUCCESS,
} from './hypercalls.ts';
import { type MachineBuffers, type MachineMemory, viewMachine } from './machine-memory.ts';
import { PCPU_STATE_SIZE, Pcpu } from './pcpu.ts';
import type { Counter } from './trace-clock.ts';

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
  readonly #pcpus: readonly Pcpu[];
  readonly #contexts: readonly HypercallContext[];
  readonly #hypEnter: Tracepoint;
  readonly #hypExit: Tracepoint;

  constructor(buffers: MachineBuffers, counter: Counter) {
    this.machine = viewMachine(buffers);
    this.trace = new HypTraceBuffer(this.machine, counter);
    this.#hypEnter = this.trace.tracepoint(hypEnter);
    this.#hypExit = this.trace.tracepoint(hypExit);
    const { hyp, layout, nrCpus, ram, ownership } = this.machine;
    const cpus = Array.from({ length: nrCpus }, (_, cpu) => cpu);
    this.#pcpus = cpus.map((cpu) => new Pcpu(cpu, hyp, layout.pcpus + cpu * PCPU_STATE_SIZE));
    this.#contexts = cpus.map((cpu) => ({ cpu, ram, ownership, trace: this.trace }));
  }

  get nrCpus(): number {
    return this.#pcpus.length;
  }

  /** The CPU that a host's CPU number falls on. */
  pcpuOf(hostCpu: number): number {
    return hostCpu % this.nrCpus;
  }

  /** HVC on `cpu` with a function id, as a host may issue it. */
  hvc(cpu: number, id: number, ...args: Register[]): HypercallResult {
    const context = defined(this.#contexts[cpu], 'a pCPU of that number');
    return this.#trap(cpu, 'hvc', () => handleHypercall(context, id, args));
  }

  /** A hypercall by name. @throws ErrnoError what the hypervisor answered. */
  call(cpu: number, name: HypercallName, ...args: Register[]): void {
    const { x0, x1 } = this.hvc(cpu, HYPERCALLS[name].id, ...args);
    assert(x0 === SMCCC_RET_SUCCESS, `${name} is a hypercall`);
    if (x1 < 0) throw ErrnoError.fromResult(x1, name);
  }

  /** SMC on `cpu`, which the hypervisor passes on to the firmware as it is. */
  smc(cpu: number): void {
    const pcpu = this.#pcpu(cpu);
    this.#trap(cpu, 'smc', () => {
      // The firmware runs outside of the hypervisor.
      this.#exit(pcpu, 'smc');
      this.#enter(pcpu, 'smc');
    });
  }

  /** The host touched memory that its stage-2 tables do not map yet: mapped on demand. */
  hostMemAbort(cpu: number): void {
    this.#trap(cpu, 'host_abort', () => {});
  }

  /**
   * An IPI to all CPUs, and the wait for its answers: kick_all_cpus_sync(). A CPU answers between
   * two events; so what one had begun before is committed when this returns.
   */
  kickAllCpus(): void {
    this.trace.waitForWriters();
  }

  #trap<T>(cpu: number, reason: Reason, handle: () => T): T {
    const pcpu = this.#pcpu(cpu);
    pcpu.enter();
    try {
      this.#enter(pcpu, reason);
      const result = handle();
      this.#exit(pcpu, 'eret_host');
      return result;
    } finally {
      pcpu.leave();
    }
  }

  #enter(pcpu: Pcpu, reason: Reason): void {
    this.trace.emit(pcpu.cpu, this.#hypEnter, reasonNumber(reason), pcpu.vcpu);
  }

  #exit(pcpu: Pcpu, reason: Reason): void {
    this.trace.emit(pcpu.cpu, this.#hypExit, reasonNumber(reason), pcpu.vcpu);
  }

  #pcpu(cpu: number): Pcpu {
    return defined(this.#pcpus[cpu], 'a pCPU of that number');
  }
}

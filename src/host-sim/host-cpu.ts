import { ErrnoError } from '../errno.ts';
import type { Access } from '../hypervisor-sim/esr.ts';
import type { SmcResult } from '../hypervisor-sim/firmware.ts';
import { HYPERCALLS, type HypercallName, type Register } from '../hypervisor-sim/hypercalls.ts';
import { CpuOffError, type Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { SMCCC_RET_SUCCESS } from '../hypervisor-sim/smccc.ts';
import { PAGE_SIZE } from '../units.ts';
import { cpuDown, cpuUp } from './cpu-hotplug.ts';
import { hostTask, type Task } from './host-task.ts';
import type { PageAllocator } from './page-allocator.ts';
import { Prng } from './prng.ts';
import { runsOn, type Scenario } from './scenario.ts';
import { vmPid } from './vcpu-threads.ts';

export interface HostCpuOptions {
  readonly hypervisor: Hypervisor;
  readonly cpu: number;
  /** Pages of the host's, for the tasks of this CPU alone. */
  readonly pages: PageAllocator;
  readonly scenario: Scenario;
  readonly seed: number;
  /** The time in ns, as this CPU's kernel reads it. */
  readonly now: () => number;
  /** Called when the CPU is found off; returns when it may be on again, or its owner stops. */
  readonly waitUntilOn: () => void;
}

/**
 * The host's kernel on one CPU: the tasks that a scenario has for it, which run by turns, a trap
 * at a time. What it asks of the hypervisor may be refused; it takes note and goes on.
 */
export class HostCpu {
  readonly hypervisor: Hypervisor;
  readonly cpu: number;
  readonly pages: PageAllocator;
  readonly scenario: Scenario;
  readonly prng: Prng;
  readonly now: () => number;
  /** Set when the tasks should come to an end and give back all that they have. */
  stopping = false;
  readonly #waitUntilOn: () => void;
  readonly #tasks: { steps: Task; readyAt: number }[];
  #turn = 0;
  #vms = 0;

  constructor(options: HostCpuOptions) {
    const { hypervisor, cpu, pages, scenario, seed, now, waitUntilOn } = options;
    this.hypervisor = hypervisor;
    this.cpu = cpu;
    this.pages = pages;
    this.scenario = scenario;
    this.prng = new Prng(seed, cpu);
    this.now = now;
    this.#waitUntilOn = waitUntilOn;
    this.#tasks = scenario.tasks
      .filter((plan) => runsOn(plan, cpu))
      .map((plan) => ({ steps: hostTask(this, plan), readyAt: 0 }));
  }

  /** When the next task is ready, in ns; infinity when all are through. */
  get readyAt(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { readyAt } of this.#tasks) earliest = Math.min(earliest, readyAt);
    return earliest;
  }

  /**
   * Lets the next ready task make a step. Returns how many events it was worth, at least one, or
   * 0 when no task is ready.
   */
  step(): number {
    const task = this.#nextReady();
    if (!task) return 0;
    const { trace } = this.hypervisor;
    const before = trace.passed;
    const { done, value: pause } = task.steps.next();
    if (done) this.#tasks.splice(this.#tasks.indexOf(task), 1);
    else if (pause > 0 && !this.stopping) task.readyAt = this.now() + pause;
    return Math.max(trace.passed - before, 1);
  }

  #nextReady(): { steps: Task; readyAt: number } | undefined {
    for (let n = 0; n < this.#tasks.length; n++) {
      const task = this.#tasks[this.#turn++ % this.#tasks.length];
      if (task && (task.readyAt === 0 || this.stopping || task.readyAt <= this.now())) return task;
    }
    return undefined;
  }

  /** Brings all tasks to their ends. */
  windDown(): void {
    this.stopping = true;
    while (this.step() > 0);
  }

  /** A pid for the first vCPU's thread of one more VM; those of the others follow. */
  newVmPid(): number {
    return vmPid(this.cpu, this.#vms++);
  }

  /** A hypercall; returns its x1, or x0 where there is no such call: an error is below zero. */
  hvc(name: HypercallName | number, ...args: Register[]): number {
    const id = typeof name === 'number' ? name : HYPERCALLS[name].id;
    const { x0, x1 } = this.#trap(() => this.hypervisor.hvc(this.cpu, id, ...args));
    return x0 === SMCCC_RET_SUCCESS ? x1 : x0;
  }

  /** An SMC; undefined when the CPU powered down. */
  smc(id: number, ...args: number[]): SmcResult | undefined {
    const [x1 = 0, x2 = 0, x3 = 0] = args;
    return this.#trap(() => this.hypervisor.smc(this.cpu, id, x1, x2, x3));
  }

  touch(phys: number, access: Access): boolean {
    return this.#trap(() => this.hypervisor.hostAccess(this.cpu, phys, access));
  }

  sysreg(): void {
    this.#trap(() => this.hypervisor.sysreg(this.cpu));
  }

  /** Brings another CPU up or down, where that can be. */
  setOnline(target: number, on: boolean): void {
    try {
      if (on) cpuUp(this.hypervisor, this.cpu, target);
      else cpuDown(this.hypervisor, target);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
    }
  }

  /** Some pages in one piece, or undefined when there are none left. */
  alloc(nrPages: number): number | undefined {
    try {
      return this.pages.alloc(nrPages * PAGE_SIZE);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      return undefined;
    }
  }

  free(at: number, nrPages: number): void {
    this.pages.free(at, nrPages * PAGE_SIZE);
  }

  /** Does something that traps, once the CPU is on. */
  #trap<T>(trap: () => T): T {
    for (;;) {
      try {
        return this.hypervisor.on(this.cpu, trap);
      } catch (error) {
        if (!(error instanceof CpuOffError)) throw error;
        this.#waitUntilOn();
      }
    }
  }
}

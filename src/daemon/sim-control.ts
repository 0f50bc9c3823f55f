import { setImmediate } from 'node:timers/promises';
import { ErrnoError } from '../errno.ts';
import { AsyncMutex } from '../fs/async-mutex.ts';
import type { Io } from '../fs/nodes.ts';
import type { SimCallbacks } from '../fs/sim-dir.ts';
import { cpuDown, cpuUp } from '../host-sim/cpu-hotplug.ts';
import { parseDuration } from '../host-sim/duration.ts';
import type { Scenario } from '../host-sim/scenario.ts';
import { ScenarioError } from '../host-sim/scenario-error.ts';
import type { VirtualHost } from '../host-sim/virtual-host.ts';
import type { Workload } from '../host-sim/workload.ts';
import type { HostTask } from '../host-task.ts';
import type { HypVm } from '../hypervisor-sim/hyp-vm.ts';
import { CpuOffError } from '../hypervisor-sim/hypervisor.ts';
import { countPages } from '../hypervisor-sim/ownership-walk.ts';
import { NS_PER_S } from '../units.ts';
import { formatHypercall, parseHypercall } from './hypercall-text.ts';
import type { Machine } from './machine.ts';
import { formatRate, MAX_SEED, parseRateText } from './options.ts';
import { readScenario } from './scenarios.ts';
import { statsTable } from './stats-table.ts';
import { vmPages, vmState, vmVcpus } from './vm-text.ts';

/** Virtual time goes by for so long of real time, and then other requests have their turn. */
const SLICE_MS = 2;
const MAX_ADVANCE_NS = 3_600 * NS_PER_S;

/** What sim/ shows and does. */
export class SimControl implements SimCallbacks {
  readonly cpus: readonly number[];
  readonly #machine: Machine;
  readonly #workload: Workload;
  readonly #virtual: VirtualHost | undefined;
  /** Changes of what runs come one after the other. */
  readonly #changing = new AsyncMutex();
  #scenario: Scenario;
  #seed: number;
  #lastHypercall = '';

  constructor(options: {
    machine: Machine;
    workload: Workload;
    /** The same workload, where time is virtual. */
    virtual: VirtualHost | undefined;
    scenario: Scenario;
    seed: number;
  }) {
    this.#machine = options.machine;
    this.#workload = options.workload;
    this.#virtual = options.virtual;
    this.#scenario = options.scenario;
    this.#seed = options.seed;
    this.cpus = Array.from({ length: options.machine.hypervisor.nrCpus }, (_, cpu) => cpu);
  }

  scenario(): string {
    return this.#scenario.name;
  }

  /** @throws ErrnoError EINVAL for no scenario; ENOMEM for one too large for this machine; EINTR. */
  async setScenario(text: string, io: Io): Promise<void> {
    const scenario = await scenarioOrErrno(text);
    return this.#changing.runInterruptible(io, async () => {
      await this.#workload.run(scenario, this.#seed);
      this.#scenario = scenario;
      this.#workload.rate = scenario.rate;
    });
  }

  seed(): string {
    return `${this.#seed}`;
  }

  /** Starts the scenario anew. @throws ErrnoError EINVAL, EINTR */
  setSeed(text: string, io: Io): Promise<void> {
    const seed = Number(text);
    if (!/^\d+$/.test(text) || seed > MAX_SEED) throw new ErrnoError('EINVAL', 'not a seed');
    return this.#changing.runInterruptible(io, async () => {
      await this.#workload.run(this.#scenario, seed);
      this.#seed = seed;
    });
  }

  rate(): string {
    return formatRate(this.#workload.rate);
  }

  /** @throws ErrnoError EINVAL */
  setRate(text: string): void {
    const rate = parseRateText(text);
    if (rate === undefined) throw new ErrnoError('EINVAL', 'not a rate');
    this.#workload.rate = rate;
  }

  clock(): string {
    const ns = this.#machine.now();
    const kind = this.#virtual ? 'virtual' : 'real';
    return `${kind} ${(ns / NS_PER_S).toFixed(9)}`;
  }

  /**
   * `advance TIME` or `suspend TIME`, in virtual time.
   *
   * @throws ErrnoError EOPNOTSUPP in real time, EINVAL for anything else, EINTR.
   */
  setClock(text: string, io: Io): Promise<void> {
    const virtual = this.#virtual;
    if (!virtual) throw new ErrnoError('EOPNOTSUPP', 'real time moves by itself');
    const [, order, time = ''] = /^(advance|suspend) (\S+)$/.exec(text) ?? [];
    const ns = parseDuration(time);
    if (order === undefined || ns === undefined || ns > MAX_ADVANCE_NS)
      throw new ErrnoError('EINVAL', 'neither advance nor suspend, and a time of up to 3600s');
    return this.#changing.runInterruptible(io, async () =>
      order === 'suspend' ? virtual.suspend(ns) : advance(virtual, ns, io),
    );
  }

  hypercall(): string {
    return this.#lastHypercall;
  }

  /** @throws ErrnoError EINVAL for what is no hypercall, ENXIO when the CPU is off. */
  makeHypercall(text: string, task: HostTask): void {
    const { hypervisor } = this.#machine;
    const call = parseHypercall(text, hypervisor.nrCpus);
    const make = (cpu: number): void => {
      const result = hypervisor.hvc(cpu, call.id, ...call.args);
      this.#lastHypercall = formatHypercall(cpu, call, result);
    };
    const { cpu } = call;
    if (cpu === undefined) hypervisor.onTasksCpu(task.cpu(), make);
    else orErrno(() => hypervisor.on(cpu, () => make(cpu)));
  }

  isOnline(cpu: number): boolean {
    return this.#machine.hypervisor.isOnline(cpu);
  }

  /** @throws ErrnoError EINVAL; EBUSY for the boot CPU, which stays on. */
  setOnline(cpu: number, text: string, task: HostTask): void {
    if (text !== '0' && text !== '1') throw new ErrnoError('EINVAL', 'neither 0 nor 1');
    const { hypervisor } = this.#machine;
    if (text === '0') cpuDown(hypervisor, cpu);
    else cpuUp(hypervisor, task.cpu(), cpu);
  }

  get vms(): string[] {
    return this.#machine.hypervisor.cpu(0).vms.handles.map((handle) => `0x${handle.toString(16)}`);
  }

  vmState(handle: string): string {
    return this.#vm(handle, vmState);
  }

  vmVcpus(handle: string): string {
    return this.#vm(handle, vmVcpus);
  }

  vmPages(handle: string): string {
    const { ownership } = this.#machine.hypervisor.machine;
    return this.#vm(handle, (vm) => vmPages(vm, ownership));
  }

  #vm<T>(handle: string, look: (vm: HypVm) => T): T {
    return this.#machine.hypervisor.cpu(0).vms.with(Number(handle), look);
  }

  memory(): string {
    const count = countPages(this.#machine.hypervisor.machine.ownership);
    return Object.entries(count)
      .map(([what, pages]) => `${what}: ${pages}`)
      .join('\n');
  }

  stats(): string {
    return statsTable(this.#machine.hypervisor, this.#machine.counterHz);
  }
}

async function advance(virtual: VirtualHost, ns: number, io: Io): Promise<void> {
  let interrupted = false;
  io.onInterrupt(() => {
    interrupted = true;
  });
  for (let left = ns; left > 0; ) {
    if (interrupted) throw new ErrnoError('EINTR', 'a signal came');
    const until = performance.now() + SLICE_MS;
    left = virtual.advance(left, () => performance.now() < until);
    await setImmediate();
  }
}

function orErrno(trap: () => void): void {
  try {
    trap();
  } catch (error) {
    if (error instanceof CpuOffError) throw new ErrnoError('ENXIO', 'the CPU is off');
    throw error;
  }
}

async function scenarioOrErrno(text: string): Promise<Scenario> {
  try {
    return await readScenario(text);
  } catch (error) {
    if (error instanceof ScenarioError) throw new ErrnoError('EINVAL', error.message);
    throw error;
  }
}

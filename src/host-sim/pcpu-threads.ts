import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import type { MachineBuffers } from '../hypervisor-sim/machine-memory.ts';
import { BOOT_CPU, cpuUp } from './cpu-hotplug.ts';
import type { PageAllocator } from './page-allocator.ts';
import { allocateControl, PcpuControl } from './pcpu-control.ts';
import type { Scenario } from './scenario.ts';
import { allocatePools, freePools, type Pool, type Workload } from './workload.ts';

export interface PcpuThreadsOptions {
  readonly hypervisor: Hypervisor;
  readonly buffers: MachineBuffers;
  /** The host's pages. */
  readonly pages: PageAllocator;
  readonly counterHz: number;
  /** When the machine's counter was 0, in ns of CLOCK_MONOTONIC. */
  readonly switchedOnNs: number;
  /** Called when a thread dies of a bug. */
  readonly onError: (error: unknown) => void;
}

export interface PcpuWorkerData
  extends Pick<PcpuThreadsOptions, 'buffers' | 'counterHz' | 'switchedOnNs'> {
  readonly cpu: number;
  readonly control: SharedArrayBuffer;
}

/** What a thread is told: what to run, or to wind down and say so. */
export type PcpuOrder =
  | {
      readonly order: 'run';
      readonly scenario: Scenario;
      readonly seed: number;
      readonly pool: Pool;
    }
  | { readonly order: 'wind down' };

/** How often a CPU that a dying scenario has switched off is brought up to give back its pages. */
const REVIVE_MS = 5;

/** A thread for each pCPU: the workload in real time. */
export class PcpuThreads implements Workload {
  readonly #options: PcpuThreadsOptions;
  readonly #controlBuffer = allocateControl();
  readonly #control = new PcpuControl(this.#controlBuffer);
  /** By CPU, those that were started so far. */
  readonly #workers: Worker[] = [];
  /** Each has said that it runs; never, if one could not start. */
  readonly #running: Promise<unknown>;
  #pools: Pool[] = [];
  /** What each CPU is to run. */
  #orders: PcpuOrder[] = [];

  private constructor(options: PcpuThreadsOptions) {
    this.#options = options;
    this.#running = this.#startAll();
    this.#running.catch(() => {}); // Its error is the worker's, which has a listener.
  }

  /** Starts the threads. They take a moment to run, which nobody needs to wait for. */
  static start(options: PcpuThreadsOptions): PcpuThreads {
    return new PcpuThreads(options);
  }

  /** As many at a time as the host has CPUs, so that there is time for its other threads. */
  async #startAll(): Promise<void> {
    const cpus = Array(this.#options.buffers.nrCpus).keys();
    const startInTurn = async (): Promise<void> => {
      for (const cpu of cpus) if (!this.#control.stopped) await this.#startOne(cpu);
    };
    await Promise.all(Array.from({ length: availableParallelism() }, startInTurn));
  }

  async #startOne(cpu: number): Promise<void> {
    const { buffers, counterHz, switchedOnNs, onError } = this.#options;
    const worker = spawn({ buffers, counterHz, switchedOnNs, cpu, control: this.#controlBuffer });
    worker.on('error', onError);
    this.#workers[cpu] = worker;
    const order = this.#orders[cpu];
    if (order) worker.postMessage(order);
    await once(worker, 'message');
  }

  get rate(): number {
    return this.#control.rate;
  }

  set rate(eventsPerSecond: number) {
    this.#control.rate = eventsPerSecond;
  }

  async run(scenario: Scenario, seed: number): Promise<void> {
    await this.windDown();
    const { pages, buffers } = this.#options;
    this.#pools = allocatePools(pages, scenario, buffers.nrCpus);
    this.#orders = this.#pools.map((pool) => ({ order: 'run', scenario, seed, pool }));
    for (const [cpu, worker] of this.#workers.entries()) worker.postMessage(this.#orders[cpu]);
    this.#control.changed();
  }

  async windDown(): Promise<void> {
    if (this.#pools.length === 0) return;
    await this.#running; // Or the next message would be that one.
    const done = Promise.all(this.#workers.map((worker) => once(worker, 'message')));
    const windDown: PcpuOrder = { order: 'wind down' };
    for (const worker of this.#workers) worker.postMessage(windDown);
    this.#control.changed();
    const revive = setInterval(() => this.#bringAllUp(), REVIVE_MS);
    try {
      await done;
    } finally {
      clearInterval(revive);
    }
    this.#bringAllUp();
    freePools(this.#options.pages, this.#pools);
    this.#pools = [];
  }

  /** Ends the threads, whatever they are at. */
  async stop(): Promise<void> {
    this.#control.stop();
    await Promise.all(this.#workers.map((worker) => exited(worker)));
  }

  #bringAllUp(): void {
    const { hypervisor } = this.#options;
    for (let cpu = 0; cpu < hypervisor.nrCpus; cpu++)
      if (!hypervisor.isOnline(cpu)) cpuUp(hypervisor, BOOT_CPU, cpu);
  }
}

/**
 * A worker runs what its parent runs: the build's output, or, in a test, the TypeScript itself,
 * which takes a loader of its own.
 */
function spawn(workerData: PcpuWorkerData): Worker {
  if (!import.meta.url.endsWith('.ts'))
    return new Worker(new URL('../host-sim/pcpu-worker.js', import.meta.url), { workerData });
  const loader = new URL('../../scripts/tsx-register.mjs', import.meta.url);
  return new Worker(new URL('./pcpu-worker.ts', import.meta.url), {
    workerData,
    execArgv: ['--import', loader.href],
  });
}

async function exited(worker: Worker): Promise<void> {
  if (worker.threadId !== -1) await once(worker, 'exit');
}

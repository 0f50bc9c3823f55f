import { availableParallelism, setPriority } from 'node:os';
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from 'node:worker_threads';
import { defined } from '../assert.ts';
import { monotonicNs, systemCounter } from '../hypervisor-sim/counter.ts';
import { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { realTime } from '../hypervisor-sim/machine-time.ts';
import { NS_PER_MS, NS_PER_S } from '../units.ts';
import { HostCpu } from './host-cpu.ts';
import { PageAllocator } from './page-allocator.ts';
import { PcpuControl } from './pcpu-control.ts';
import type { PcpuOrder, PcpuWorkerData } from './pcpu-threads.ts';

/** How many steps go by without a look at the time. */
const BATCH = 1_000;
/** A thread that sleeps for less is mostly busy with falling asleep and waking up. */
const MIN_SLEEP_MS = 1;
/** How long a CPU that is off sleeps without a look at the control. */
const OFF_MS = 20;

/** The control said stop while the CPU was off. */
class Stopped extends Error {}

/** A pCPU's own thread: takes its tasks' traps at the rate that the control says. */
class PcpuWorker {
  readonly #cpu: number;
  readonly #hypervisor: Hypervisor;
  readonly #control: PcpuControl;
  readonly #port: MessagePort;
  #host: HostCpu | undefined;
  #budget = 0;
  #last = monotonicNs();

  constructor(data: PcpuWorkerData, port: MessagePort) {
    this.#cpu = data.cpu;
    const counter = systemCounter(data.counterHz, data.switchedOnNs);
    this.#hypervisor = new Hypervisor(data.buffers, realTime(counter));
    this.#control = new PcpuControl(data.control);
    this.#port = port;
  }

  /** Never waits on another thread, except for its turn on its pCPU, or to be switched on. */
  run(): void {
    this.#port.postMessage('ready');
    let rate = this.#control.rate;
    while (!this.#control.stopped) {
      const seen = this.#control.changes;
      this.#takeOrders();
      const newRate = this.#control.rate; // Before the time: what went by until then has the old rate.
      this.#earn(rate);
      rate = newRate;
      if (this.#hypervisor.isOnline(this.#cpu)) this.#work(seen, rate);
      else this.#hypervisor.cpu(this.#cpu).pcpu.waitWhileOff(OFF_MS);
    }
  }

  #work(seen: number, rate: number): void {
    if (!this.#host) {
      this.#control.sleep(seen, Number.POSITIVE_INFINITY);
      return;
    }
    if (this.#budget < 1) {
      const missingNs = ((1 - this.#budget) / rate) * NS_PER_S;
      this.#control.sleep(seen, Math.max(msFromNs(missingNs), MIN_SLEEP_MS));
    }
    for (let step = 0; step < BATCH && this.#budget >= 1; step++) {
      if (this.#control.changes !== seen) return; // Among many threads a step may take long.
      const worth = this.#host.step();
      if (worth === 0) {
        this.#control.sleep(seen, msFromNs(this.#host.readyAt - monotonicNs()));
        return;
      }
      this.#budget -= worth;
    }
  }

  /** What the time since the last look allows for. */
  #earn(rate: number): void {
    const now = monotonicNs();
    this.#budget +=
      rate === Number.POSITIVE_INFINITY ? rate : ((now - this.#last) / NS_PER_S) * rate;
    this.#last = now;
    // What a suspended machine missed it does not make up for: a second's worth at the most.
    this.#budget = Math.min(this.#budget, Math.max(rate, 1));
  }

  #takeOrders(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: PcpuOrder } | undefined;
      if (!received) return;
      this.#obey(received.message);
    }
  }

  #obey(order: PcpuOrder): void {
    if (order.order === 'wind down') {
      this.#host?.windDown();
      this.#host = undefined;
      this.#port.postMessage('done');
      return;
    }
    const { scenario, seed, pool } = order;
    this.#host = new HostCpu({
      hypervisor: this.#hypervisor,
      cpu: this.#cpu,
      pages: new PageAllocator(pool.nrPages, pool.base),
      scenario,
      seed,
      now: monotonicNs,
      waitUntilOn: () => {
        if (this.#control.stopped) throw new Stopped();
        this.#hypervisor.cpu(this.#cpu).pcpu.waitWhileOff(OFF_MS);
      },
    });
  }
}

/** By what factor the scheduler's weight of a thread goes down with each nice value: sched(7). */
const NICE_STEP = 1.25;
const MAX_NICE = 19;
const THIS_THREAD = 0;

/**
 * Threads that share the host's CPUs weigh together, on each of them, as much as one thread. So
 * the thread that serves the files finds time, however many pCPUs there are.
 */
function yieldToOthers(nrCpus: number): void {
  const threadsPerCpu = nrCpus / availableParallelism();
  if (threadsPerCpu <= 1) return;
  const nice = Math.round(Math.log(threadsPerCpu) / Math.log(NICE_STEP));
  setPriority(THIS_THREAD, Math.min(nice, MAX_NICE));
}

const msFromNs = (ns: number): number => Math.max(ns, 0) / NS_PER_MS;

try {
  const data = workerData as PcpuWorkerData;
  yieldToOthers(data.buffers.nrCpus);
  new PcpuWorker(data, defined(parentPort ?? undefined, 'a port')).run();
} catch (error) {
  if (!(error instanceof Stopped)) throw error;
}

import { parentPort, workerData } from 'node:worker_threads';
import { defined } from '../assert.ts';
import { NS_PER_MS, NS_PER_S } from '../units.ts';
import { monotonicNs, systemCounter } from './counter.ts';
import { Hypervisor } from './hypervisor.ts';
import { PcpuControl } from './pcpu-control.ts';
import type { PcpuWorkerData } from './pcpu-threads.ts';
import { Workload } from './workload.ts';

/** A pCPU's own thread: takes the traps of its workload at the rate that the control says. */
function main(): void {
  const data = workerData as PcpuWorkerData;
  const counter = systemCounter(data.counterHz, data.switchedOnNs);
  const hypervisor = new Hypervisor(data.buffers, counter);
  const workload = new Workload(hypervisor, data.cpu, data.page, data.seed);
  const control = new PcpuControl(data.control);

  defined(parentPort ?? undefined, 'the port of a worker').postMessage('ready');
  run(workload, control);
}

/** How many traps go by without a look at the control. */
const BATCH = 1_000;

/** Never waits on another thread, except for its turn on its pCPU. */
function run(workload: Workload, control: PcpuControl): void {
  let rate = control.rate;
  let last = monotonicNs();
  let budget = 0;
  while (!control.stopped) {
    const seen = control.changes;
    const newRate = control.rate; // Before the time: what went by until then has the old rate.
    const now = monotonicNs();
    budget += eventsIn(now - last, rate);
    last = now;
    rate = newRate;
    // What a suspended machine missed it does not make up for: a second's worth at the most.
    budget = Math.min(budget, Math.max(rate, 1));
    if (budget < 1) control.sleep(seen, ((1 - budget) / rate) * (NS_PER_S / NS_PER_MS));
    for (let trap = 0; trap < BATCH && budget >= 1; trap++) budget -= workload.step();
  }
}

function eventsIn(ns: number, rate: number): number {
  return rate === Number.POSITIVE_INFINITY ? rate : (ns / NS_PER_S) * rate;
}

main();

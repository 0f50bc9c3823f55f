import { parentPort, workerData } from 'node:worker_threads';
import { systemCounter } from '../src/hypervisor-sim/counter.ts';
import { Hypervisor } from '../src/hypervisor-sim/hypervisor.ts';
import type { MachineBuffers } from '../src/hypervisor-sim/machine-memory.ts';
import { realTime } from '../src/hypervisor-sim/machine-time.ts';
import { timeNs } from './benchmark.ts';
import { writeTraps } from './traps.ts';

/** A thread that writes events on one CPU: as many as each message says, and answers in how many ns. */
export interface EventWriterData {
  readonly buffers: MachineBuffers;
  readonly counterHz: number;
  readonly switchedOnNs: number;
  readonly cpu: number;
}

const { buffers, counterHz, switchedOnNs, cpu } = workerData as EventWriterData;
const hypervisor = new Hypervisor(buffers, realTime(systemCounter(counterHz, switchedOnNs)));
const hyp = hypervisor.cpu(cpu);

parentPort?.on('message', async (count: number) => {
  const ns = await timeNs(() => writeTraps(hyp, count));
  parentPort?.postMessage(ns);
});

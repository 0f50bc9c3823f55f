import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { MachineBuffers } from './machine-memory.ts';
import { allocateControl, PcpuControl } from './pcpu-control.ts';

export interface PcpuThreadsOptions {
  readonly buffers: MachineBuffers;
  readonly counterHz: number;
  /** When the machine's counter was 0, in ns of CLOCK_MONOTONIC. */
  readonly switchedOnNs: number;
  readonly seed: number;
  /** Events a second on each pCPU. */
  readonly rate: number;
  /** A page of the host's for each pCPU's workload. */
  readonly pages: readonly number[];
  /** Called when a thread dies of a bug. */
  readonly onError: (error: unknown) => void;
}

export interface PcpuWorkerData
  extends Pick<PcpuThreadsOptions, 'buffers' | 'counterHz' | 'switchedOnNs' | 'seed'> {
  readonly cpu: number;
  readonly page: number;
  readonly control: SharedArrayBuffer;
}

export interface PcpuThreads {
  readonly control: PcpuControl;
  stop(): Promise<void>;
}

/** Starts a thread for each pCPU; resolves when all of them run. */
export async function startPcpuThreads(options: PcpuThreadsOptions): Promise<PcpuThreads> {
  const { buffers, counterHz, switchedOnNs, seed, pages, onError } = options;
  const buffer = allocateControl();
  const control = new PcpuControl(buffer);
  control.rate = options.rate;
  const workers = pages.map((page, cpu) =>
    spawn({ buffers, counterHz, switchedOnNs, seed, cpu, page, control: buffer }),
  );
  const stop = async (): Promise<void> => {
    control.stop();
    await Promise.all(workers.map((worker) => exited(worker)));
  };
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')));
  } catch (error) {
    await stop();
    throw error;
  }
  for (const worker of workers) worker.on('error', onError);
  return { control, stop };
}

/**
 * A worker runs what its parent runs: the build's output, or, in a test, the TypeScript itself,
 * which takes a loader of its own.
 */
function spawn(workerData: PcpuWorkerData): Worker {
  if (!import.meta.url.endsWith('.ts'))
    return new Worker(new URL('./pcpu-worker.js', import.meta.url), { workerData });
  const loader = new URL('../../scripts/tsx-register.mjs', import.meta.url);
  return new Worker(new URL('./pcpu-worker.ts', import.meta.url), {
    workerData,
    execArgv: ['--import', loader.href],
  });
}

async function exited(worker: Worker): Promise<void> {
  if (worker.threadId !== -1) await once(worker, 'exit');
}

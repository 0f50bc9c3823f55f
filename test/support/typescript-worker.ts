import { Worker } from 'node:worker_threads';

/** A worker thread that runs a TypeScript file of this folder. */
export function typescriptWorker(name: string, workerData: unknown): Worker {
  const loader = new URL('../../scripts/tsx-register.mjs', import.meta.url);
  return new Worker(new URL(`./${name}`, import.meta.url), {
    workerData,
    execArgv: ['--import', loader.href],
  });
}

import { Worker } from 'node:worker_threads';

/** In a thread of its own, as the first one may be in a loop that has no end. */
const SOURCE = `
const { workerData: { shared, limitMs } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
let [seen, since] = [-1, Date.now()];
setInterval(() => {
  if (shared[0] !== seen) [seen, since] = [shared[0], Date.now()];
  else if (seen >= 0 && Date.now() - since > limitMs) {
    writeSync(2, 'contents: operation ' + seen + ' does not end\\n');
    if (shared[1] !== 0) process.kill(shared[1], 'SIGKILL');
    process.kill(process.pid, 'SIGKILL');
  }
}, 500);
`;

/** Ends the process when an operation does not end, and says which one it is. */
export class Watchdog {
  readonly #shared = new Int32Array(new SharedArrayBuffer(8)).fill(-1);

  constructor(limitMs: number) {
    const workerData = { shared: this.#shared, limitMs };
    new Worker(SOURCE, { eval: true, workerData }).unref();
  }

  /** `pid` is a process that ends with this one; 0 for none. */
  begin(number: number, pid: number): void {
    this.#shared[0] = number;
    this.#shared[1] = pid;
  }
}

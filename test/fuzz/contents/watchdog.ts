import { Worker } from 'node:worker_threads';

const NUMBER = 0;

/** In a thread of its own, as the first one may be in a loop that has no end. */
const SOURCE = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
let [seen, since] = [-1, Date.now()];
setInterval(() => {
  const number = workerData.shared[0];
  if (number !== seen) [seen, since] = [number, Date.now()];
  else if (seen >= 0 && Date.now() - since > workerData.limitMs) {
    writeSync(2, 'contents: operation ' + seen + ' does not end\\n');
    process.kill(process.pid, 'SIGKILL');
  }
}, 500);
`;

/** Ends the process when an operation does not end, and says which one it is. */
export class Watchdog {
  readonly #shared = new Int32Array(new SharedArrayBuffer(8));

  constructor(limitMs: number) {
    this.#shared[NUMBER] = -1;
    const workerData = { shared: this.#shared, limitMs };
    new Worker(SOURCE, { eval: true, workerData }).unref();
  }

  begin(number: number): void {
    this.#shared[NUMBER] = number;
  }
}

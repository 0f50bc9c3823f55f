import { Worker } from 'node:worker_threads';

/** In a thread of its own, as the first one may be in a loop that has no end. */
const SOURCE = `
const { workerData: { shared, limitMs, pids } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
let [seen, since] = [-1, Date.now()];
setInterval(() => {
  if (shared[0] !== seen) [seen, since] = [shared[0], Date.now()];
  else if (seen >= 0 && Date.now() - since > limitMs) {
    writeSync(2, 'contents: operation ' + seen + ' does not end\\n');
    for (const pid of [...pids, process.pid]) process.kill(pid, 'SIGKILL');
  }
}, 500);
`;

/** Ends the process when an operation does not end, and says which one it is. */
export class Watchdog {
  readonly #shared = new Int32Array(new SharedArrayBuffer(4)).fill(-1);

  /** `pids` are processes that end with this one. */
  constructor(limitMs: number, pids: readonly number[]) {
    const workerData = { shared: this.#shared, limitMs, pids };
    new Worker(SOURCE, { eval: true, workerData }).unref();
  }

  begin(number: number): void {
    this.#shared[0] = number;
  }
}

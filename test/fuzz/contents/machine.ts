import { constants } from 'node:fs';
import { HypTrace } from '../../../src/daemon/hyp-trace.ts';
import { switchOnVirtual } from '../../../src/daemon/machine.ts';
import { run, TextSink } from '../../../src/daemon/run.ts';
import { loadScenario } from '../../../src/daemon/scenarios.ts';
import { SimControl } from '../../../src/daemon/sim-control.ts';
import { ErrnoError } from '../../../src/errno.ts';
import { tracefsRoot } from '../../../src/fs/hypervisor-dir.ts';
import type { Dir, Io } from '../../../src/fs/nodes.ts';
import { TraceRemote } from '../../../src/fs/trace-remote.ts';
import { Tracefs } from '../../../src/fs/tracefs.ts';
import type { Scenario } from '../../../src/host-sim/scenario.ts';
import { VirtualHost } from '../../../src/host-sim/virtual-host.ts';
import { KERNEL_THREAD } from '../../../src/host-task.ts';
import { NS_PER_MS } from '../../../src/units.ts';

const OPTIONS = { cpus: 2, memoryMib: 8, counterHz: 1_000_000_000 };
const READ_SIZE = 65_536;
/** Events of this time wait to be filtered and printed by a read. */
const ADVANCE_NS = NS_PER_MS / 5;

/** A write that takes long is interrupted soon: as by a user who has no time. */
const IO: Io = {
  task: KERNEL_THREAD,
  nonblock: true,
  forCache: false,
  onInterrupt: (callback) => void setImmediate(callback),
};

/** A daemon's whole tree on a machine in virtual time, without a mount. */
export class FuzzedMachine {
  readonly #machine = switchOnVirtual(OPTIONS, loadScenario('boot'));
  readonly #host: VirtualHost;
  readonly #root: Dir;
  readonly #fs: Tracefs;

  constructor() {
    const { hypervisor, time, pages } = this.#machine;
    this.#host = new VirtualHost(hypervisor, time, pages);
    const sim = new SimControl({
      machine: this.#machine,
      workload: this.#host,
      virtual: this.#host,
      scenario: loadScenario('boot'),
      seed: 1,
    });
    this.#root = tracefsRoot(new TraceRemote(new HypTrace(this.#machine)), sim);
    this.#fs = new Tracefs(this.#root, { uid: 0, gid: 0 });
  }

  /** The paths that can be written to, of what stays. */
  get writable(): string[] {
    const below = (dir: Dir, at: string): string[] =>
      Object.entries(dir.children).flatMap(([name, node]) => {
        if (node.kind === 'dir') return below(node, `${at}/${name}`);
        return (node.mode & 0o200) === 0 ? [] : [`${at}/${name}`];
      });
    return below(this.#root, '');
  }

  /** printf BYTES > PATH, then cat PATH. */
  async write(path: string, bytes: Buffer): Promise<void> {
    const fd = await this.#fs.open(path, constants.O_RDWR | constants.O_TRUNC, KERNEL_THREAD);
    try {
      await orErrno(async () => {
        for (let done = 0, some = 1; some > 0 && done < bytes.length; done += some)
          some = await this.#fs.write(fd, bytes.subarray(done), IO);
      });
      await orErrno(() => this.#read(fd));
    } finally {
      await this.#close(fd);
    }
  }

  /** Lets the scenario run on for a moment and reads all that was traced, in both views. */
  async look(): Promise<void> {
    this.#host.advance(ADVANCE_NS);
    for (const path of ['/trace', '/trace_pipe', '/hypervisor/trace_pipe', '/error_log'])
      await orErrno(async () => {
        const fd = await this.#fs.open(path, constants.O_RDONLY, KERNEL_THREAD);
        try {
          await this.#read(fd);
        } finally {
          await this.#close(fd);
        }
      });
  }

  /** Has everything traced, and again after what a write may have switched off. */
  async traceAll(): Promise<void> {
    await this.write('/hypervisor/events/enable', Buffer.from('1'));
    await this.write('/hypervisor/tracing_on', Buffer.from('1'));
  }

  async run(scenario: Scenario): Promise<void> {
    await orErrno(() => this.#host.run(scenario, 1));
    this.#host.rate = Math.min(scenario.rate, 1e6);
    this.#host.advance(ADVANCE_NS);
  }

  async #read(fd: number): Promise<void> {
    await this.#fs.read(fd, Buffer.alloc(READ_SIZE), 0, IO);
  }

  async #close(fd: number): Promise<void> {
    this.#fs.flush(fd);
    await this.#fs.release(fd);
  }
}

/** What `run` does, with an end that comes soon. */
export async function runAlone(scenario: Scenario): Promise<void> {
  const options = { ...OPTIONS, scenario, seed: 1, rate: undefined, forNs: NS_PER_MS };
  await run({ ...options, events: undefined }, new TextSink(() => {}));
}

/** An ErrnoError is an answer; anything else is what the fuzzer looks for. */
export async function orErrno(operation: () => Promise<unknown>): Promise<void> {
  try {
    await operation();
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
  }
}

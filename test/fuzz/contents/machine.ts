import { constants, writeFileSync } from 'node:fs';
import { HypTrace } from '../../../src/daemon/hyp-trace.ts';
import { switchOnVirtual } from '../../../src/daemon/machine.ts';
import { run, TextSink } from '../../../src/daemon/run.ts';
import { loadScenario } from '../../../src/daemon/scenarios.ts';
import { SimControl } from '../../../src/daemon/sim-control.ts';
import { ErrnoError } from '../../../src/errno.ts';
import { tracefsRoot } from '../../../src/fs/hypervisor-dir.ts';
import type { Dir, Io } from '../../../src/fs/nodes.ts';
import { TraceRemote } from '../../../src/fs/trace-remote.ts';
import { parseScenario } from '../../../src/host-sim/scenario-file.ts';
import { VirtualHost } from '../../../src/host-sim/virtual-host.ts';
import { KERNEL_THREAD } from '../../../src/host-task.ts';
import { NS_PER_MS } from '../../../src/units.ts';
import { PathTracefs } from '../../support/path-tracefs.ts';
import type { Fuzzed } from './fuzzed.ts';

const OPTIONS = { cpus: 2, memoryMib: 8, counterHz: 1_000_000_000 };
const READ_SIZE = 65_536;
const MAX_RATE = 1e6;
/** Events of this time wait to be filtered and printed by a read. */
const ADVANCE_NS = NS_PER_MS / 5;

/** A write that takes long is interrupted soon, as by a user who has no time. */
const IO: Io = {
  task: KERNEL_THREAD,
  nonblock: true,
  forCache: false,
  isPageFault: () => false,
  onInterrupt: (callback) => void setImmediate(callback),
};

/** A daemon's whole tree on a machine in virtual time, without a mount. */
export class FuzzedMachine implements Fuzzed {
  readonly pid = 0;
  readonly #host: VirtualHost;
  readonly #root: Dir;
  readonly #fs: PathTracefs;

  private constructor() {
    const scenario = loadScenario('boot');
    const machine = switchOnVirtual(OPTIONS, scenario);
    this.#host = new VirtualHost(machine.hypervisor, machine.time, machine.pages);
    const sim = new SimControl({
      machine,
      workload: this.#host,
      virtual: this.#host,
      scenario,
      seed: 1,
    });
    this.#root = tracefsRoot(new TraceRemote(new HypTrace(machine)), sim);
    this.#fs = new PathTracefs(this.#root, { uid: 0, gid: 0 });
  }

  /** All of it traced. */
  static async start(): Promise<FuzzedMachine> {
    const machine = new FuzzedMachine();
    await machine.write('/hypervisor/events/enable', Buffer.from('1'));
    await machine.write('/hypervisor/tracing_on', Buffer.from('1'));
    return machine;
  }

  get writable(): string[] {
    const below = (dir: Dir, at: string): string[] =>
      Object.entries(dir.children).flatMap(([name, node]) => {
        if (node.kind === 'dir') return below(node, `${at}/${name}`);
        return (node.mode & 0o200) === 0 ? [] : [`${at}/${name}`];
      });
    return below(this.#root, '');
  }

  write(path: string, bytes: Buffer): Promise<void> {
    return this.#with(path, constants.O_RDWR | constants.O_TRUNC, async (fd) => {
      await orErrno(async () => {
        for (let done = 0, some = 1; some > 0 && done < bytes.length; done += some)
          some = await this.#fs.write(fd, bytes.subarray(done), IO);
      });
      await this.#read(fd);
    });
  }

  async look(): Promise<void> {
    this.#host.advance(ADVANCE_NS);
    for (const path of ['/trace', '/trace_pipe', '/hypervisor/trace_pipe', '/error_log'])
      await this.#with(path, constants.O_RDONLY, (fd) => this.#read(fd));
  }

  async scenario(bytes: Buffer, file: string): Promise<void> {
    const scenario = parseScenario('fuzzed', bytes.toString('utf8'), file);
    await orErrno(() => this.#host.run(scenario, 1));
    this.#host.rate = Math.min(scenario.rate, MAX_RATE);
    this.#host.advance(ADVANCE_NS);
  }

  async run(bytes: Buffer, file: string): Promise<void> {
    writeFileSync(file, bytes);
    const scenario = loadScenario(file);
    const options = { ...OPTIONS, scenario, seed: 1, rate: undefined, forNs: NS_PER_MS };
    await run({ ...options, events: undefined }, new TextSink(() => {}));
  }

  check(): void {}

  async stop(): Promise<void> {}

  async #with(path: string, flags: number, use: (fd: number) => Promise<void>): Promise<void> {
    await orErrno(async () => {
      const fd = await this.#fs.open(path, flags, KERNEL_THREAD);
      try {
        await use(fd);
      } finally {
        this.#fs.flush(fd);
        await this.#fs.release(fd);
      }
    });
  }

  async #read(fd: number): Promise<void> {
    await this.#fs.read(fd, Buffer.alloc(READ_SIZE), 0, IO);
  }
}

/** An ErrnoError is an answer; anything else is what the fuzzer looks for. */
async function orErrno(operation: () => Promise<unknown>): Promise<void> {
  try {
    await operation();
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
  }
}

import { constants } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { HypTrace } from '../../src/daemon/hyp-trace.ts';
import { ErrnoError } from '../../src/errno.ts';
import { tracefsRoot } from '../../src/fs/hypervisor-dir.ts';
import type { Io } from '../../src/fs/nodes.ts';
import { TraceRemote } from '../../src/fs/trace-remote.ts';
import { PageAllocator } from '../../src/host-sim/page-allocator.ts';
import type { HostTask } from '../../src/host-task.ts';
import type { HypercallName } from '../../src/hypervisor-sim/hypercalls.ts';
import { Hypervisor } from '../../src/hypervisor-sim/hypervisor.ts';
import { allocateMachine } from '../../src/hypervisor-sim/machine-memory.ts';
import { realTime } from '../../src/hypervisor-sim/machine-time.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { KIB, MIB, NS_PER_MS } from '../../src/units.ts';
import { PathTracefs } from './path-tracefs.ts';

const START_NS = 1_234_567_890_000;

/**
 * A whole system in one thread, without a mount: the hypervisor, the host's half of tracing and
 * the tree, on a clock that only `advance` moves. What a shell does is a method here.
 */
export class TestMachine {
  readonly hypervisor: Hypervisor;
  readonly pages: PageAllocator;
  readonly remote: TraceRemote;
  readonly fs: PathTracefs;
  readonly warnings: string[] = [];
  /** Of the hypercalls made by name, in order. */
  readonly hypercalls: HypercallName[] = [];
  /** The CPU that the shell is on. */
  cpu = 0;
  /** Whether that shell has been killed. */
  dying = false;
  #ns = START_NS;
  #failing: { name: HypercallName; left: number } | undefined;

  constructor({ cpus = 2, memory = 4 * MIB } = {}) {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const cycles = (): number => this.#ns - START_NS + 1_000;
    this.hypervisor = new Hypervisor(allocateMachine(cpus, memory), realTime(cycles));
    onTestFinished(() => void walkOwnership(this.hypervisor));
    this.pages = new PageAllocator(memory / (4 * KIB));
    const call = this.hypervisor.call.bind(this.hypervisor);
    vi.spyOn(this.hypervisor, 'call').mockImplementation((cpu, name, ...args) => {
      this.hypercalls.push(name);
      this.#failIfTold(name);
      return call(cpu, name, ...args);
    });
    this.remote = new TraceRemote(
      new HypTrace({
        hypervisor: this.hypervisor,
        pages: this.pages,
        now: () => this.#ns,
        snapshot: () => ({ cycles: BigInt(cycles()), bootNs: BigInt(this.#ns) }),
        clockSkewNs: 1_000,
        warn: (message) => this.warnings.push(message),
      }),
    );
    this.fs = new PathTracefs(tracefsRoot(this.remote), { uid: 0, gid: 0 });
  }

  get task(): HostTask {
    return { cpu: () => this.cpu, recentCpu: () => this.cpu, dying: () => this.dying };
  }

  /** Lets the `nth` hypercall of that name from now on fail with EPERM. */
  failHypercall(name: HypercallName, nth: number): void {
    this.#failing = { name, left: nth };
  }

  #failIfTold(name: HypercallName): void {
    const failing = this.#failing;
    if (failing?.name === name && --failing.left === 0)
      throw new ErrnoError('EPERM', 'for the test');
  }

  /** Lets time go by, a millisecond at a time; the timers that are due run. */
  async advance(ms: number): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve)); // What was begun sets its timers first.
    for (let n = 0; n < ms; n++) {
      this.#ns += NS_PER_MS;
      await vi.advanceTimersByTimeAsync(1);
    }
  }

  /** Moves the clock alone. */
  tick(ns: number): void {
    this.#ns += ns;
  }

  /** cat FILE, of a file with an end. */
  async cat(path: string): Promise<string> {
    const fd = await this.open(path, constants.O_RDONLY);
    const text = await this.read(fd);
    await this.close(fd);
    return text;
  }

  /** printf TEXT > FILE; resolves when the write has returned and the file is closed. */
  async write(path: string, text: string | Uint8Array): Promise<void> {
    const fd = await this.open(path, constants.O_WRONLY | constants.O_TRUNC);
    try {
      await this.fs.write(fd, Buffer.from(text), this.io());
    } finally {
      await this.close(fd);
    }
  }

  /** echo 1 > tracing_on, and the 100 ms that it takes. */
  async startTracing(): Promise<void> {
    const started = this.write('tracing_on', '1\n');
    await this.advance(101);
    await started;
  }

  open(path: string, flags: number, io = this.io()): Promise<number> {
    return this.fs.open(join('/hypervisor', path), flags, io.task, io.onInterrupt);
  }

  async read(fd: number, size = 65_536, offset = 0, io = this.io()): Promise<string> {
    const bytes = Buffer.alloc(size);
    return bytes.toString('latin1', 0, await this.fs.read(fd, bytes, offset, io));
  }

  async close(fd: number): Promise<void> {
    this.fs.flush(fd);
    await this.fs.release(fd);
  }

  io(options: Partial<Io> = {}): Io {
    return {
      task: this.task,
      nonblock: false,
      forCache: false,
      isPageFault: () => false,
      onInterrupt: () => {},
      ...options,
    };
  }

  /** All lines that a non-blocking read of a pipe gives. */
  async drain(pipe = 'trace_pipe'): Promise<string[]> {
    const fd = await this.open(pipe, constants.O_RDONLY);
    let text = '';
    try {
      for (;;) text += await this.read(fd, 65_536, 0, this.io({ nonblock: true }));
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.code !== 'EAGAIN') throw error;
    } finally {
      await this.close(fd);
    }
    return text.split('\n').slice(0, -1);
  }

  /** Enables selftest alone and starts tracing with a buffer of `kb` KiB. */
  async setup(kb = 16): Promise<void> {
    await this.write('buffer_size_kb', `${kb}\n`);
    await this.write('events/hypervisor/selftest/enable', '1\n');
    await this.startTracing();
  }

  async selftest(count = 1): Promise<void> {
    for (let n = 0; n < count; n++) {
      this.tick(1_000);
      await this.write('selftest_event', '1\n');
    }
  }
}

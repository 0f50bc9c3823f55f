import { ErrnoError } from '../errno.ts';
import type {
  RemoteBufferPages,
  RemoteEvent,
  StartingClock,
  TraceRemoteCallbacks,
} from '../fs/trace-remote.ts';
import type { PageAllocator } from '../host-sim/page-allocator.ts';
import { vcpuThreadName } from '../host-sim/vcpu-threads.ts';
import type { HostTask } from '../host-task.ts';
import { HYP_EVENTS, hypEventId } from '../hypervisor-sim/hyp-events.ts';
import type { HypTraceBuffer } from '../hypervisor-sim/hyp-trace-buffer.ts';
import { hypTraceDescSize, putHypTraceDesc } from '../hypervisor-sim/hyp-trace-desc.ts';
import type { HypercallName, Register } from '../hypervisor-sim/hypercalls.ts';
import type { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { pfnOf, physToVirt } from '../hypervisor-sim/memory.ts';
import { BPAGE_SIZE } from '../ringbuffer/page-link.ts';
import type { RemoteCallbacks, RemotePages } from '../ringbuffer/remote.ts';
import { PAGE_SIZE, pagesFor } from '../units.ts';
import { type Snapshot, startHypTraceClock } from './hyp-trace-clock.ts';

/** A ring has a reader page, and at least this many others to turn in. */
const MIN_RING_PAGES = 2n;
/** nr_page_va of the descriptor is an int. */
const MAX_PAGES = 2n ** 31n - 1n;

/** The hypervisor's events, as the tree shows them. */
export const HYP_REMOTE_EVENTS: readonly RemoteEvent[] = HYP_EVENTS.map(
  ({ name, fields, printFmt, values, print }, index) => ({
    name,
    id: hypEventId(index),
    fields,
    printFmt,
    values,
    print,
  }),
);

/** Reads without hypercalls, so that nothing of it shows in the trace; all CPUs are up. */
export const unseenReader = (trace: HypTraceBuffer): RemoteCallbacks => ({
  swapReaderPage: (cpu) => trace.swapReaderPage(cpu),
  reset: (cpu) => trace.reset(cpu),
  isOnline: () => true,
  timesUp: () => 0,
});

/** What the host's kernel offers to its tracing. */
export interface HypTraceHost {
  readonly hypervisor: Hypervisor;
  readonly pages: PageAllocator;
  /** CLOCK_BOOTTIME in ns. */
  now(): number;
  snapshot(): Snapshot;
  /**
   * Whether what files ask for takes no time and leaves no event. In virtual time it has to: a file
   * is read and written at moments, and by tasks on CPUs, that no scenario and no seed decide.
   */
  readonly unseen?: boolean;
  /** By how much the clocks of two CPUs may differ, in ns. */
  readonly clockSkewNs: number;
  /** The counter's frequency, where it is known and need not be measured. */
  readonly exactHz?: bigint;
  warn(message: string): void;
}

/** What was done, as how to undo it; each step on behalf of whoever undoes it. */
type Undo = ((task: HostTask) => void)[];

/**
 * The host's half of hypervisor tracing, the kernel's kvm/hyp_trace.c: it makes hypercalls of
 * what the tree wants, and lends the hypervisor the pages of its rings.
 */
export class HypTrace implements TraceRemoteCallbacks {
  readonly cpus: readonly number[];
  readonly events = HYP_REMOTE_EVENTS;
  readonly #host: HypTraceHost;
  readonly #stuck = new Set<number>();
  #loaded: Undo = [];

  constructor(host: HypTraceHost) {
    this.#host = host;
    this.cpus = Array.from({ length: host.hypervisor.nrCpus }, (_, cpu) => cpu);
  }

  now(): number {
    return this.#host.now();
  }

  vcpus(): readonly number[] {
    const { hypervisor } = this.#host;
    return [...new Set(this.cpus.flatMap((cpu) => hypervisor.cpu(cpu).pcpu.loadedVcpus))];
  }

  vcpuName(pid: number): string {
    return vcpuThreadName(pid);
  }

  settledUntil(): number {
    const now = this.#host.now() - this.#host.clockSkewNs;
    this.#host.hypervisor.kickAllCpus();
    return now;
  }

  isOnline(cpu: number): boolean {
    return this.#host.hypervisor.isOnline(cpu);
  }

  timesUp(cpu: number): number {
    return this.#host.hypervisor.cpu(cpu).pcpu.entries;
  }

  startClock(task: HostTask): StartingClock {
    const host = this.#host;
    return startHypTraceClock({
      snapshot: () => host.snapshot(),
      exactHz: host.exactHz,
      warn: (message) => host.warn(message),
      update: ({ mult, shift, epochNs, epochCyc }) =>
        this.#call(task, '__pkvm_update_clock_tracing', mult, shift, epochNs, epochCyc),
    });
  }

  /** @throws ErrnoError E2BIG or ENOMEM for a size that cannot be had; what a hypercall answers. */
  loadTraceBuffer(bytes: bigint, task: HostTask): RemoteBufferPages {
    const nrPages = nrPagesFor(bytes);
    const undo: Undo = [];
    try {
      const descSize = wholePages(hypTraceDescSize(this.cpus.length, nrPages));
      const desc = this.#alloc(descSize, undo);
      const rings = this.cpus.map((cpu) => this.#allocRing(cpu, nrPages, undo));
      const backingSize = wholePages(BPAGE_SIZE * nrPages * this.cpus.length);
      const backing = this.#alloc(backingSize, undo);
      for (const { meta, pages } of rings)
        for (const page of [meta, ...pages]) this.#share(page, task, undo);

      const { ram } = this.#host.hypervisor.machine;
      putHypTraceDesc(ram.view, desc, {
        backingStart: physToVirt(backing),
        backingSize: BigInt(backingSize),
        rings: rings.map(({ cpu, meta, pages }) => ({
          cpu,
          meta: physToVirt(meta),
          pages: pages.map(physToVirt),
        })),
      });
      this.#call(task, '__pkvm_load_tracing', physToVirt(desc), descSize);
      undo.push((by) => this.#call(by, '__pkvm_teardown_tracing'));
      this.#loaded = undo;
      return { memory: ram, rings };
    } catch (error) {
      unwind(undo, task);
      throw error;
    }
  }

  unloadTraceBuffer(task: HostTask): void {
    unwind(this.#loaded, task);
  }

  enableTracing(on: boolean, task: HostTask): void {
    this.#call(task, '__pkvm_enable_tracing', on ? 1 : 0);
  }

  swapReaderPage(cpu: number, task: HostTask): void {
    this.#callOften(task, '__pkvm_swap_reader_tracing', cpu);
  }

  reset(cpu: number, task: HostTask): void {
    this.#call(task, '__pkvm_reset_tracing', cpu);
  }

  enableEvent(id: number, on: boolean, task: HostTask): void {
    this.#call(task, '__pkvm_enable_event', id, on ? 1 : 0);
  }

  /** A trap in virtual time too: whoever opens the file wants an event on the own CPU. */
  writeSelftestEvent(task: HostTask): void {
    this.#trapOn(task.cpu(), '__pkvm_selftest_event');
  }

  #allocRing(cpu: number, nrPages: number, undo: Undo): RemotePages {
    const meta = this.#alloc(PAGE_SIZE, undo);
    const pages = Array.from({ length: nrPages }, () => this.#alloc(PAGE_SIZE, undo));
    return { cpu, meta, pages };
  }

  #alloc(bytes: number, undo: Undo): number {
    const at = this.#host.pages.alloc(bytes);
    undo.push(() => {
      if (!this.#stuck.has(at)) this.#host.pages.free(at, bytes);
    });
    return at;
  }

  #share(page: number, task: HostTask, undo: Undo): void {
    this.#callOften(task, '__pkvm_host_share_hyp', pfnOf(page), 1);
    undo.push((by) => this.#unshare(page, by));
  }

  /** A page that does not come back, as somebody else made use of it, is not used again. */
  #unshare(page: number, task: HostTask): void {
    try {
      this.#callOften(task, '__pkvm_host_unshare_hyp', pfnOf(page), 1);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      this.#stuck.add(page);
      this.#host.warn(`page 0x${pfnOf(page).toString(16)} of the trace buffer: ${error.message}`);
    }
  }

  #call(task: HostTask, name: HypercallName, ...args: Register[]): void {
    const { hypervisor, unseen } = this.#host;
    if (unseen) hypervisor.callUnseen(name, ...args);
    else this.#trapOn(task.cpu(), name, ...args);
  }

  /** Makes one of many hypercalls: to look each time where the task is would take longer than they do. */
  #callOften(task: HostTask, name: HypercallName, ...args: Register[]): void {
    const { hypervisor, unseen } = this.#host;
    if (unseen) hypervisor.callUnseen(name, ...args);
    else this.#trapOn(task.recentCpu(), name, ...args);
  }

  #trapOn(hostCpu: number, name: HypercallName, ...args: Register[]): void {
    const { hypervisor } = this.#host;
    hypervisor.onTasksCpu(hostCpu, (cpu) => hypervisor.call(cpu, name, ...args));
  }
}

/** Pages for `bytes` of events on a CPU: the reader page and a ring. */
function nrPagesFor(bytes: bigint): number {
  const ring = (bytes + BigInt(PAGE_SIZE) - 1n) / BigInt(PAGE_SIZE);
  const nrPages = (ring > MIN_RING_PAGES ? ring : MIN_RING_PAGES) + 1n;
  if (nrPages > MAX_PAGES) throw new ErrnoError('E2BIG', `${nrPages} pages`);
  return Number(nrPages);
}

const wholePages = (bytes: number): number => pagesFor(bytes) * PAGE_SIZE;

function unwind(undo: Undo, task: HostTask): void {
  for (let step = undo.pop(); step; step = undo.pop()) step(task);
}

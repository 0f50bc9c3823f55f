import { expect, onTestFinished, test } from 'vitest';
import { HypTrace } from '../../src/daemon/hyp-trace.ts';
import { monotonicNs, systemCounter } from '../../src/hypervisor-sim/counter.ts';
import { Hypervisor } from '../../src/hypervisor-sim/hypervisor.ts';
import { allocateMachine } from '../../src/hypervisor-sim/machine-memory.ts';
import { PageAllocator } from '../../src/hypervisor-sim/page-allocator.ts';
import { startPcpuThreads } from '../../src/hypervisor-sim/pcpu-threads.ts';
import { oldest, RemoteBuffer } from '../../src/ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../../src/ringbuffer/remote-reader.ts';
import { MIB, PAGE_SIZE } from '../../src/units.ts';
import { TASK } from '../support/ring.ts';

/** A machine with a thread for each pCPU, all events enabled. */
async function machine(cpus: number, rate: number) {
  const counterHz = 1_000_000_000;
  const buffers = allocateMachine(cpus, 16 * MIB);
  const switchedOnNs = monotonicNs();
  const hypervisor = new Hypervisor(buffers, systemCounter(counterHz, switchedOnNs));
  const pages = new PageAllocator(hypervisor.machine.ram.nrPages);
  const errors: unknown[] = [];
  const trace = new HypTrace({
    hypervisor,
    pages,
    now: monotonicNs,
    snapshot: () => ({ cycles: 0n, bootNs: 0n }),
    warn: () => {},
  });
  for (const { id } of trace.events) trace.enableEvent(id, true, TASK);
  const shift = 23; // A counter of 1 GHz counts nanoseconds.
  hypervisor.call(0, '__pkvm_update_clock_tracing', 2 ** shift, shift, 0, 0);
  const { memory, rings } = trace.loadTraceBuffer(7n * 1024n, TASK);
  const buffer = new RemoteBuffer(memory, rings, trace);
  const threads = await startPcpuThreads({
    buffers,
    counterHz,
    switchedOnNs,
    rate,
    seed: 1,
    pages: Array.from({ length: cpus }, () => pages.alloc(PAGE_SIZE)),
    onError: (error) => errors.push(error),
  });
  onTestFinished(threads.stop);
  return { hypervisor, trace, buffer, memory, threads, errors };
}

/** Checks what each CPU's trace must be like, event by event. */
class Checker {
  readonly #last = new Map<number, { ts: number; isEnter: boolean }>();
  read = 0;
  lost = 0;
  readonly #enterId: number;

  constructor(enterId: number) {
    this.#enterId = enterId;
  }

  take(reader: RemoteReader, payload: DataView): void {
    const isEnter = payload.getUint16(0, true) === this.#enterId;
    const last = this.#last.get(reader.cpu);
    if (last && reader.ts < last.ts) throw new Error(`cpu ${reader.cpu}: time went back`);
    if (last && reader.lostEvents === 0 && last.isEnter === isEnter)
      throw new Error(`cpu ${reader.cpu}: two ${isEnter ? 'enters' : 'exits'} in a row`);
    this.#last.set(reader.cpu, { ts: reader.ts, isEnter });
    this.lost += reader.lostEvents;
    this.read++;
  }
}

test('pCPUs at full speed and a slow reader: all in order, all accounted for', async () => {
  const { hypervisor, trace, buffer, memory, threads, errors } = await machine(
    3,
    Number.POSITIVE_INFINITY,
  );
  const enterId = trace.events.find(({ name }) => name === 'hyp_enter')?.id ?? 0;
  const checker = new Checker(enterId);
  const drain = (): void => {
    buffer.poll();
    for (let next = oldest(buffer.readers, TASK); next; next = oldest(buffer.readers, TASK)) {
      checker.take(next, new DataView(memory.buffer, next.payload, next.length));
      next.consume();
    }
  };

  trace.enableTracing(true, TASK);
  const deadline = performance.now() + 3_000;
  while (performance.now() < deadline) {
    drain();
    hypervisor.hvc(1, 0xdead); // From this thread: whoever holds the lock is the CPU.
    await new Promise((resolve) => setImmediate(resolve));
  }
  trace.enableTracing(false, TASK);
  drain();
  await threads.stop();

  const stats = buffer.readers.map((reader) => reader.stats());
  const written = stats.reduce(
    (sum, { entries, overrun, readEvents }) => sum + entries + overrun + readEvents,
    0,
  );
  expect(stats.every(({ entries }) => entries === 0)).toBe(true);
  expect(checker.read + checker.lost).toBe(written);
  expect(checker.lost).toBeGreaterThan(0);
  expect(errors).toEqual([]);
  trace.unloadTraceBuffer(TASK);
  expect(hypervisor.machine.ownership.count().pinned).toBe(0);
});

test('a pCPU makes the events that its rate says, and none at a rate of 0', async () => {
  const { trace, buffer, threads } = await machine(1, 0);
  trace.enableTracing(true, TASK);
  const [reader] = buffer.readers as [RemoteReader];
  reader.poll();
  expect(reader.unread).toBe(1); // The exit of the hypercall that enabled it.

  const start = performance.now(); // Before: the rate counts from when it is set.
  threads.control.rate = 10_000;
  for (; reader.written < 2_000; reader.poll())
    await new Promise((resolve) => setImmediate(resolve));
  const seconds = (performance.now() - start) / 1_000;
  expect(seconds).toBeGreaterThan(0.18);
  trace.enableTracing(false, TASK);
  trace.unloadTraceBuffer(TASK);
});

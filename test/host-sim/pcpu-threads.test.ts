import { env } from 'node:process';
import { expect, onTestFinished, test } from 'vitest';
import { HypTrace } from '../../src/daemon/hyp-trace.ts';
import { loadScenario } from '../../src/daemon/scenarios.ts';
import { PageAllocator } from '../../src/host-sim/page-allocator.ts';
import { PcpuThreads } from '../../src/host-sim/pcpu-threads.ts';
import { monotonicNs, systemCounter } from '../../src/hypervisor-sim/counter.ts';
import { Hypervisor } from '../../src/hypervisor-sim/hypervisor.ts';
import { allocateMachine } from '../../src/hypervisor-sim/machine-memory.ts';
import { realTime } from '../../src/hypervisor-sim/machine-time.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { RemoteBuffer } from '../../src/ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../../src/ringbuffer/remote-reader.ts';
import { MIB } from '../../src/units.ts';
import { TASK } from '../support/ring.ts';
import { TraceChecker } from '../support/trace-checker.ts';

/** A machine with a thread for each pCPU, all events enabled. */
async function machine(scenario: string, cpus: number, rate: number) {
  const counterHz = 1_000_000_000;
  const buffers = allocateMachine(cpus, 16 * MIB);
  const switchedOnNs = monotonicNs();
  const hypervisor = new Hypervisor(buffers, realTime(systemCounter(counterHz, switchedOnNs)));
  const pages = new PageAllocator(hypervisor.machine.ram.nrPages);
  const errors: unknown[] = [];
  const trace = new HypTrace({
    hypervisor,
    pages,
    now: monotonicNs,
    snapshot: () => ({ cycles: 0n, bootNs: 0n }),
    clockSkewNs: 1_000,
    warn: () => {},
  });
  for (const { id } of trace.events) trace.enableEvent(id, true, TASK);
  const shift = 23; // A counter of 1 GHz counts nanoseconds.
  hypervisor.call(0, '__pkvm_update_clock_tracing', 2 ** shift, shift, 0, 0);
  const { memory, rings } = trace.loadTraceBuffer(7n * 1024n, TASK);
  const buffer = new RemoteBuffer(memory, rings, trace);
  const onError = (error: unknown): void => void errors.push(error);
  const threads = PcpuThreads.start({
    hypervisor,
    buffers,
    pages,
    counterHz,
    switchedOnNs,
    onError,
  });
  onTestFinished(() => threads.stop());
  await threads.run(loadScenario(scenario), 1);
  threads.rate = rate;
  return { hypervisor, trace, buffer, memory, threads, errors };
}

/** A minute is what shows a race for sure; in each run of all tests there is time for seconds. */
const { STORM_S: seconds = 4 } = env;
const STORM_S = Number(seconds);

test.each([2, 8])(
  'a storm on %i pCPUs and a slow reader: all in order, all accounted for, all pages back',
  async (cpus) => {
    const { hypervisor, trace, buffer, threads, errors } = await machine(
      'storm',
      cpus,
      Number.POSITIVE_INFINITY,
    );
    const checker = new TraceChecker();
    trace.enableTracing(true, TASK);
    const deadline = performance.now() + STORM_S * 1_000;
    // Slow enough to lose some, for sure: it is too quick for that since it reads faster.
    while (buffer.readers.some((reader) => reader.stats().overrun === 0))
      await new Promise((resolve) => setImmediate(resolve));
    while (performance.now() < deadline) {
      checker.drain(buffer);
      hypervisor.hvc(1, 0xdead); // From this thread: whoever holds the lock is the CPU.
      await new Promise((resolve) => setImmediate(resolve));
    }
    trace.enableTracing(false, TASK);
    checker.drain(buffer);
    await threads.windDown();

    checker.account(buffer);
    expect(checker.lost).toBeGreaterThan(0);
    expect(errors).toEqual([]);
    trace.unloadTraceBuffer(TASK);
    expect(walkOwnership(hypervisor)).toEqual(ALL_HOSTS(hypervisor));
    expect(hypervisor.cpu(0).memProtect.count).toBe(0);
  },
  STORM_S * 1_000 + 20_000,
);

const ALL_HOSTS = (hypervisor: Hypervisor) => ({
  host: hypervisor.machine.ownership.nrPages,
  hyp: 0,
  guest: 0,
  shared: 0,
  pending: 0,
  pinned: 0,
});

test('CPUs that go off and on: the threads follow, and come to an end with all CPUs on', async () => {
  const { hypervisor, trace, buffer, threads, errors } = await machine('hotplug', 4, 2_000);
  const checker = new TraceChecker();
  trace.enableTracing(true, TASK);
  while ((checker.events.get('__hyp_printk') ?? 0) < 20) {
    checker.drain(buffer);
    await new Promise((resolve) => setImmediate(resolve));
  }
  trace.enableTracing(false, TASK);
  await threads.windDown();
  expect([0, 1, 2, 3].map((cpu) => hypervisor.isOnline(cpu))).toEqual([true, true, true, true]);
  expect(errors).toEqual([]);
  trace.unloadTraceBuffer(TASK);
  expect(walkOwnership(hypervisor)).toEqual(ALL_HOSTS(hypervisor));
});

test('another scenario takes over from the one that runs', async () => {
  const { hypervisor, trace, threads, errors } = await machine('boot', 2, 50_000);
  for (const name of ['io', 'storm', 'ffa', 'boot', 'hotplug', 'idle'])
    await threads.run(loadScenario(name), 2);
  await threads.windDown();
  expect(errors).toEqual([]);
  trace.unloadTraceBuffer(TASK);
  expect(walkOwnership(hypervisor)).toEqual(ALL_HOSTS(hypervisor));
});

test('a pCPU makes the events that its rate says, and none at a rate of 0', async () => {
  const { trace, buffer, threads } = await machine('idle', 1, 0);
  trace.enableTracing(true, TASK);
  const [reader] = buffer.readers as [RemoteReader];
  reader.poll();
  expect(reader.unread).toBe(2); // The end of the hypercall that enabled it.

  const start = performance.now(); // Before: the rate counts from when it is set.
  threads.rate = 10_000;
  for (; reader.written < 2_000; reader.poll())
    await new Promise((resolve) => setImmediate(resolve));
  const seconds = (performance.now() - start) / 1_000;
  expect(seconds).toBeGreaterThan(0.18);
  trace.enableTracing(false, TASK);
  trace.unloadTraceBuffer(TASK);
});

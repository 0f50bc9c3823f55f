import { TraceOutput } from '../fs/trace-output.ts';
import type { Scenario } from '../host-sim/scenario.ts';
import { VirtualHost } from '../host-sim/virtual-host.ts';
import { KERNEL_THREAD } from '../host-task.ts';
import type { HypEvent } from '../hypervisor-sim/hyp-event.ts';
import { HYP_EVENTS, hypEventId } from '../hypervisor-sim/hyp-events.ts';
import { type OwnershipCount, walkOwnership } from '../hypervisor-sim/ownership-walk.ts';
import { Merge } from '../ringbuffer/merge.ts';
import { RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import { TraceSeq } from '../trace-seq.ts';
import { KIB } from '../units.ts';
import { HYP_REMOTE_EVENTS, HypTrace, unseenReader } from './hyp-trace.ts';
import { type MachineOptions, switchOnVirtual, tooSmall, type VirtualMachine } from './machine.ts';

export interface RunOptions extends MachineOptions {
  readonly scenario: Scenario;
  readonly seed: number;
  readonly rate: number | undefined;
  /** How long, in ns of virtual time. */
  readonly forNs: number;
  /** What is traced; all there is, without. */
  readonly events: readonly HypEvent[] | undefined;
}

/** Where a run's trace goes. */
export interface TraceSink {
  /** Takes what is there and older than `settledNs`; all of it, at infinity. */
  drain(buffer: RemoteBuffer, settledNs: number): void;
  close(): void;
  /** The run has failed: nothing of it is to be left. */
  discard?(): void;
}

/** For each CPU, in KiB: what happens between two looks fits in. */
const BUFFER_KIB = 256;
const STEPS_BETWEEN_LOOKS = 64;

/**
 * Runs a scenario in virtual time and hands its trace to `sink`, with no mount and no threads.
 * Whoever reads here is not of that world: nothing of it shows in the trace. At last all tasks are
 * brought to their ends; resolves to whose the pages are then.
 *
 * @throws ExitError when the machine is too small for the scenario.
 */
export async function run(options: RunOptions, sink: TraceSink): Promise<OwnershipCount> {
  const machine = switchOnVirtual(options, options.scenario);
  const host = new VirtualHost(machine.hypervisor, machine.time, machine.pages);
  const { trace } = machine.hypervisor;
  try {
    await host.run(options.scenario, options.seed);
    host.rate = options.rate ?? options.scenario.rate;
    const { buffer, unload } = load(machine);
    for (const event of options.events ?? HYP_EVENTS)
      trace.enableEvent(0, hypEventId(HYP_EVENTS.indexOf(event)), true);
    trace.enable(true);
    let steps = 0;
    host.advance(options.forNs, () => {
      if (++steps % STEPS_BETWEEN_LOOKS === 0) sink.drain(buffer, host.settledNs);
      return true;
    });
    trace.enable(false);
    sink.drain(buffer, Number.POSITIVE_INFINITY);
    sink.close();
    unload();
  } catch (error) {
    tooSmall(error);
  }
  await host.windDown();
  return walkOwnership(machine.hypervisor);
}

/** Loads a buffer by the host's hypercalls, to be read without any. */
function load(machine: VirtualMachine): { buffer: RemoteBuffer; unload: () => void } {
  const { trace } = machine.hypervisor;
  const hypTrace = new HypTrace(machine);
  const { memory, rings } = hypTrace.loadTraceBuffer(BigInt(BUFFER_KIB * KIB), KERNEL_THREAD);
  hypTrace.startClock(KERNEL_THREAD);
  const buffer = new RemoteBuffer(memory, rings, unseenReader(trace));
  return { buffer, unload: () => hypTrace.unloadTraceBuffer(KERNEL_THREAD) };
}

/** The trace as trace_pipe shows it, all CPUs in the order of time, to `write`. */
export class TextSink implements TraceSink {
  readonly #write: (text: Uint8Array) => void;
  readonly #output: TraceOutput;
  readonly #seq = new TraceSeq(64 * KIB);

  constructor(write: (text: Uint8Array) => void) {
    this.#write = write;
    this.#output = new TraceOutput(HYP_REMOTE_EVENTS);
  }

  drain(buffer: RemoteBuffer, settledNs: number): void {
    buffer.poll();
    const merge = new Merge(buffer.readers, KERNEL_THREAD);
    for (let next = merge.oldest; next && next.ts < settledNs; next = merge.oldest) {
      if (this.#output.print(next, this.#seq)) merge.consume();
      else this.#flush(); // And once more.
    }
  }

  close(): void {
    this.#flush();
  }

  #flush(): void {
    this.#write(this.#seq.bytes.subarray(0, this.#seq.length));
    this.#seq.truncate(0);
  }
}

import { HypTrace, unseenReader } from '../src/daemon/hyp-trace.ts';
import { type RealMachine, switchOn } from '../src/daemon/machine.ts';
import { TextSink } from '../src/daemon/run.ts';
import { loadScenario } from '../src/daemon/scenarios.ts';
import { KERNEL_THREAD } from '../src/host-task.ts';
import { HYP_EVENTS, hypEventId } from '../src/hypervisor-sim/hyp-events.ts';
import { RemoteBuffer } from '../src/ringbuffer/remote-buffer.ts';
import { KIB } from '../src/units.ts';
import { timeNs } from './benchmark.ts';
import { writeTraps } from './traps.ts';

const MEMORY_MIB = 512;
const COUNTER_HZ = 1_000_000_000;

/** A machine in real time whose hypervisor traces everything, on no thread but ours. */
export class TracedMachine {
  readonly machine: RealMachine;
  readonly buffer: RemoteBuffer;

  private constructor(machine: RealMachine, buffer: RemoteBuffer) {
    this.machine = machine;
    this.buffer = buffer;
  }

  /** `bufferKb` for each CPU. */
  static async start(cpus: number, bufferKb: number): Promise<TracedMachine> {
    const options = { cpus, memoryMib: MEMORY_MIB, counterHz: COUNTER_HZ };
    const machine = switchOn(options, loadScenario('idle'), () => {});
    const hypTrace = new HypTrace(machine);
    const { memory, rings } = hypTrace.loadTraceBuffer(BigInt(bufferKb * KIB), KERNEL_THREAD);
    const clock = hypTrace.startClock(KERNEL_THREAD);
    await clock.calibrated;
    clock.stop();
    const { trace } = machine.hypervisor;
    for (const index of HYP_EVENTS.keys()) trace.enableEvent(0, hypEventId(index), true);
    trace.enable(true);
    const buffer = new RemoteBuffer(memory, rings, unseenReader(trace));
    return new TracedMachine(machine, buffer);
  }

  /** Writes `count` events on a CPU: as many enters as exits. */
  write(cpu: number, count: number): void {
    writeTraps(this.machine.hypervisor.cpu(cpu), count);
  }
}

/** Writes so many events on a CPU. */
export type Write = (machine: TracedMachine, cpu: number, count: number) => void;
const traps: Write = (machine, cpu, count) => machine.write(cpu, count);

/** So many on one CPU before the next one's turn. */
const TURN = 4;

/** Fills the rings with so many events, merged and printed then: how many there were, and in how many ns. */
export async function drainByTurns(
  machine: TracedMachine,
  events: number,
  write = traps,
): Promise<{ drained: number; ns: number }> {
  const { buffer } = machine;
  buffer.reset('all', KERNEL_THREAD);
  const cpus = buffer.readers.length;
  for (let turn = 0; turn < events / TURN; turn++) write(machine, turn % cpus, TURN);
  buffer.poll();
  const drained = buffer.readers.reduce((sum, reader) => sum + reader.unread, 0);
  const sink = new TextSink(() => {});
  const ns = await timeNs(() => sink.drain(buffer, Number.POSITIVE_INFINITY));
  sink.close();
  return { drained, ns };
}

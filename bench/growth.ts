import { TextSink } from '../src/daemon/run.ts';
import { KERNEL_THREAD } from '../src/host-task.ts';
import type { HypEvent } from '../src/hypervisor-sim/hyp-event.ts';
import { hostFfaCall, hostHcall, hostSmc, iommuIdmap } from '../src/hypervisor-sim/hyp-events.ts';
import { timeNs } from './benchmark.ts';
import { type Plot, type Spread, savePlots, spreadOf } from './report.ts';
import { TracedMachine } from './traced-machine.ts';

/**
 * How the cost of draining text grows: with the CPUs, with the buffer, with the event. In one thread and
 * without FUSE, so that it is the cost of the code. npx tsx bench/growth.ts; scripts/plots.ts draws it.
 */
const ROUNDS = 9;
const EVENTS = 64_000;
const TURN = 4;
const TOTAL_KB = 4_096;

type Write = (machine: TracedMachine, cpu: number, count: number) => void;
const traps: Write = (machine, cpu, count) => machine.write(cpu, count);

/** Million lines a second, of so many CPUs with so many KiB each. */
async function drainRate(cpus: number, kb: number, write = traps): Promise<Spread> {
  const machine = await TracedMachine.start(cpus, kb);
  const rates: number[] = [];
  for (let round = -3; round < ROUNDS; round++) {
    const rate = await drainOnce(machine, write);
    if (round >= 0) rates.push(rate); // Compiled by then.
  }
  return spreadOf(rates);
}

/** Fills the rings, up to EVENTS, drains them, and that again until so many were drained. */
async function drainOnce(machine: TracedMachine, write: Write): Promise<number> {
  const { buffer } = machine;
  const cpus = buffer.readers.length;
  let drained = 0;
  let ns = 0;
  while (drained < EVENTS) {
    buffer.reset('all', KERNEL_THREAD);
    for (let turn = 0; turn < EVENTS / TURN; turn++) write(machine, turn % cpus, TURN);
    buffer.poll();
    drained += buffer.readers.reduce((sum, reader) => sum + reader.unread, 0);
    const sink = new TextSink(() => {});
    ns += await timeNs(() => sink.drain(buffer, Number.POSITIVE_INFINITY));
    sink.close();
  }
  return (drained / ns) * 1e3;
}

const writer =
  (event: HypEvent, ...values: number[]): Write =>
  (machine, cpu, count) => {
    const hyp = machine.machine.hypervisor.cpu(cpu);
    for (let n = 0; n < count; n++) hyp.emit(event, ...values);
  };

/** By the size of an entry on its page, header included. */
const SIZES: readonly [bytes: number, write: Write][] = [
  [12, writer(hostHcall, 9, 0)],
  [16, writer(hostSmc, 0x8400_0000, 1)],
  [28, writer(iommuIdmap, 0x4000_0000, 0x4000_1000, 7)],
  [56, writer(hostFfaCall, 0x8400_0073, 0, 0, 0, 0, 1, 0)],
];

const plots: Plot[] = [
  { name: 'cpus', title: 'CPUs, merged', x: 'CPUs', points: [] },
  { name: 'buffer', title: 'buffer of each of 2 CPUs', x: 'KiB', points: [] },
  { name: 'event', title: 'size of an event on its page', x: 'bytes', points: [] },
];
const [cpus, buffer, event] = plots as [Plot, Plot, Plot];
for (const x of [1, 2, 4, 8, 16, 32, 64])
  cpus.points.push({ x, y: await drainRate(x, TOTAL_KB / x) });
for (const x of [16, 64, 256, 1024, 4096, 16_384])
  buffer.points.push({ x, y: await drainRate(2, x) });
for (const [x, write] of SIZES) event.points.push({ x, y: await drainRate(2, TOTAL_KB, write) });
savePlots(plots);

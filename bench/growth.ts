import type { HypEvent } from '../src/hypervisor-sim/hyp-event.ts';
import { hostFfaCall, hostHcall, hostSmc, iommuIdmap } from '../src/hypervisor-sim/hyp-events.ts';
import { type Plot, type Spread, savePlots, spreadOf } from './report.ts';
import { drainByTurns, TracedMachine, type Write } from './traced-machine.ts';

/**
 * How the cost of draining text grows: with the CPUs, with the buffer, with the event. In one thread and
 * without FUSE, so that it is the cost of the code. npx tsx bench/growth.ts; scripts/plots.ts draws it.
 */
const ROUNDS = 9;
const EVENTS = 64_000;
const TOTAL_KB = 4_096;

/** Million lines a second, of so many CPUs with so many KiB each. */
async function drainRate(cpus: number, kb: number, write?: Write): Promise<Spread> {
  const machine = await TracedMachine.start(cpus, kb);
  const rates: number[] = [];
  for (let round = -3; round < ROUNDS; round++) {
    const rate = await drainOnce(machine, write);
    if (round >= 0) rates.push(rate); // Compiled by then.
  }
  return spreadOf(rates);
}

/** Drains until so many were: small rings hold less at once. */
async function drainOnce(machine: TracedMachine, write?: Write): Promise<number> {
  const sum = { drained: 0, ns: 0 };
  while (sum.drained < EVENTS) {
    const { drained, ns } = await drainByTurns(machine, EVENTS, write);
    sum.drained += drained;
    sum.ns += ns;
  }
  return (sum.drained / sum.ns) * 1e3;
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

import type { HypEvent } from '../src/hypervisor-sim/hyp-event.ts';
import { hostFfaCall, hostHcall, hostSmc, iommuIdmap } from '../src/hypervisor-sim/hyp-events.ts';
import { KIB } from '../src/units.ts';
import { type Plot, savePlots, spreadOf } from './report.ts';
import { drainByTurns, TracedMachine, type Write } from './traced-machine.ts';

/**
 * How the cost of draining text grows: with the CPUs, with the buffer, with the event. In one thread and
 * without FUSE, so that it is the cost of the code. npx tsx bench/growth.ts; scripts/plots.ts draws it.
 */
const ROUNDS = 9;
/** Compiled by then. */
const WARM_UPS = 3;
const EVENTS = 64_000;
const TOTAL_KB = 4_096;
/** On its page, header included. */
const TRAP_EVENT_SIZE = 12;

/** What is measured at a point of a curve. */
interface Setting {
  readonly x: number;
  readonly cpus: number;
  /** Of each CPU's buffer. */
  readonly kb: number;
  /** How many events are written at least before they are drained. */
  readonly events?: number;
  readonly write?: Write;
}

/** Million lines a second at each; by turns, as the machine is faster at some times than at others. */
async function drainRates(settings: readonly Setting[]): Promise<Plot['points']> {
  const points: { setting: Setting; machine: TracedMachine; rates: number[] }[] = [];
  for (const setting of settings) {
    const machine = await TracedMachine.start(setting.cpus, setting.kb);
    points.push({ setting, machine, rates: [] });
  }
  for (let round = -WARM_UPS; round < ROUNDS; round++)
    for (const { setting, machine, rates } of points) {
      const rate = await drainOnce(machine, setting);
      if (round >= 0) rates.push(rate);
    }
  return points.map(({ setting: { x }, rates }) => ({ x, y: spreadOf(rates) }));
}

/** Drains until so many were: small rings hold less at once. */
async function drainOnce(machine: TracedMachine, { events = EVENTS, write }: Setting) {
  const sum = { drained: 0, ns: 0 };
  while (sum.drained < EVENTS) {
    const { drained, ns } = await drainByTurns(machine, events, write);
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

/** As many traps' events as so many rings hold. */
const fullRings = (cpus: number, kb: number): number => (cpus * kb * KIB) / TRAP_EVENT_SIZE;

/** By the size of an entry on its page, header included. */
const SIZES: readonly [bytes: number, write: Write][] = [
  [12, writer(hostHcall, 9, 0)],
  [16, writer(hostSmc, 0x8400_0000, 1)],
  [28, writer(iommuIdmap, 0x4000_0000, 0x4000_1000, 7)],
  [56, writer(hostFfaCall, 0x8400_0073, 0, 0, 0, 0, 1, 0)],
];

const CPUS = [1, 2, 4, 8, 16, 32, 64];
const BUFFERS_KB = [16, 64, 256, 1024, 4096, 16_384];

savePlots([
  {
    name: 'cpus',
    title: 'CPUs, merged',
    x: 'CPUs',
    points: await drainRates(CPUS.map((x) => ({ x, cpus: x, kb: TOTAL_KB / x }))),
  },
  {
    name: 'buffer',
    title: 'buffer of each of 2 CPUs, full',
    x: 'KiB',
    points: await drainRates(
      BUFFERS_KB.map((x) => ({ x, cpus: 2, kb: x, events: fullRings(2, x) })),
    ),
  },
  {
    name: 'event',
    title: 'size of an event on its page',
    x: 'bytes',
    points: await drainRates(SIZES.map(([x, write]) => ({ x, cpus: 2, kb: TOTAL_KB, write }))),
  },
]);

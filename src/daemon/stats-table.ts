import { HYP_REASON, HYP_REASON_NAMES } from '../hypervisor-sim/hyp-events.ts';
import { HYPERCALL_NAMES, HYPERCALLS } from '../hypervisor-sim/hypercalls.ts';
import type { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import type { TrapCount, TrapStats } from '../hypervisor-sim/trap-stats.ts';
import { NS_PER_S, NS_PER_US } from '../units.ts';

/** The text of sim/stats: calls, errors and time of each trap and hypercall that there was. */
export function statsTable(hypervisor: Hypervisor, counterHz: number): string {
  const cpus = Array.from({ length: hypervisor.nrCpus }, (_, cpu) => hypervisor.cpu(cpu).stats);
  const sum = (of: (stats: TrapStats) => TrapCount): TrapCount =>
    cpus.map(of).reduce((a, b) => ({
      calls: a.calls + b.calls,
      errors: a.errors + b.errors,
      cycles: a.cycles + b.cycles,
    }));
  const rows = [
    ...HYP_REASON_NAMES.map((name) => ({
      name,
      ...sum((stats) => stats.trap(HYP_REASON[name])),
    })),
    ...HYPERCALL_NAMES.map((name) => ({
      name,
      ...sum((stats) => stats.hypercall(HYPERCALLS[name].id)),
    })),
  ].filter(({ calls }) => calls > 0);
  const usOf = (cycles: number): string =>
    ((cycles / counterHz) * (NS_PER_S / NS_PER_US)).toFixed(0);
  return [
    row('name', 'calls', 'errors', 'us'),
    ...rows.map(({ name, calls, errors, cycles }) =>
      row(name, `${calls}`, `${errors}`, usOf(cycles)),
    ),
  ].join('\n');
}

const row = (name: string, ...columns: string[]): string =>
  name.padEnd(32) + columns.map((column) => column.padStart(12)).join('');

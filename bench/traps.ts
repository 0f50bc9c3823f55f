import type { HypCpu } from '../src/hypervisor-sim/hyp-cpu.ts';
import { HYP_REASON } from '../src/hypervisor-sim/hyp-events.ts';

/** Writes `count` events as the CPU: as many enters as exits. */
export function writeTraps(hyp: HypCpu, count: number): void {
  for (let n = 0; n < count; n += 2) {
    hyp.enter(HYP_REASON.hvc);
    hyp.exit(HYP_REASON.eret_host);
  }
}

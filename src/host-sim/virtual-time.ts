import type { MachineTime, SerialWork } from '../hypervisor-sim/machine-time.ts';
import type { Counter } from '../hypervisor-sim/trace-clock.ts';
import { NS_PER_S } from '../units.ts';

/**
 * Time that moves only when it is told to, in whole ns since the machine was switched on. While
 * the CPUs run, by turns and in one thread, each has a time of its own, ahead of `now` by what it
 * does: so a trap has a length, and one CPU's does not hold up another. A trap that is not of
 * that run, of somebody's who looks in between, takes no time.
 */
export class VirtualTime implements MachineTime {
  readonly counter: Counter;
  readonly trapsATimedOne = 1;
  readonly #cpuNs: Float64Array;
  /** Until when the last CPU was at what one at a time can do. */
  readonly #unlockedNs = new Map<SerialWork, number>();
  #now = 0;
  /** Whose turn it is, and who this thread is within a trap; -1 for nobody. */
  #turn = -1;
  #inTrap = -1;

  constructor(nrCpus: number, counterHz: number) {
    this.#cpuNs = new Float64Array(nrCpus);
    const cyclesPerNs = counterHz / NS_PER_S;
    this.counter = () => Math.floor(this.#hereNs * cyclesPerNs);
  }

  /** The machine's time, as one sees it who looks at it from outside. */
  get now(): number {
    return this.#now;
  }

  /** Everything that the CPUs do by `ns` is done. */
  reach(ns: number): void {
    this.#now = Math.max(this.#now, ns);
  }

  /** The time of one CPU. */
  cpuNow(cpu: number): number {
    return Math.max(this.#cpuNs[cpu] ?? 0, this.#now);
  }

  /** Lets `cpu` have its turn, at `ns` at the earliest. */
  runAs<T>(cpu: number, ns: number, turn: () => T): T {
    this.#turn = cpu;
    this.#catchUp(cpu, ns);
    try {
      return turn();
    } finally {
      this.#turn = -1;
    }
  }

  enter(cpu: number): void {
    // Of two CPUs in one turn the second does what the first has caused.
    this.#catchUp(cpu, this.#turn === -1 ? this.#now : this.#nsOf(this.#turn));
    this.#inTrap = cpu;
  }

  leave(): void {
    this.#inTrap = -1;
  }

  spend(ns: number): void {
    if (this.#turn !== -1 && this.#inTrap !== -1)
      this.#cpuNs[this.#inTrap] = this.#nsOf(this.#inTrap) + ns;
  }

  lock(what: SerialWork): void {
    if (this.#turn !== -1) this.#catchUp(this.#inTrap, this.#unlockedNs.get(what) ?? 0);
  }

  unlock(what: SerialWork): void {
    this.#unlockedNs.set(what, this.#hereNs);
  }

  get #hereNs(): number {
    if (this.#inTrap !== -1) return this.#nsOf(this.#inTrap);
    return this.#turn === -1 ? this.#now : this.#nsOf(this.#turn);
  }

  #catchUp(cpu: number, ns: number): void {
    this.#cpuNs[cpu] = Math.max(this.#nsOf(cpu), ns, this.#now);
  }

  #nsOf(cpu: number): number {
    return this.#cpuNs[cpu] ?? 0;
  }
}

import { AssertionError } from '../assert.ts';
import type { Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { SMC_FUNCTIONS } from '../hypervisor-sim/smccc.ts';
import { NS_PER_S } from '../units.ts';
import { BOOT_CPU, cpuDown, cpuUp } from './cpu-hotplug.ts';
import { HostCpu } from './host-cpu.ts';
import { PageAllocator } from './page-allocator.ts';
import { Prng } from './prng.ts';
import type { Scenario } from './scenario.ts';
import type { VirtualTime } from './virtual-time.ts';
import { allocatePools, freePools, type Pool, type Workload } from './workload.ts';

/** A host's CPU, and when it next does something. */
interface Turn {
  readonly host: HostCpu;
  readonly gaps: Prng;
  at: number;
}

/** What the host itself does between two traps; without, one that never traps would stop time. */
const MIN_GAP_NS = 100;

/** The gaps between two steps have a stream of random numbers of their own. */
const GAPS_STREAM = 64;

/**
 * The host's CPUs in virtual time: whoever's turn is the earliest makes a step, the lowest CPU
 * at a tie. All that happens follows from the scenario, the seed and what it is told.
 */
export class VirtualHost implements Workload {
  readonly #hypervisor: Hypervisor;
  readonly #time: VirtualTime;
  readonly #pages: PageAllocator;
  #turns: Turn[] = [];
  #pools: Pool[] = [];
  #rate = 0;
  /** Up to when time is going by just now. */
  #end = 0;

  constructor(hypervisor: Hypervisor, time: VirtualTime, pages: PageAllocator) {
    this.#hypervisor = hypervisor;
    this.#time = time;
    this.#pages = pages;
  }

  get rate(): number {
    return this.#rate;
  }

  set rate(eventsPerSecond: number) {
    this.#rate = eventsPerSecond;
    for (const turn of this.#turns) turn.at = 0; // Who waited for the old rate's next turn goes on.
  }

  async run(scenario: Scenario, seed: number): Promise<void> {
    await this.windDown();
    const pools = allocatePools(this.#pages, scenario, this.#hypervisor.nrCpus);
    this.#pools = pools;
    this.#turns = pools.map(({ base, nrPages }, cpu) => ({
      host: new HostCpu({
        hypervisor: this.#hypervisor,
        cpu,
        pages: new PageAllocator(nrPages, base),
        scenario,
        seed,
        now: () => this.#time.cpuNow(cpu),
        waitUntilOn: () => {
          throw new AssertionError(`cpu ${cpu} is on when it has its turn`);
        },
      }),
      gaps: new Prng(seed, GAPS_STREAM + cpu),
      at: 0,
    }));
  }

  async windDown(): Promise<void> {
    for (const { host } of this.#turns) host.stopping = true;
    for (const { host } of this.#turns) {
      this.#onBootCpu(() => cpuUp(this.#hypervisor, BOOT_CPU, host.cpu));
      this.#time.runAs(host.cpu, 0, () => host.windDown());
    }
    this.#turns = [];
    freePools(this.#pages, this.#pools);
    this.#pools = [];
  }

  /** Before this time, in ns, nothing more will happen. */
  get settledNs(): number {
    return this.#turns.reduce((earliest, turn) => Math.min(earliest, this.#dueAt(turn)), this.#end);
  }

  /**
   * Lets `ns` go by, or less if `goOn`, which is asked after each step of a CPU, says no. An advance
   * in several parts does the same as one of the whole. Returns how much is left.
   */
  advance(ns: number, goOn: () => boolean = () => true): number {
    this.#end = this.#time.now + ns;
    for (let turn = this.#next(); turn && this.#dueAt(turn) < this.#end; turn = this.#next()) {
      this.#step(turn);
      if (!goOn()) break;
    }
    this.#time.reach(this.settledNs);
    return this.#end - this.#time.now;
  }

  /**
   * The machine sleeps for `ns`: the boot clock counts on, and no CPU does anything. The boot CPU
   * goes down last, and brings up again what was on.
   */
  suspend(ns: number): void {
    const hypervisor = this.#hypervisor;
    const cpus = Array.from({ length: hypervisor.nrCpus }, (_, cpu) => cpu);
    const others = cpus.filter((cpu) => cpu !== BOOT_CPU && hypervisor.isOnline(cpu));
    this.#onBootCpu(() => {
      for (const cpu of others) cpuDown(hypervisor, cpu);
      hypervisor.on(BOOT_CPU, () => hypervisor.smc(BOOT_CPU, SMC_FUNCTIONS.PSCI_SYSTEM_SUSPEND));
    });
    this.#time.reach(this.#time.now + ns);
    this.#onBootCpu(() => {
      hypervisor.cpuEntry(BOOT_CPU);
      for (const cpu of others) cpuUp(hypervisor, BOOT_CPU, cpu);
    });
  }

  #onBootCpu(work: () => void): void {
    this.#time.runAs(BOOT_CPU, 0, work);
  }

  #next(): Turn | undefined {
    let next: Turn | undefined;
    for (const turn of this.#turns) if (!next || this.#dueAt(turn) < this.#dueAt(next)) next = turn;
    return next;
  }

  #dueAt(turn: Turn): number {
    if (this.#rate === 0 || !this.#hypervisor.isOnline(turn.host.cpu))
      return Number.POSITIVE_INFINITY;
    return Math.max(turn.at, this.#time.cpuNow(turn.host.cpu));
  }

  #step(turn: Turn): void {
    const { host } = turn;
    const worth = this.#time.runAs(host.cpu, turn.at, () => host.step());
    turn.at = worth === 0 ? host.readyAt : this.#time.cpuNow(host.cpu) + this.#gap(turn, worth);
  }

  /** How long a CPU does nothing of note after a step that was worth so many events. */
  #gap({ gaps }: Turn, worth: number): number {
    if (this.#rate === Number.POSITIVE_INFINITY) return MIN_GAP_NS;
    const mean = (worth / this.#rate) * NS_PER_S;
    return Math.max(Math.floor((mean * (50 + gaps.below(101))) / 100), MIN_GAP_NS);
  }
}

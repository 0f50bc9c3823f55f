import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/**
 * A simulated physical CPU: a lock and registers in shared memory.
 *
 *      0 lock            8 i32 vcpu, the pid of the loaded vCPU's thread, or 0
 *                       12 i32 power, as the firmware knows it
 *                       16 u32 entries, how often it came up or resumed
 *    256 i32 × 1024, the pids of the vCPUs that it has loaded, each where its low bits say
 *
 * Invariant: whichever thread holds the lock is this CPU. Only it runs the hypervisor's code
 * here, and only it writes this CPU's ring.
 */
const LOCK = 0;
const VCPU = LOCK + TICKET_LOCK_SIZE;
const POWER = VCPU + 4;
const ENTRIES = POWER + 4;
/** Apart from the words that other CPUs look at, as the states of rings are. */
const LOADED = 256;
/** As many as a host has pids for the vCPUs of one CPU; of others, the latest with the same low bits. */
const NR_LOADED = 1_024;
export const PCPU_STATE_SIZE = LOADED + 4 * NR_LOADED;

/** On; off; told by PSCI_CPU_ON to come up, or by an interrupt to resume, and not yet entered. */
export const POWER_ON = 0;
export const POWER_OFF = 1;
export const POWER_PENDING = 2;
export type Power = typeof POWER_ON | typeof POWER_OFF | typeof POWER_PENDING;

export class Pcpu {
  readonly cpu: number;
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #lock: TicketLock;

  constructor(cpu: number, memory: SharedMemory, at: number) {
    this.cpu = cpu;
    this.#memory = memory;
    this.#at = at;
    this.#lock = new TicketLock(memory, at + LOCK);
  }

  /** Becomes this CPU. */
  acquire(): void {
    this.#lock.lock();
  }

  release(): void {
    this.#lock.unlock();
  }

  get vcpu(): number {
    return this.#memory.own(this.#at + VCPU);
  }

  set vcpu(pid: number) {
    this.#memory.view.setInt32(this.#at + VCPU, pid, true);
    if (pid !== 0) this.#memory.store(this.#loadedAt(pid & (NR_LOADED - 1)), pid);
  }

  /** The pids of the vCPUs' threads that have run here, for who names them. */
  get loadedVcpus(): number[] {
    const slots = Array.from({ length: NR_LOADED }, (_, slot) =>
      this.#memory.load(this.#loadedAt(slot)),
    );
    return slots.filter((pid) => pid !== 0);
  }

  #loadedAt(slot: number): number {
    return this.#at + LOADED + 4 * slot;
  }

  get power(): Power {
    return this.#memory.load(this.#at + POWER) as Power;
  }

  set power(power: Power) {
    this.#memory.store(this.#at + POWER, power);
    this.#memory.wake(this.#at + POWER);
  }

  /** PSCI_CPU_ON of another CPU: off to pending. False, and nothing done, when it was not off. */
  tryTurnOn(): boolean {
    return this.#memory.compareExchange(this.#at + POWER, POWER_OFF, POWER_PENDING);
  }

  get entries(): number {
    return this.#memory.load(this.#at + ENTRIES);
  }

  /** It comes up. */
  enterByPsci(): void {
    this.#memory.add(this.#at + ENTRIES, 1);
    this.power = POWER_ON;
  }

  /** Sleeps while the CPU is off, for so many ms at the most. */
  waitWhileOff(timeoutMs: number): void {
    this.#memory.wait(this.#at + POWER, POWER_OFF, timeoutMs);
  }
}

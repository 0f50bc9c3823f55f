import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/**
 * A simulated physical CPU: a lock and registers in shared memory.
 *
 *      0 lock            8 i32 vcpu, the pid of the loaded vCPU's thread, or 0
 *                       12 u32 traps, how many it took since power-on
 *
 * Invariant: whichever thread holds the lock is this CPU. Only it runs the hypervisor's code
 * here, and only it writes this CPU's ring.
 */
const LOCK = 0;
const VCPU = LOCK + TICKET_LOCK_SIZE;
const TRAPS = VCPU + 4;
export const PCPU_STATE_SIZE = 64;

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

  /** Becomes this CPU, and goes into the hypervisor. */
  enter(): void {
    this.#lock.lock();
    this.#memory.view.setUint32(this.#at + TRAPS, this.traps + 1, true);
  }

  leave(): void {
    this.#lock.unlock();
  }

  get vcpu(): number {
    return this.#memory.load(this.#at + VCPU);
  }

  get traps(): number {
    return this.#memory.view.getUint32(this.#at + TRAPS, true);
  }
}

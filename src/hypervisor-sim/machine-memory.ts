import { RING_STATE_SIZE } from '../ringbuffer/ring-state.ts';
import { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import { HYP_EVENTS } from './hyp-events.ts';
import { Ram } from './memory.ts';
import { PageOwnership } from './page-ownership.ts';
import { PCPU_STATE_SIZE } from './pcpu.ts';
import { TICKET_LOCK_SIZE } from './ticket-lock.ts';
import { TRACE_CLOCK_SIZE } from './trace-clock.ts';

/** Everything that the machine's threads share; it crosses to a worker as it is. */
export interface MachineBuffers {
  readonly nrCpus: number;
  readonly ram: SharedArrayBuffer;
  readonly ownership: SharedArrayBuffer;
  readonly hyp: SharedArrayBuffer;
}

/** A machine that was just switched on. */
export function allocateMachine(nrCpus: number, ramBytes: number): MachineBuffers {
  return {
    nrCpus,
    ram: new SharedArrayBuffer(ramBytes),
    ownership: new SharedArrayBuffer(PageOwnership.memorySize(ramBytes / PAGE_SIZE)),
    hyp: new SharedArrayBuffer(hypLayout(nrCpus).size),
  };
}

/** The same memory, as one thread's views. */
export interface MachineMemory {
  readonly nrCpus: number;
  readonly ram: Ram;
  readonly ownership: PageOwnership;
  readonly hyp: SharedMemory;
  readonly layout: HypLayout;
}

export function viewMachine(buffers: MachineBuffers): MachineMemory {
  return {
    nrCpus: buffers.nrCpus,
    ram: new Ram(buffers.ram),
    ownership: new PageOwnership(buffers.ownership),
    hyp: new SharedMemory(buffers.hyp),
    layout: hypLayout(buffers.nrCpus),
  };
}

/** Where the hypervisor keeps what in its own memory, which the host cannot see. */
export type HypLayout = ReturnType<typeof hypLayout>;

function hypLayout(nrCpus: number) {
  const traceLock = 0;
  const traceBacking = traceLock + TICKET_LOCK_SIZE;
  const clock = traceBacking + 8;
  const selftestCount = clock + TRACE_CLOCK_SIZE;
  const eventEnabled = selftestCount + 8;
  const rings = cacheLine(eventEnabled + 4 * HYP_EVENTS.length);
  const pcpus = rings + nrCpus * RING_STATE_SIZE;
  const size = pcpus + nrCpus * PCPU_STATE_SIZE;
  return { traceLock, traceBacking, clock, selftestCount, eventEnabled, rings, pcpus, size };
}

const cacheLine = (offset: number): number => Math.ceil(offset / 64) * 64;

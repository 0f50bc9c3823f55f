import { RING_STATE_SIZE } from '../ringbuffer/ring-state.ts';
import { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import { FFA_STATE_SIZE } from './ffa-proxy.ts';
import { HOST_DEVICES_SIZE } from './host-devices.ts';
import { fixmapSize, RODATA_SIZE } from './hyp-address-space.ts';
import { HYP_EVENTS } from './hyp-events.ts';
import { Ram } from './memory.ts';
import { PageOwnership } from './page-ownership.ts';
import { PCPU_STATE_SIZE } from './pcpu.ts';
import { MEM_PROTECT_SIZE } from './psci-relay.ts';
import { SECURE_WORLD_SIZE } from './secure-world.ts';
import { TICKET_LOCK_SIZE } from './ticket-lock.ts';
import { TRACE_CLOCK_SIZE } from './trace-clock.ts';
import { TRAP_STATS_SIZE } from './trap-stats.ts';
import { VM_TABLE_SIZE } from './vm-table.ts';

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
    ownership: PageOwnership.allocate(ramBytes / PAGE_SIZE),
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

/** The event switches lie within the read-only page, so that a fixmap must keep their offset. */
const EVENT_ENABLED = 0x140;

function hypLayout(nrCpus: number) {
  let end = RODATA_SIZE;
  const place = (size: number): number => {
    const at = cacheLine(end);
    end = at + size;
    return at;
  };
  const eventEnabled = EVENT_ENABLED;
  if (EVENT_ENABLED + 4 * HYP_EVENTS.length > RODATA_SIZE) throw new RangeError('too many events');
  return {
    eventEnabled,
    fixmap: place(fixmapSize(nrCpus)),
    traceLock: place(TICKET_LOCK_SIZE),
    traceBacking: place(8),
    clock: place(TRACE_CLOCK_SIZE),
    selftestCount: place(8),
    rings: place(nrCpus * RING_STATE_SIZE),
    pcpus: place(nrCpus * PCPU_STATE_SIZE),
    vmTable: place(VM_TABLE_SIZE),
    devices: place(HOST_DEVICES_SIZE),
    memProtect: place(MEM_PROTECT_SIZE),
    ffa: place(FFA_STATE_SIZE),
    secureWorld: place(SECURE_WORLD_SIZE),
    stats: place(nrCpus * TRAP_STATS_SIZE),
    size: cacheLine(end),
  };
}

const cacheLine = (offset: number): number => Math.ceil(offset / 64) * 64;

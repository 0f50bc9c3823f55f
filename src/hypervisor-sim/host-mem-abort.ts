import { ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import { type Access, abortEsr } from './esr.ts';
import { DEVICE_BASE, devicePageOf } from './host-devices.ts';
import { type HypCpu, PROT_DEVICE, PROT_RWX } from './hyp-cpu.ts';
import { hostMemAbort } from './hyp-events.ts';
import { PHYS_BASE } from './memory.ts';

/** Whether the host's stage-2 tables map a physical address, so that an access does not trap. */
export function isMappedForHost({ machine, devices }: HypCpu, phys: number): boolean {
  const device = devicePageOf(phys);
  if (device !== undefined) return devices.isMapped(device);
  const page = ramPageOf(phys, machine.ownership.nrPages);
  return page !== undefined && machine.ownership.hostAccess(page) === 'mapped';
}

/**
 * handle_host_mem_abort(): the host touched what its stage-2 does not map. What is its own is
 * mapped on demand. Of anything else the host gets an abort injected: false.
 */
export function handleHostMemAbort(hyp: HypCpu, phys: number, access: Access): boolean {
  const allowed = mapOnDemand(hyp, phys);
  if (!allowed) hyp.printk('host denied access to 0x%llx', phys);
  hyp.emit(hostMemAbort, abortEsr(access), phys);
  return allowed;
}

function mapOnDemand(hyp: HypCpu, phys: number): boolean {
  const device = devicePageOf(phys);
  if (device !== undefined) {
    hyp.devices.map(device);
    hyp.idmapRange(DEVICE_BASE + device * PAGE_SIZE, PAGE_SIZE, PROT_DEVICE);
    return true;
  }
  const page = ramPageOf(phys, hyp.machine.ownership.nrPages);
  if (page === undefined) return false;
  try {
    const { first, nrPages } = hyp.machine.ownership.hostMapOnDemand(page);
    hyp.idmap(first, nrPages, PROT_RWX);
    return true;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return error.code === 'EAGAIN'; // Another CPU was faster: nothing is left to do.
  }
}

function ramPageOf(phys: number, nrPages: number): number | undefined {
  const page = Math.floor((phys - PHYS_BASE) / PAGE_SIZE);
  return page >= 0 && page < nrPages ? page : undefined;
}

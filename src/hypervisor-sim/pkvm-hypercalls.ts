import { ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import { isGuestRam } from './guest-program.ts';
import { runVcpu } from './guest-run.ts';
import { type HypCpu, PROT_NONE, PROT_RWX } from './hyp-cpu.ts';
import type { HypVm } from './hyp-vm.ts';
import type { Handler, Register } from './hypercalls.ts';
import { COST_NS } from './machine-time.ts';
import { size, u32, u64 } from './registers.ts';

/** The hypercalls of memory and VMs. */
export const shareHyp: Handler = ({ machine, time }, pfn, nr) => {
  time.spend(COST_NS.pageTable);
  machine.ownership.hostShareHyp(machine.ram.pageOfPfn(size(pfn)), size(nr));
};

export const unshareHyp: Handler = ({ machine, time }, pfn, nr) => {
  time.spend(COST_NS.pageTable);
  machine.ownership.hostUnshareHyp(machine.ram.pageOfPfn(size(pfn)), size(nr));
};

/** Of struct kvm, the page for the hypervisor's own state, and the pages for stage-2 tables. */
export const initVm: Handler = (hyp, hostKvm, vmVa, pgdVa) => {
  const { handle, createdVcpus, donated } = hyp.serially('vms', () =>
    hyp.vms.init(u64(hostKvm), u64(vmVa), u64(pgdVa)),
  );
  for (const { first, nrPages } of donated) hyp.idmap(first, nrPages, PROT_NONE);
  hyp.printk('vm 0x%llx created with %llu vcpus', handle, createdVcpus);
  return handle;
};

export const initVcpu: Handler = (hyp, handle, hostVcpu, vcpu) => {
  hyp.vms.initVcpu(u32(handle), u64(hostVcpu), u64(vcpu));
  hyp.idmap(hyp.machine.ram.offsetOfVirt(u64(vcpu)) / PAGE_SIZE, 1, PROT_NONE);
};

export const teardownVm: Handler = (hyp, handle) => {
  const { donated, guestPages } = hyp.serially('vms', () => hyp.vms.teardown(u32(handle)));
  for (const { first, nrPages } of donated) hyp.idmap(first, nrPages, PROT_RWX);
  hyp.printk('vm 0x%llx gone, %llu of its pages to reclaim', u32(handle), guestPages);
};

export const vcpuRun: Handler = (hyp, hostVcpu) => {
  const loaded = hyp.vms.load(u64(hostVcpu));
  try {
    return runVcpu(hyp, loaded);
  } finally {
    hyp.vms.put(loaded);
  }
};

/** Gives a page to a protected VM, at a guest frame number. */
export const donateGuest: Handler = (hyp, handle, pfn, gfn) => {
  const page = hyp.machine.ram.pageOfPfn(size(pfn));
  onGuestPage(hyp, handle, gfn, (vm, ipaPage) => {
    if (!vm.isProtected) throw new ErrnoError('EPERM', 'the VM is not protected');
    hyp.machine.ownership.hostDonateGuest(page, vm.slot, ipaPage);
    vm.stage2.map(ipaPage, page);
    hyp.idmap(page, 1, PROT_NONE);
    hyp.memProtect.change(hyp, 1); // While the VM cannot die, or the page would be counted back first.
  });
};

/** Lends a page to a VM that is not protected. */
export const shareGuest: Handler = (hyp, handle, pfn, gfn) => {
  const page = hyp.machine.ram.pageOfPfn(size(pfn));
  hyp.time.spend(COST_NS.pageTable);
  onGuestPage(hyp, handle, gfn, (vm, ipaPage) => {
    if (vm.isProtected) throw new ErrnoError('EPERM', 'the VM is protected');
    hyp.machine.ownership.hostShareGuest(page, vm.slot, ipaPage);
    vm.stage2.map(ipaPage, page);
  });
};

export const unshareGuest: Handler = (hyp, handle, gfn) => {
  const ipaPage = size(gfn);
  hyp.time.spend(COST_NS.pageTable);
  hyp.vms.with(u32(handle), (vm) => {
    if (vm.isProtected) throw new ErrnoError('EPERM', 'the VM is protected');
    const page = vm.stage2.lookup(ipaPage);
    if (page === undefined) throw new ErrnoError('ENOENT', `nothing is mapped at page ${ipaPage}`);
    hyp.machine.ownership.hostUnshareGuest(page);
    vm.stage2.unmap(ipaPage);
  });
};

/** Takes back a page of a VM that is gone; wiped, as it may hold secrets. */
export const reclaimPage: Handler = (hyp, pfn) => {
  const { ram, ownership } = hyp.machine;
  const page = ram.pageOfPfn(size(pfn));
  const reclaimed = ownership.hostReclaim(page, () => ram.fill(page * PAGE_SIZE, PAGE_SIZE));
  if (reclaimed) {
    hyp.memProtect.change(hyp, -1);
    hyp.idmap(page, 1, PROT_RWX);
  }
};

function onGuestPage(
  hyp: HypCpu,
  handle: Register,
  gfn: Register,
  change: (vm: HypVm, ipaPage: number) => void,
): void {
  const ipaPage = size(gfn);
  if (!Number.isInteger(ipaPage) || !isGuestRam(ipaPage * PAGE_SIZE))
    throw new ErrnoError('EINVAL', `no guest memory at page ${ipaPage}`);
  hyp.vms.with(u32(handle), (vm) => {
    if (vm.stage2.lookup(ipaPage) !== undefined)
      throw new ErrnoError('EPERM', 'the guest has a page there');
    change(vm, ipaPage);
  });
}

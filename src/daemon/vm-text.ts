import type { HypVm } from '../hypervisor-sim/hyp-vm.ts';
import { pfnOf } from '../hypervisor-sim/memory.ts';
import type { PageOwnership } from '../hypervisor-sim/page-ownership.ts';
import { OWNED, SHARED_OWNED } from '../hypervisor-sim/page-state.ts';
import { PAGE_SIZE } from '../units.ts';

/** What sim/vms/HANDLE/ shows of a VM. */

export function vmState({ isProtected, vcpus, createdVcpus }: HypVm): string {
  const isOn = vcpus.some((vcpu) => vcpu.isOn);
  const state = vcpus.length < createdVcpus ? 'created' : isOn ? 'running' : 'off';
  return `${state} ${isProtected ? 'protected' : 'normal'}`;
}

/** A line for each vCPU: its number, the pid of its thread, and whether a CPU runs it now. */
export function vmVcpus({ vcpus }: HypVm): string {
  return vcpus
    .map(({ idx, pid, isOn, loaded }) => {
      const state = loaded ? 'running' : isOn ? 'on' : 'off';
      return `${idx} pid=${pid} ${state}`;
    })
    .join('\n');
}

/** A line for each page of the guest's memory: its IPA, its frame, and how the guest has it. */
export function vmPages(vm: HypVm, ownership: PageOwnership): string {
  const lines: string[] = [];
  vm.stage2.forEach((ipaPage, page) => {
    const state = ownership.state(page, 'guest');
    const how = state === OWNED ? 'owned' : state === SHARED_OWNED ? 'shared' : 'borrowed';
    lines.push(`ipa=${hex(ipaPage * PAGE_SIZE)} pfn=${hex(pfnOf(page * PAGE_SIZE))} ${how}`);
  });
  return lines.join('\n');
}

const hex = (number: number): string => `0x${number.toString(16)}`;

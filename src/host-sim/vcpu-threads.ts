import { MAX_VCPUS } from '../hypervisor-sim/host-structs.ts';

/** How many VMs of a CPU there are before their pids come again, as the host's do some day. */
const VMS_PER_CPU = 64;

/** The pid of the first vCPU's thread of a CPU's `nth` VM. */
export const vmPid = (cpu: number, nth: number): number =>
  ((cpu + 1) * VMS_PER_CPU + (nth % VMS_PER_CPU)) * MAX_VCPUS;

/** The name of a vCPU's thread: its VM, by number, and the vCPU in it. */
export const vcpuThreadName = (pid: number): string =>
  `vm${Math.floor(pid / MAX_VCPUS)}-vcpu${pid % MAX_VCPUS}`;

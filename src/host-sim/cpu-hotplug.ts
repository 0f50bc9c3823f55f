import { ErrnoError } from '../errno.ts';
import { TRUSTED_OS_CPU } from '../hypervisor-sim/firmware.ts';
import { CpuOffError, type Hypervisor } from '../hypervisor-sim/hypervisor.ts';
import { PSCI_SUCCESS, SMC_FUNCTIONS } from '../hypervisor-sim/smccc.ts';

/** The CPU that the host was booted on. */
export const BOOT_CPU = TRUSTED_OS_CPU;

/**
 * cpu_up(): brings `target` up, and into the hypervisor's hands on its way. For a task on `hostCpu`.
 *
 * @throws ErrnoError EINVAL for a CPU that is not.
 */
export function cpuUp(hypervisor: Hypervisor, hostCpu: number, target: number): void {
  assertCpu(hypervisor, target);
  if (hypervisor.isOnline(target)) return;
  const turnOn = (cpu: number) => hypervisor.smc(cpu, SMC_FUNCTIONS.PSCI_CPU_ON, target);
  const [result] = hypervisor.onTasksCpu(hostCpu, turnOn) ?? [];
  if (result === PSCI_SUCCESS) hypervisor.cpuEntry(target);
}

/**
 * cpu_down(): `target` switches itself off.
 *
 * @throws ErrnoError EINVAL for a CPU that is not, EBUSY for the one that has to stay.
 */
export function cpuDown(hypervisor: Hypervisor, target: number): void {
  if (target === BOOT_CPU) throw new ErrnoError('EBUSY', 'the boot CPU stays on');
  assertCpu(hypervisor, target);
  if (!hypervisor.isOnline(target)) return;
  try {
    hypervisor.on(target, () => hypervisor.smc(target, SMC_FUNCTIONS.PSCI_CPU_OFF));
  } catch (error) {
    if (!(error instanceof CpuOffError)) throw error; // Somebody else was faster.
  }
}

function assertCpu(hypervisor: Hypervisor, cpu: number): void {
  if (!(cpu >= 0 && cpu < hypervisor.nrCpus))
    throw new ErrnoError('EINVAL', `there is no cpu ${cpu}`);
}

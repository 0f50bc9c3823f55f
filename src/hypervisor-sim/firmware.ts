import type { MachineMemory } from './machine-memory.ts';
import { type Pcpu, POWER_OFF, POWER_ON, POWER_PENDING } from './pcpu.ts';
import { SecureWorld } from './secure-world.ts';
import {
  AFFINITY_OFF,
  AFFINITY_ON,
  FFA_RET_INVALID_PARAMETERS,
  FFA_RET_NOT_SUPPORTED,
  FFA_VERSION_1_0,
  isFfa,
  PSCI_ALREADY_ON,
  PSCI_DENIED,
  PSCI_INVALID_PARAMETERS,
  PSCI_NOT_SUPPORTED,
  PSCI_ON_PENDING,
  PSCI_POWER_DOWN,
  PSCI_SUCCESS,
  PSCI_VERSION_1_1,
  SMC_FUNCTIONS,
  SMCCC_RET_NOT_SUPPORTED,
  SMCCC_VERSION_1_3,
} from './smccc.ts';

/** x0 to x4 after an SMC, as signed numbers where they are errors. */
export type SmcResult = readonly [x0: number, x1: number, x2: number, x3: number, x4: number];

export const smcResult = (x0: number, x1 = 0, x2 = 0, x3 = 0, x4 = 0): SmcResult => [
  x0,
  x1,
  x2,
  x3,
  x4,
];

const { FFA_SUCCESS, FFA_ERROR } = SMC_FUNCTIONS;
export const ffaSuccess = (x2 = 0, x3 = 0): SmcResult => smcResult(FFA_SUCCESS, 0, x2, x3);
export const ffaError = (code: number): SmcResult => smcResult(FFA_ERROR, 0, code);

/** PSCI_MIGRATE_INFO_TYPE: the Trusted OS lives on one CPU, and cannot move to another. */
const UNIPROCESSOR_NOT_MIGRATABLE = 1;
/** The CPU on which it lives: that CPU stays on. Arm DEN 0022, CPU_OFF. */
export const TRUSTED_OS_CPU = 0;
/** The host's FF-A id, and that of the one partition in the secure world. */
export const HOST_FFA_ID = 0;
export const PARTITION_FFA_ID = 0x8001;

const KNOWN_FUNCTIONS = new Set<number>(Object.values(SMC_FUNCTIONS));

/** EL3 and what is behind it: powers CPUs on and off, and passes on calls to the secure world. */
export class Firmware {
  readonly secureWorld: SecureWorld;
  readonly #pcpus: readonly Pcpu[];

  constructor({ hyp, layout }: MachineMemory, pcpus: readonly Pcpu[]) {
    this.secureWorld = new SecureWorld(hyp, layout.secureWorld);
    this.#pcpus = pcpus;
  }

  /** SMC on `cpu`. Of a CPU that powers down, the answer never reaches it. */
  call(cpu: number, id: number, x1 = 0, x2 = 0): SmcResult {
    switch (id) {
      case SMC_FUNCTIONS.SMCCC_VERSION:
        return smcResult(SMCCC_VERSION_1_3);
      case SMC_FUNCTIONS.PSCI_VERSION:
        return smcResult(PSCI_VERSION_1_1);
      case SMC_FUNCTIONS.PSCI_FEATURES:
        return smcResult(KNOWN_FUNCTIONS.has(x1) ? PSCI_SUCCESS : PSCI_NOT_SUPPORTED);
      case SMC_FUNCTIONS.PSCI_MIGRATE_INFO_TYPE:
        return smcResult(UNIPROCESSOR_NOT_MIGRATABLE);
      case SMC_FUNCTIONS.PSCI_AFFINITY_INFO:
        return smcResult(this.#affinityInfo(x1));
      case SMC_FUNCTIONS.PSCI_CPU_ON:
        return smcResult(this.#cpuOn(x1));
      case SMC_FUNCTIONS.PSCI_CPU_OFF:
        return cpu === TRUSTED_OS_CPU ? smcResult(PSCI_DENIED) : this.#power(cpu, POWER_OFF);
      case SMC_FUNCTIONS.PSCI_CPU_SUSPEND:
        if ((x1 & PSCI_POWER_DOWN) === 0) return smcResult(PSCI_SUCCESS);
        return this.#power(cpu, POWER_PENDING); // The next interrupt resumes it.
      case SMC_FUNCTIONS.PSCI_SYSTEM_SUSPEND:
        return this.#systemSuspend(cpu);
      case SMC_FUNCTIONS.PSCI_MEM_PROTECT:
        return smcResult(PSCI_SUCCESS);
      default:
        return isFfa(id) ? this.#secureWorldCall(id, x1, x2) : smcResult(SMCCC_RET_NOT_SUPPORTED);
    }
  }

  #affinityInfo(target: number): number {
    const pcpu = this.#pcpus[target];
    if (!pcpu) return PSCI_INVALID_PARAMETERS;
    return pcpu.power === POWER_OFF ? AFFINITY_OFF : AFFINITY_ON;
  }

  #cpuOn(target: number): number {
    const pcpu = this.#pcpus[target];
    if (!pcpu) return PSCI_INVALID_PARAMETERS;
    if (pcpu.tryTurnOn()) return PSCI_SUCCESS;
    return pcpu.power === POWER_ON ? PSCI_ALREADY_ON : PSCI_ON_PENDING;
  }

  /** The caller must be the only CPU that is not off: Arm DEN 0022, SYSTEM_SUSPEND. */
  #systemSuspend(cpu: number): SmcResult {
    const isLast = this.#pcpus.every((pcpu) => pcpu.cpu === cpu || pcpu.power === POWER_OFF);
    return isLast ? this.#power(cpu, POWER_PENDING) : smcResult(PSCI_DENIED);
  }

  #power(cpu: number, power: typeof POWER_OFF | typeof POWER_PENDING): SmcResult {
    const pcpu = this.#pcpus[cpu];
    if (pcpu) pcpu.power = power;
    return smcResult(PSCI_SUCCESS);
  }

  #secureWorldCall(id: number, x1: number, x2: number): SmcResult {
    switch (id) {
      case SMC_FUNCTIONS.FFA_VERSION:
        return smcResult(FFA_VERSION_1_0);
      case SMC_FUNCTIONS.FFA_FEATURES:
        return KNOWN_FUNCTIONS.has(x1) ? ffaSuccess() : ffaError(FFA_RET_NOT_SUPPORTED);
      case SMC_FUNCTIONS.FFA_ID_GET:
        return ffaSuccess(HOST_FFA_ID);
      case SMC_FUNCTIONS.FFA_PARTITION_INFO_GET:
        return ffaSuccess(1);
      case SMC_FUNCTIONS.FFA_RXTX_MAP:
      case SMC_FUNCTIONS.FFA_RXTX_UNMAP:
        return ffaSuccess();
      case SMC_FUNCTIONS.FFA_MSG_SEND_DIRECT_REQ:
        return (x1 & 0xffff) === PARTITION_FFA_ID
          ? smcResult(SMC_FUNCTIONS.FFA_MSG_SEND_DIRECT_RESP, x1, x2)
          : ffaError(FFA_RET_INVALID_PARAMETERS);
      case SMC_FUNCTIONS.FFA_MEM_RECLAIM:
        return this.secureWorld.reclaim(x1) ? ffaSuccess() : ffaError(FFA_RET_INVALID_PARAMETERS);
      default:
        return ffaError(FFA_RET_NOT_SUPPORTED);
    }
  }
}

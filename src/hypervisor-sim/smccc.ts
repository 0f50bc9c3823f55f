/**
 * Function identifiers of the SMC calling convention, and what firmware and hypervisor answer:
 * Arm DEN 0028 (SMCCC), DEN 0022 (PSCI), DEN 0077A (FF-A); KVM's own ones of vendor hyp services.
 *
 *      31   30    29..24    23..16     15..0
 *      fast 64-bit service   hint bits  function
 */
export const SMCCC_RET_SUCCESS = 0;
export const SMCCC_RET_NOT_SUPPORTED = -1;
export const SMCCC_RET_INVALID_PARAMETER = -3;

export const SMC_FUNCTIONS = {
  SMCCC_VERSION: 0x8000_0000,
  SMCCC_ARCH_FEATURES: 0x8000_0001,
  TRNG_VERSION: 0x8400_0050,
  TRNG_RND64: 0xc400_0053,
  PSCI_VERSION: 0x8400_0000,
  PSCI_CPU_SUSPEND: 0xc400_0001,
  PSCI_CPU_OFF: 0x8400_0002,
  PSCI_CPU_ON: 0xc400_0003,
  PSCI_AFFINITY_INFO: 0xc400_0004,
  PSCI_MIGRATE_INFO_TYPE: 0x8400_0006,
  PSCI_SYSTEM_OFF: 0x8400_0008,
  PSCI_SYSTEM_RESET: 0x8400_0009,
  PSCI_FEATURES: 0x8400_000a,
  PSCI_SYSTEM_SUSPEND: 0xc400_000e,
  PSCI_MEM_PROTECT: 0x8400_0013,
  FFA_ERROR: 0x8400_0060,
  FFA_SUCCESS: 0x8400_0061,
  FFA_VERSION: 0x8400_0063,
  FFA_FEATURES: 0x8400_0064,
  FFA_RXTX_MAP: 0xc400_0066,
  FFA_RXTX_UNMAP: 0x8400_0067,
  FFA_PARTITION_INFO_GET: 0x8400_0068,
  FFA_ID_GET: 0x8400_0069,
  FFA_MSG_SEND_DIRECT_REQ: 0x8400_006f,
  FFA_MSG_SEND_DIRECT_RESP: 0x8400_0070,
  FFA_MEM_DONATE: 0xc400_0071,
  FFA_MEM_LEND: 0xc400_0072,
  FFA_MEM_SHARE: 0xc400_0073,
  FFA_MEM_RETRIEVE_REQ: 0xc400_0074,
  FFA_MEM_RECLAIM: 0x8400_0077,
} as const;

export type SmcFunction = keyof typeof SMC_FUNCTIONS;

/** What a guest may ask its hypervisor for: HVC with one of these. */
export const GUEST_FUNCTIONS = {
  PSCI_VERSION: SMC_FUNCTIONS.PSCI_VERSION,
  PSCI_CPU_SUSPEND: SMC_FUNCTIONS.PSCI_CPU_SUSPEND,
  PSCI_CPU_OFF: SMC_FUNCTIONS.PSCI_CPU_OFF,
  PSCI_CPU_ON: SMC_FUNCTIONS.PSCI_CPU_ON,
  PSCI_AFFINITY_INFO: SMC_FUNCTIONS.PSCI_AFFINITY_INFO,
  PSCI_SYSTEM_OFF: SMC_FUNCTIONS.PSCI_SYSTEM_OFF,
  PSCI_SYSTEM_RESET: SMC_FUNCTIONS.PSCI_SYSTEM_RESET,
  PSCI_FEATURES: SMC_FUNCTIONS.PSCI_FEATURES,
  HYP_MEMINFO: 0xc600_0002,
  MEM_SHARE: 0xc600_0003,
  MEM_UNSHARE: 0xc600_0004,
  MMIO_GUARD_INFO: 0xc600_0005,
  MMIO_GUARD_ENROLL: 0xc600_0006,
  MMIO_GUARD_MAP: 0xc600_0007,
  MMIO_GUARD_UNMAP: 0xc600_0008,
} as const;

export type GuestFunction = keyof typeof GUEST_FUNCTIONS;

/** Owning entity 4 holds PSCI in functions 0x00..0x1f and FF-A in 0x60..0xff. */
const standardService = (id: number): boolean => ((id >>> 24) & 0xbf) === 0x84;
const functionNumber = (id: number): number => id & 0xffff;

export const isPsci = (id: number): boolean => standardService(id) && functionNumber(id) <= 0x1f;
export const isFfa = (id: number): boolean =>
  standardService(id) && functionNumber(id) >= 0x60 && functionNumber(id) <= 0xff;

/** PSCI's return values. */
export const PSCI_SUCCESS = 0;
export const PSCI_NOT_SUPPORTED = -1;
export const PSCI_INVALID_PARAMETERS = -2;
export const PSCI_DENIED = -3;
export const PSCI_ALREADY_ON = -4;
export const PSCI_ON_PENDING = -5;

/** What PSCI_AFFINITY_INFO answers of a CPU. */
export const AFFINITY_ON = 0;
export const AFFINITY_OFF = 1;

export const PSCI_VERSION_1_1 = 0x1_0001;
export const FFA_VERSION_1_0 = 0x1_0000;
export const SMCCC_VERSION_1_3 = 0x1_0003;

/** FF-A's error codes, in the w2 of an FFA_ERROR. */
export const FFA_RET_SUCCESS = 0;
export const FFA_RET_NOT_SUPPORTED = -1;
export const FFA_RET_INVALID_PARAMETERS = -2;
export const FFA_RET_NO_MEMORY = -3;
export const FFA_RET_BUSY = -4;
export const FFA_RET_DENIED = -6;

/** Bit 30 of PSCI_CPU_SUSPEND's power state (original format: 16): the CPU loses its state. */
export const PSCI_POWER_DOWN = 2 ** 16;

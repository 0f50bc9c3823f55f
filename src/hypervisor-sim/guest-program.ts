import type { SharedMemory } from '../ringbuffer/shared-memory.ts';

/**
 * The machine code of the simulated guests, 16 bytes an instruction (little endian):
 *
 *      0 u32 op    4 u32 a    8 u32 b    12 u32 c
 *
 * It lies in the guest's memory like any other data, put there by the host before it gives the
 * page away, and is fetched from there instruction by instruction.
 */
export const INSTRUCTION_SIZE = 16;

export const OP = {
  /** Computes for `a` ns. */
  WORK: 1,
  /** Reads, or with `b` writes, the word at the IPA `a`: memory or a device. */
  LOAD: 2,
  STORE: 3,
  /** Waits for an interrupt. */
  WFI: 4,
  /** Calls the hypervisor: function `a`, x1 `b`, x2 `c`. */
  HVC: 5,
  /** Calls the firmware, which a guest may not: function `a`. */
  SMC: 6,
  /** Reads a system register that traps and is emulated: encoding `a`. */
  SYSREG: 7,
  /** Touches a system register that it may not: encoding `a`. */
  ILLEGAL: 8,
  /** Goes back to instruction `a` until it has come by here `b` times; counter `c` of 4. */
  LOOP: 9,
} as const;

export interface Instruction {
  readonly op: number;
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
}

/** The guest's physical address space, 16 MiB: devices in the lower half, memory in the upper. */
export const IPA_LIMIT = 0x100_0000;
export const GUEST_RAM = 0x80_0000;

export const isGuestRam = (ipa: number): boolean => ipa >= GUEST_RAM && ipa < IPA_LIMIT;
export const isGuestDevice = (ipa: number): boolean => ipa >= 0 && ipa < GUEST_RAM;

export function putProgram(to: SharedMemory, at: number, program: readonly Instruction[]): void {
  program.forEach(({ op, a = 0, b = 0, c = 0 }, index) => {
    const word = at + index * INSTRUCTION_SIZE;
    to.view.setUint32(word, op, true);
    to.view.setUint32(word + 4, a, true);
    to.view.setUint32(word + 8, b, true);
    to.view.setUint32(word + 12, c, true);
  });
}

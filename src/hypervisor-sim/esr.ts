/**
 * Exception syndromes as ESR_EL2 has them (Arm ARM, D24.2.40):
 *
 *      31   26 25  24                    0
 *      +------+---+----------------------+
 *      |  EC  |IL | ISS                  |
 *      +------+---+----------------------+
 */
const EC_SHIFT = 26;
const IL = 2 ** 25;

const EC_WFX = 0x01;
const EC_SMC64 = 0x17;
const EC_SYS64 = 0x18;
const EC_IABT_LOW = 0x20;
const EC_DABT_LOW = 0x24;

/** Stage-2 translation fault, level 3. */
const FAULT = 0x07;
const WNR = 2 ** 6;
/** The rest of the syndrome says which register and size: it can be emulated. */
export const ISV = 2 ** 24;

const esr = (ec: number, iss: number): number => ec * 2 ** EC_SHIFT + IL + iss;

export type Access = 'read' | 'write' | 'execute';

export function abortEsr(access: Access, isMmio = false): number {
  if (access === 'execute') return esr(EC_IABT_LOW, FAULT);
  return esr(EC_DABT_LOW, FAULT + (access === 'write' ? WNR : 0) + (isMmio ? ISV : 0));
}

export const WFI_ESR = esr(EC_WFX, 0);
export const SMC_ESR = esr(EC_SMC64, 0);
/** The syndrome of an access to a system register by its name's five numbers. */
export const sysregIss = (
  op0: number,
  op1: number,
  crn: number,
  crm: number,
  op2: number,
): number => (op0 << 20) | (op2 << 17) | (op1 << 14) | (crn << 10) | (crm << 1);

export const sysregEsr = (encoding: number): number => esr(EC_SYS64, encoding & 0x1ff_ffff);

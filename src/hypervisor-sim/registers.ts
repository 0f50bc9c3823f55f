import type { Register } from './hypercalls.ts';

/** What a handler makes of a register, as its C prototype declares it. */
export const u32 = (register: Register): number => Number(BigInt.asUintN(32, BigInt(register)));
export const u16 = (register: Register): number => u32(register) & 0xffff;
export const u64 = (register: Register): bigint => BigInt.asUintN(64, BigInt(register));
export const bool = (register: Register): boolean => u64(register) !== 0n;

/** A count or a frame number: what no double can hold names nothing here anyway. */
export const size = (register: Register): number =>
  typeof register === 'number' && register >= 0 ? register : Number(u64(register));

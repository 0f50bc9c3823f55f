import { ErrnoError } from '../errno.ts';
import { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';

/**
 * The machine's RAM, one SharedArrayBuffer. Three ways to name a byte of it:
 *
 *      offset     into the buffer, from 0             how this program accesses it
 *      physical   offset + PHYS_BASE                  what page frame numbers count
 *      virtual    offset + PAGE_OFFSET                the host kernel's linear map
 */
export const PHYS_BASE = 0x4000_0000;
export const PAGE_OFFSET = 0xffff_0000_0000_0000n;

export class Ram extends SharedMemory {
  get nrPages(): number {
    return this.size / PAGE_SIZE;
  }

  /** The page that a page frame number names. @throws ErrnoError EINVAL when it is not RAM. */
  pageOfPfn(pfn: number): number {
    const page = pfn - PHYS_BASE / PAGE_SIZE;
    if (!Number.isInteger(page) || page < 0 || page >= this.nrPages)
      throw new ErrnoError('EINVAL', `page frame 0x${pfn.toString(16)} is not RAM`);
    return page;
  }

  /** The offset that a virtual address names. @throws ErrnoError EINVAL when it is not RAM. */
  offsetOfVirt(va: bigint, size = 1): number {
    const offset = va - PAGE_OFFSET;
    if (offset < 0n || offset + BigInt(size) > BigInt(this.size))
      throw new ErrnoError('EINVAL', `address 0x${va.toString(16)} is not RAM`);
    return Number(offset);
  }
}

export const physToVirt = (offset: number): bigint => PAGE_OFFSET + BigInt(offset);
export const pfnOf = (offset: number): number => (PHYS_BASE + offset) / PAGE_SIZE;

import { assert } from '../assert.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import { IPA_LIMIT } from './guest-program.ts';

/**
 * A guest's stage-2 tables: where its intermediate physical addresses lead. All 16 MiB of them
 * fit into one level, a word for each page, in the pages that the host donated as the pgd:
 *
 *      31                     2  1     0
 *      +-----------------------+-----+------+
 *      | page of RAM           |valid| mmio |
 *      +-----------------------+-----+------+
 *
 *      mmio   not mapped, but noted by the guest as a device that the host may emulate
 */
const MMIO = 1;
const VALID = 2;
const PAGE_SHIFT = 2;

const NR_ENTRIES = IPA_LIMIT / PAGE_SIZE;

export class GuestStage2 {
  readonly #ram: SharedMemory;
  readonly #pgd: number;

  constructor(ram: SharedMemory, pgd: number) {
    this.#ram = ram;
    this.#pgd = pgd;
  }

  /** The page of RAM behind an IPA's page; undefined where nothing is mapped. */
  lookup(ipaPage: number): number | undefined {
    const entry = this.#entry(ipaPage);
    return (entry & VALID) === 0 ? undefined : entry >>> PAGE_SHIFT;
  }

  map(ipaPage: number, page: number): void {
    this.#set(ipaPage, (page << PAGE_SHIFT) | VALID);
  }

  unmap(ipaPage: number): void {
    this.#set(ipaPage, 0);
  }

  /** __pkvm_check_ioguard_page(): whether the guest expects a device there. */
  isMmio(ipaPage: number): boolean {
    return (this.#entry(ipaPage) & MMIO) !== 0;
  }

  noteMmio(ipaPage: number): void {
    this.#set(ipaPage, MMIO);
  }

  /** Calls `visit` for each mapped page. */
  forEach(visit: (ipaPage: number, page: number) => void): void {
    for (let ipaPage = 0; ipaPage < NR_ENTRIES; ipaPage++) {
      const page = this.lookup(ipaPage);
      if (page !== undefined) visit(ipaPage, page);
    }
  }

  #entry(ipaPage: number): number {
    if (ipaPage >= NR_ENTRIES) return 0;
    return this.#ram.load(this.#pgd + 4 * ipaPage) >>> 0;
  }

  #set(ipaPage: number, entry: number): void {
    assert(ipaPage < NR_ENTRIES, 'the IPA is within the tables');
    this.#ram.store(this.#pgd + 4 * ipaPage, entry | 0);
  }
}

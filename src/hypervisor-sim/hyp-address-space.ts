import { assert } from '../assert.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import { PAGE_OFFSET } from './memory.ts';
import type { PageOwnership } from './page-ownership.ts';
import { NOPAGE } from './page-state.ts';

/**
 * Where the hypervisor sees what: EL2's stage-1 tables, as far as tracing needs them.
 *
 *      IMAGE_VA    its own image. The first page is read-only after init: the event switches
 *      LINEAR_VA   RAM, at the same offsets; only pages that it owns or borrows are mapped
 *      FIXMAP_VA   a page a CPU, for short writes to what is read-only elsewhere
 *
 * In the CPU's physical address space the image lies below RAM, out of the host's reach.
 */
const IMAGE_VA = 0x8000_0000_0000;
const LINEAR_VA = 0x9000_0000_0000;
const FIXMAP_VA = 0xa000_0000_0000;
export const IMAGE_PHYS = 0x3c00_0000;

/** Read-only after init: [0, RODATA_SIZE) of the image. */
export const RODATA_SIZE = PAGE_SIZE;

/** A fixmap slot: the image page that it maps, counted from 1; 0 for none. */
const SLOT_SIZE = 4;
export const fixmapSize = (nrCpus: number): number => Math.ceil(nrCpus / 2) * 2 * SLOT_SIZE;

export class HypAddressSpace {
  readonly #image: SharedMemory;
  readonly #ownership: PageOwnership;
  readonly #fixmap: number;

  /** `image` is the hypervisor's memory, and the fixmap's slots are in it at `fixmap`. */
  constructor(image: SharedMemory, ownership: PageOwnership, fixmap: number) {
    this.#image = image;
    this.#ownership = ownership;
    this.#fixmap = fixmap;
  }

  /** kern_hyp_va(): where the hypervisor would see what the host sees at `hostVa`. */
  kernHypVa(hostVa: bigint): number {
    return LINEAR_VA + Number(hostVa - PAGE_OFFSET);
  }

  /** The RAM behind mapped linear addresses, as an offset. What is not mapped is a bug of ours. */
  ramAt(va: number, size: number): number {
    const offset = va - LINEAR_VA;
    const last = Math.floor((offset + size - 1) / PAGE_SIZE);
    for (let page = Math.floor(offset / PAGE_SIZE); page <= last; page++)
      assert(this.#ownership.state(page, 'hyp') !== NOPAGE, `EL2 maps page ${page}`);
    return offset;
  }

  imagePhys(at: number): number {
    return IMAGE_PHYS + at;
  }

  /** hyp_fixmap_map(): maps the page of a physical address; keeps the address's offset in it. */
  fixmapMap(cpu: number, phys: number): number {
    const at = phys - IMAGE_PHYS;
    const taken = this.#image.compareExchange(this.#slot(cpu), 0, 1 + Math.floor(at / PAGE_SIZE));
    assert(taken, `cpu ${cpu}'s fixmap slot was free`);
    return FIXMAP_VA + cpu * PAGE_SIZE + (at % PAGE_SIZE);
  }

  fixmapUnmap(cpu: number): void {
    this.#image.store(this.#slot(cpu), 0);
  }

  /** Stores a word where a mapping allows it; anything else would be a panic of the hypervisor. */
  store(va: number, value: number): void {
    if (va >= FIXMAP_VA) {
      const cpu = Math.floor((va - FIXMAP_VA) / PAGE_SIZE);
      const page = this.#image.load(this.#slot(cpu));
      assert(page > 0, `cpu ${cpu}'s fixmap slot is mapped`);
      this.#image.store((page - 1) * PAGE_SIZE + ((va - FIXMAP_VA) % PAGE_SIZE), value);
      return;
    }
    const at = va - IMAGE_VA;
    assert(at >= RODATA_SIZE && at < this.#image.size, 'the image is writable there');
    this.#image.store(at, value);
  }

  /** Changes a word of the read-only data, as `cpu`: through its fixmap slot. */
  patchRodata(cpu: number, at: number, value: number): void {
    assert(at < RODATA_SIZE, 'the word is read-only data');
    const va = this.fixmapMap(cpu, this.imagePhys(at));
    try {
      this.store(va, value);
    } finally {
      this.fixmapUnmap(cpu);
    }
  }

  /** Where the image is mapped for good. */
  imageVa(at: number): number {
    return IMAGE_VA + at;
  }

  #slot(cpu: number): number {
    return this.#fixmap + cpu * SLOT_SIZE;
  }
}

import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import { MIB, PAGE_SIZE, pagesFor } from '../units.ts';

/** What the kernel's page allocator has at the most in one piece. */
const MAX_CONTIGUOUS = 4 * MIB;

/** Hands out the host's RAM, or a part of it, by the page. Lives in one thread only. */
export class PageAllocator {
  readonly #used: Uint8Array;
  readonly #base: number;
  #free: number;
  #hint = 0;

  /** Of `nrPages` from the offset `base` on. */
  constructor(nrPages: number, base = 0) {
    this.#used = new Uint8Array(nrPages);
    this.#base = base;
    this.#free = nrPages;
  }

  get freePages(): number {
    return this.#free;
  }

  /**
   * Returns the offset of `bytes`, rounded up to pages, in one piece. Its content is whatever
   * was there.
   *
   * @throws ErrnoError ENOMEM when there is no such piece, or it would be over 4 MiB.
   */
  alloc(bytes: number): number {
    const nrPages = pagesFor(bytes);
    assert(nrPages > 0, 'an allocation has a size');
    const first = bytes > MAX_CONTIGUOUS ? undefined : this.#find(nrPages);
    if (first === undefined) throw new ErrnoError('ENOMEM', `no ${nrPages} pages in one piece`);
    this.#used.fill(1, first, first + nrPages);
    this.#free -= nrPages;
    this.#hint = first + nrPages;
    return this.#base + first * PAGE_SIZE;
  }

  free(offset: number, bytes: number): void {
    const first = (offset - this.#base) / PAGE_SIZE;
    const nrPages = pagesFor(bytes);
    const pages = this.#used.subarray(first, first + nrPages);
    assert(!pages.includes(0), 'a page is freed once');
    pages.fill(0);
    this.#free += nrPages;
    this.#hint = Math.min(this.#hint, first);
  }

  /** First fit, from where the last allocation ended, and once more from the start. */
  #find(nrPages: number): number | undefined {
    if (nrPages > this.#free) return undefined;
    return this.#findFrom(this.#hint, nrPages) ?? this.#findFrom(0, nrPages);
  }

  #findFrom(start: number, nrPages: number): number | undefined {
    for (let first = this.#used.indexOf(0, start); first !== -1; ) {
      const end = first + nrPages;
      if (end > this.#used.length) return undefined;
      const taken = this.#used.subarray(first, end).lastIndexOf(1);
      if (taken === -1) return first;
      first = this.#used.indexOf(0, first + taken + 1);
    }
    return undefined;
  }
}

/**
 * What crosses the boundary when a buffer is loaded: for each CPU where its meta page and its
 * data pages are. The kernel's struct rb_page_desc (little endian), records back to back:
 *
 *       0 i32 cpu
 *       4 i32 nr_page_va           the meta page is not counted
 *       8 u64 meta_va
 *      16 u64 page_va[nr_page_va]  [0] is the first reader page; the index is the page's id
 *
 * A record is only 4-byte aligned. Addresses are the host's virtual ones.
 */
const CPU = 0;
const NR_PAGE_VA = 4;
const META_VA = 8;
const PAGE_VA = 16;
const VA_SIZE = 8;

export interface RingBufferDesc {
  readonly cpu: number;
  readonly meta: bigint;
  readonly pages: readonly bigint[];
}

export const ringBufferDescSize = (nrPages: number): number => PAGE_VA + VA_SIZE * nrPages;

/** Writes one record at `at`; returns where the next one goes. */
export function putRingBufferDesc(to: DataView, at: number, desc: RingBufferDesc): number {
  to.setInt32(at + CPU, desc.cpu, true);
  to.setInt32(at + NR_PAGE_VA, desc.pages.length, true);
  to.setBigUint64(at + META_VA, desc.meta, true);
  desc.pages.forEach((page, id) => {
    to.setBigUint64(at + PAGE_VA + VA_SIZE * id, page, true);
  });
  return at + ringBufferDescSize(desc.pages.length);
}

/** Reads the record at `at`; undefined when it does not lie within [at, end). */
export function getRingBufferDesc(
  from: DataView,
  at: number,
  end: number,
): RingBufferDesc | undefined {
  if (at + PAGE_VA > end) return undefined;
  const nrPages = from.getInt32(at + NR_PAGE_VA, true);
  if (nrPages < 0 || at + ringBufferDescSize(nrPages) > end) return undefined;
  return {
    cpu: from.getInt32(at + CPU, true),
    meta: from.getBigUint64(at + META_VA, true),
    pages: Array.from({ length: nrPages }, (_, id) =>
      from.getBigUint64(at + PAGE_VA + VA_SIZE * id, true),
    ),
  };
}

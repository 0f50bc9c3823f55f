import {
  getRingBufferDesc,
  putRingBufferDesc,
  type RingBufferDesc,
  ringBufferDescSize,
} from '../ringbuffer/ring-buffer-desc.ts';

/**
 * What __pkvm_load_tracing is given: struct hyp_trace_desc (little endian).
 *
 *       0 u64 backing.start   host VA of the room for the hypervisor's page records
 *       8 u64 backing.size    in bytes
 *      16 i32 nr_cpus
 *      20     one ring buffer descriptor a CPU, back to back
 */
const BACKING_START = 0;
const BACKING_SIZE = 8;
const NR_CPUS = 16;
const CPUS = 20;

export interface HypTraceDesc {
  readonly backingStart: bigint;
  readonly backingSize: bigint;
  readonly rings: readonly RingBufferDesc[];
}

export const hypTraceDescSize = (nrCpus: number, nrPages: number): number =>
  CPUS + nrCpus * ringBufferDescSize(nrPages);

export function putHypTraceDesc(to: DataView, at: number, desc: HypTraceDesc): void {
  to.setBigUint64(at + BACKING_START, desc.backingStart, true);
  to.setBigUint64(at + BACKING_SIZE, desc.backingSize, true);
  to.setInt32(at + NR_CPUS, desc.rings.length, true);
  desc.rings.reduce((next, ring) => putRingBufferDesc(to, next, ring), at + CPUS);
}

/** Reads what a host wrote into [at, at + size); undefined when a record does not fit in it. */
export function getHypTraceDesc(
  from: DataView,
  at: number,
  size: number,
): HypTraceDesc | undefined {
  const rings: RingBufferDesc[] = [];
  let next = at + CPUS;
  for (let nrCpus = from.getInt32(at + NR_CPUS, true); nrCpus > 0; nrCpus--) {
    const ring = getRingBufferDesc(from, next, at + size);
    if (ring === undefined) return undefined;
    rings.push(ring);
    next += ringBufferDescSize(ring.pages.length);
  }
  return {
    backingStart: from.getBigUint64(at + BACKING_START, true),
    backingSize: from.getBigUint64(at + BACKING_SIZE, true),
    rings,
  };
}

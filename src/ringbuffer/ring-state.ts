/**
 * The state of one CPU's ring, private to the ring's side: the kernel's struct
 * simple_rb_per_cpu.
 *
 *       0 i32 RingStatus      12 u32 readerPage      24 u32 bpages, where the records are
 *       4 u32 nrPages         16 u32 headPage        32 f64 writeStamp, ns
 *       8 u32 tailPage        20 u32 meta            40 f64 lastOverrun, events
 */
export const STATUS = 0;
export const NR_PAGES = 4;
export const TAIL_PAGE = 8;
export const READER_PAGE = 12;
export const HEAD_PAGE = 16;
export const META = 20;
export const BPAGES = 24;
export const WRITE_STAMP = 32;
export const LAST_OVERRUN = 40;
/**
 * So far apart that no two CPUs' states are on one cache line, or on two that the hardware fetches
 * together, wherever the memory begins. Two CPUs took 3 times as long when they were.
 */
export const RING_STATE_SIZE = 256;

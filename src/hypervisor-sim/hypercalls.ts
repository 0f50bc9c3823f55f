import { ErrnoError } from '../errno.ts';
import { selftest } from './hyp-events.ts';
import type { HypTraceBuffer } from './hyp-trace-buffer.ts';
import type { Ram } from './memory.ts';
import type { PageOwnership } from './page-ownership.ts';

/** A register's value. Numbers where they are whole and below 2^53, for speed. */
export type Register = number | bigint;

/** What a hypercall's handler works on. */
export interface HypercallContext {
  /** The CPU that it runs on. */
  readonly cpu: number;
  readonly ram: Ram;
  readonly ownership: PageOwnership;
  readonly trace: HypTraceBuffer;
}

/** Returns x1; an ErrnoError becomes the negative number that the host finds there. */
type Handler = (
  hyp: HypercallContext,
  x1: Register,
  x2: Register,
  x3: Register,
  x4: Register,
) => void;

interface Hypercall {
  /** The function number below the SMCCC range, as a 6.12 kernel with the series counts them. */
  readonly id: number;
  readonly handler: Handler;
}

const u32 = (register: Register): number => Number(BigInt.asUintN(32, BigInt(register)));
const u16 = (register: Register): number => u32(register) & 0xffff;
const u64 = (register: Register): bigint => BigInt.asUintN(64, BigInt(register));
const bool = (register: Register): boolean => u64(register) !== 0n;
/** A count or a frame number: what no double can hold names nothing here anyway. */
const size = (register: Register): number => Number(u64(register));

/** The host's hypercalls, by the kernel's names. Every argument is checked by its handler. */
export const HYPERCALLS = {
  __pkvm_host_share_hyp: {
    id: 9,
    handler: ({ ram, ownership }, pfn, nr) =>
      ownership.hostShareHyp(ram.pageOfPfn(size(pfn)), size(nr)),
  },
  __pkvm_host_unshare_hyp: {
    id: 10,
    handler: ({ ram, ownership }, pfn, nr) =>
      ownership.hostUnshareHyp(ram.pageOfPfn(size(pfn)), size(nr)),
  },
  __pkvm_update_clock_tracing: {
    id: 25,
    handler: ({ trace }, mult, shift, epochNs, epochCyc) =>
      trace.updateClock({
        mult: u32(mult),
        shift: u32(shift),
        epochNs: u64(epochNs),
        epochCyc: u64(epochCyc),
      }),
  },
  __pkvm_load_tracing: {
    id: 26,
    handler: ({ trace }, descVa, descSize) => trace.load(u64(descVa), size(descSize)),
  },
  __pkvm_teardown_tracing: { id: 27, handler: ({ trace }) => trace.teardown() },
  __pkvm_enable_tracing: { id: 28, handler: ({ trace }, on) => trace.enable(bool(on)) },
  __pkvm_reset_tracing: { id: 29, handler: ({ trace }, cpu) => trace.reset(u32(cpu)) },
  __pkvm_swap_reader_tracing: {
    id: 30,
    handler: ({ trace }, cpu) => trace.swapReaderPage(u32(cpu)),
  },
  __pkvm_enable_event: {
    id: 31,
    handler: ({ trace }, id, on) => trace.enableEvent(u16(id), bool(on)),
  },
  __pkvm_selftest_event: {
    id: 32,
    handler: ({ trace, cpu }) => trace.emit(cpu, trace.tracepoint(selftest), trace.countSelftest()),
  },
} as const satisfies Record<string, Hypercall>;

export type HypercallName = keyof typeof HYPERCALLS;

const BY_ID = new Map<number, Handler>(
  Object.values(HYPERCALLS).map(({ id, handler }) => [id, handler]),
);

/** SMCCC: what the host finds in x0, and in x1 the hypercall's own result. */
export const SMCCC_RET_SUCCESS = 0;
export const SMCCC_RET_NOT_SUPPORTED = -1;

export interface HypercallResult {
  readonly x0: typeof SMCCC_RET_SUCCESS | typeof SMCCC_RET_NOT_SUPPORTED;
  readonly x1: number;
}

const SUCCESS: HypercallResult = { x0: SMCCC_RET_SUCCESS, x1: 0 };
const NOT_SUPPORTED: HypercallResult = { x0: SMCCC_RET_NOT_SUPPORTED, x1: 0 };

/** handle_host_hcall(): the one place where an ErrnoError becomes a register. */
export function handleHypercall(
  hyp: HypercallContext,
  id: number,
  [x1 = 0, x2 = 0, x3 = 0, x4 = 0]: readonly Register[],
): HypercallResult {
  const handler = BY_ID.get(id);
  if (handler === undefined) return NOT_SUPPORTED;
  try {
    handler(hyp, x1, x2, x3, x4);
    return SUCCESS;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return { x0: SMCCC_RET_SUCCESS, x1: error.result };
  }
}

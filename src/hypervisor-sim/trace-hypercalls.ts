import { selftest } from './hyp-events.ts';
import type { Handler } from './hypercalls.ts';
import { bool, size, u16, u32, u64 } from './registers.ts';

/** The hypercalls of tracing. */
export const updateClockTracing: Handler = ({ trace }, mult, shift, epochNs, epochCyc) =>
  trace.updateClock({
    mult: u32(mult),
    shift: u32(shift),
    epochNs: u64(epochNs),
    epochCyc: u64(epochCyc),
  });

export const loadTracing: Handler = ({ trace }, descVa, descSize) =>
  trace.load(u64(descVa), size(descSize));

export const teardownTracing: Handler = ({ trace }) => trace.teardown();

export const enableTracing: Handler = ({ trace }, on) => trace.enable(bool(on));

export const resetTracing: Handler = ({ trace }, cpu) => trace.reset(u32(cpu));

export const swapReaderTracing: Handler = ({ trace }, cpu) => trace.swapReaderPage(u32(cpu));

export const enableEvent: Handler = ({ trace, cpu }, id, on) =>
  trace.enableEvent(cpu, u16(id), bool(on));

export const selftestEvent: Handler = (hyp) => hyp.emit(selftest, hyp.trace.countSelftest());

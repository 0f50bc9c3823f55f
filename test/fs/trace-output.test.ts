import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HYP_REMOTE_EVENTS } from '../../src/daemon/hyp-trace.ts';
import { TraceOutput } from '../../src/fs/trace-output.ts';
import { HYP_EVENTS } from '../../src/hypervisor-sim/hyp-events.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { TraceSeq } from '../../src/trace-seq.ts';
import { NS_PER_US } from '../../src/units.ts';

const textOf = (seq: TraceSeq): string =>
  Buffer.from(seq.bytes.subarray(0, seq.length)).toString('latin1');

/** The line as its definition has it: no part of it is of an earlier line. */
function plainLine(cpu: number, ts: number, index: number, memory: SharedMemory): string {
  const seq = new TraceSeq(1_000);
  const event = HYP_REMOTE_EVENTS[index];
  event?.print(memory, 0, seq);
  const us = Math.floor(ts / NS_PER_US);
  const seconds = `${Math.floor(us / 1e6)}`.padStart(5);
  const time = `${seconds}.${`${us % 1e6}`.padStart(6, '0')}`;
  return `[${`${cpu}`.padStart(3, '0')}]\t${time}: ${event?.name} ${textOf(seq)}\n`;
}

// What lines have in common is kept from one to the next; so one output prints them all.
test('lines that are put together from earlier ones are what they would be on their own', () => {
  const few = fc.integer({ min: 0, max: 3 });
  const events = fc.array(
    fc.record({
      cpu: fc.integer({ min: 0, max: 2 }),
      ts: fc.oneof(fc.integer({ min: 0, max: 30_000_000 }), fc.integer({ min: 0, max: 10 ** 15 })),
      index: fc.integer({ min: 0, max: HYP_EVENTS.length - 1 }),
      values: fc.array(fc.oneof(few, few, fc.nat()), { minLength: 7, maxLength: 7 }),
    }),
    { maxLength: 60 },
  );
  const output = new TraceOutput(HYP_REMOTE_EVENTS);
  const memory = new SharedMemory(new SharedArrayBuffer(64));
  fc.assert(
    fc.property(events, (list) => {
      for (const { cpu, ts, index, values } of list) {
        const id = HYP_REMOTE_EVENTS[index]?.id ?? 0;
        HYP_EVENTS[index]?.write(memory, 0, id, ...values);
        const seq = new TraceSeq(1_000);
        output.print({ cpu, ts, lostEvents: 0, memory, payload: 0 }, seq);
        expect(textOf(seq)).toBe(plainLine(cpu, ts, index, memory));
      }
    }),
  );
});

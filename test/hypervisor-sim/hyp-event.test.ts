import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hypEvent } from '../../src/hypervisor-sim/hyp-event.ts';
import { HYP_EVENTS, hypEnter, hypEventId } from '../../src/hypervisor-sim/hyp-events.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { TraceSeq } from '../../src/trace-seq.ts';

const memory = (): SharedMemory => new SharedMemory(new SharedArrayBuffer(64));

function printed(event: ReturnType<typeof hypEvent>, ...values: number[]): string {
  const entry = memory();
  event.write(entry, 0, 1, ...values);
  const text = new TraceSeq(200);
  event.print(entry, 0, text);
  return Buffer.from(text.bytes.subarray(0, text.length)).toString();
}

describe('an event’s declaration', () => {
  const everything = hypEvent(
    'everything',
    { a: 'u8', b: 'u16', c: 'int', d: 'unsigned int', e: 'u64', f: 'u64', g: 'bool' },
    'a=%u b=%u c=%d d=%x e=%llu f=0x%llx g=%d!',
    'a',
    'b',
    'c',
    'd',
    'e',
    'f',
    'g',
  );

  test('packs the fields behind the id, without gaps, as the kernel’s struct does', () => {
    expect(everything.fields.map(({ name, offset, size }) => ({ name, offset, size }))).toEqual([
      { name: 'a', offset: 2, size: 1 },
      { name: 'b', offset: 3, size: 2 },
      { name: 'c', offset: 5, size: 4 },
      { name: 'd', offset: 9, size: 4 },
      { name: 'e', offset: 13, size: 8 },
      { name: 'f', offset: 21, size: 8 },
      { name: 'g', offset: 29, size: 1 },
    ]);
    expect(everything.size).toBe(32);
  });

  test('prints what was written', () => {
    const u = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
    const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(u(8), u(16), int, u(32), u(53), u(53), fc.nat(1), (a, b, c, d, e, f, g) => {
        expect(printed(everything, a, b, c, d, e, f, g)).toBe(
          `a=${a} b=${b} c=${c} d=${d.toString(16)} e=${e} f=0x${f.toString(16)} g=${g}!`,
        );
      }),
    );
  });

  test('leaves no old bytes in the padding', () => {
    const entry = memory();
    entry.fill(0, 64, 0xff);
    hypEnter.write(entry, 0, 1001, 1, 77);
    expect(Buffer.from(entry.bytes.slice(0, 9)).toString('hex')).toBe(
      'e903' + '01' + '4d000000' + '00' + 'ff',
    );
  });

  test('tells tools how to print it', () => {
    expect(everything.printFmt).toBe(
      '"a=%u b=%u c=%d d=%x e=%llu f=0x%llx g=%d!", REC->a, REC->b, REC->c, REC->d, REC->e, REC->f, REC->g',
    );
    expect(hypEnter.printFmt).toContain('__print_symbolic(REC->reason, { 0, "smc" }, { 1, "hvc" }');
  });

  test('must print every argument, and only fields that there are', () => {
    expect(() => hypEvent('bad', { a: 'u8' }, 'a=%u')).toThrow('an argument for %u');
    expect(() => hypEvent('bad', { a: 'u8' }, 'none', 'a')).toThrow('every argument');
    expect(() => hypEvent('bad', { a: 'u8' }, '%u', 'b')).toThrow('field b');
  });

  test('prints a reason that has no name as its number', () => {
    expect(printed(hypEnter, 1, 0)).toBe('reason=hvc vcpu=0');
    expect(printed(hypEnter, 200, -1)).toBe('reason=0xc8 vcpu=-1');
  });
});

test('ids count from 1001 in the order of the names', () => {
  expect(HYP_EVENTS.map(({ name }, index) => [name, hypEventId(index)])).toEqual([
    ['hyp_enter', 1001],
    ['hyp_exit', 1002],
    ['selftest', 1003],
  ]);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Field,
  type FieldValue,
  type HypEvent,
  hypEvent,
} from '../../src/hypervisor-sim/hyp-event.ts';
import {
  HYP_EVENTS,
  hypEnter,
  hypEventId,
  hypPrintk,
} from '../../src/hypervisor-sim/hyp-events.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { TraceSeq } from '../../src/trace-seq.ts';

const memory = (): SharedMemory => new SharedMemory(new SharedArrayBuffer(64));

function printed(event: HypEvent, ...values: FieldValue[]): string {
  const entry = memory();
  event.write(entry, 0, 1, ...values);
  const text = new TraceSeq(200);
  event.print(entry, 0, text);
  return Buffer.from(text.bytes.subarray(0, text.length)).toString();
}

function putInt(view: DataView, field: Field | undefined, value: number): void {
  const { offset = 0, size = 0 } = field ?? {};
  for (let byte = 0; byte < size; byte++)
    view.setUint8(offset + byte, Math.floor(value / 256 ** byte) & 0xff);
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

  test('puts an entry of two words together as it would be written field by field', () => {
    const types = ['u8', 'bool', 'u16', 'int', 'unsigned int'] as const;
    const scalar = fc.constantFrom(...types);
    const value = fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 });
    fc.assert(
      fc.property(scalar, scalar, value, value, fc.nat(65_535), (first, second, a, b, id) => {
        const event = hypEvent('two', { first, second }, '');
        const entry = memory();
        entry.fill(0, entry.size, 0xff);
        event.write(entry, 0, id, a, b);
        const expected = memory();
        expected.fill(event.size, entry.size - event.size, 0xff);
        expected.view.setUint16(0, id, true);
        putInt(expected.view, event.fields[0], a);
        putInt(expected.view, event.fields[1], b);
        expect(entry.bytes).toEqual(expected.bytes);
      }),
    );
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

  test('prints by number: as many arguments as the format has, or that there is none', () => {
    expect(printed(hypPrintk, 0, 0x1000, 2)).toBe('vm 0x1000 created with 2 vcpus');
    expect(printed(hypPrintk, 2, 5, 6, 7, 8)).toBe('cpu 5 is up');
    expect(printed(hypPrintk, 255)).toBe('Unknown Format');
    expect(hypPrintk.printFmt).toBeUndefined();
  });

  test('takes a u64 of any size, as a bigint', () => {
    const max = 2n ** 64n - 1n;
    expect(printed(everything, 0, 0, 0, 0, max, -1n)).toContain(`e=${max} f=0x${'f'.repeat(16)} `);
    expect(() => everything.write(memory(), 0, 1, 5n)).toThrow('a holds a bigint');
  });

  test('prints a reason that has no name as its number', () => {
    expect(printed(hypEnter, 1, 0)).toBe('reason=hvc vcpu=0');
    expect(printed(hypEnter, 200, -1)).toBe('reason=0xc8 vcpu=-1');
  });
});

test('ids count from 1001 in the order of the names', () => {
  expect(HYP_EVENTS.map(({ name }, index) => [name, hypEventId(index)])).toEqual([
    ['__hyp_printk', 1001],
    ['host_ffa_call', 1002],
    ['host_hcall', 1003],
    ['host_mem_abort', 1004],
    ['host_smc', 1005],
    ['hyp_enter', 1006],
    ['hyp_exit', 1007],
    ['iommu_idmap', 1008],
    ['iommu_idmap_complete', 1009],
    ['psci_mem_protect', 1010],
    ['selftest', 1011],
    ['vcpu_illegal_trap', 1012],
  ]);
});

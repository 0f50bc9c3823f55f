import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TraceSeq } from '../src/trace-seq.ts';

function text(fill: (seq: TraceSeq) => void): string {
  const seq = new TraceSeq(100);
  fill(seq);
  return Buffer.from(seq.bytes.subarray(0, seq.length)).toString();
}

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('digits written in place are those of a string', () => {
  test('unsigned and padded', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 1, max: 20 }), (value, width) => {
        expect(text((seq) => seq.putUnsigned(value, width))).toBe(`${value}`.padStart(width));
        expect(text((seq) => seq.putZeroPadded(value, width))).toBe(
          `${value}`.padStart(width, '0'),
        );
      }),
    );
  });

  test('signed', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        expect(text((seq) => seq.putSigned(value))).toBe(`${value}`);
      }),
    );
  });

  test('of 64 bits, decimal and hexadecimal', () => {
    fc.assert(
      fc.property(u32, u32, (high, low) => {
        const value = (BigInt(high) << 32n) | BigInt(low);
        expect(text((seq) => seq.putUnsigned64(high, low))).toBe(`${value}`);
        expect(text((seq) => seq.putHex64(high, low))).toBe(value.toString(16));
      }),
    );
  });
});

test('what does not fit is left out, until it is truncated', () => {
  const seq = new TraceSeq(4);
  seq.putUnsigned(123);
  seq.putUnsigned(45);
  expect(seq).toMatchObject({ length: 3, overflowed: true });
  seq.putUnsigned(6);
  expect(seq.length).toBe(3);
  seq.truncate(3);
  seq.putUnsigned(6);
  expect(seq).toMatchObject({ length: 4, overflowed: false });
});

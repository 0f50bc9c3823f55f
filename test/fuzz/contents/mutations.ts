import fc, { type Arbitrary } from 'fast-check';

/** What becomes of a well-formed text before it is written. */
export interface Limits {
  /** How long a part may become that is repeated. */
  readonly longest: number;
}

type Mutation = (bytes: Buffer) => Buffer;

const ODD_BYTES = [
  [0],
  [0xff, 0xfe],
  [0xc0, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xef, 0xbb, 0xbf],
  [0x1b, 0x5b],
  [0x0d],
  [0x09],
  [0x85],
  [0xe2, 0x80, 0xa8],
].map((bytes) => Buffer.from(bytes));

const ODD_WORDS = [
  ...[
    '-1',
    '-0',
    '1e309',
    '0x',
    '0x7fffffffffffffff',
    '0xffffffffffffffff',
    '18446744073709551616',
  ],
  ...['9'.repeat(400), '1_000', '0o17', '.5', '+1', ' 1', '1 2', 'NaN', 'Infinity', '.inf', '.nan'],
  ...['constructor', '__proto__', 'toString', 'hasOwnProperty', 'null', '~', 'true', 'undefined'],
  ...[
    '%s%n',
    '../../etc/passwd',
    '$(x)',
    '{{',
    '\\',
    '"',
    "'",
    '#',
    ':',
    '- ',
    '? ',
    '|',
    '>',
    '!!js',
  ],
  ...['&a', '*a', '<<: *a', '!!binary x', '!!set', '---\n', '...\n', '%YAML 9.9\n', '\u2028', '😀'],
].map((word) => Buffer.from(word));

/** Places in a text, as shares of its length: they mean something in every text. */
const place = fc.double({ min: 0, max: 1, noNaN: true });
const at = (bytes: Buffer, share: number): number => Math.floor(share * bytes.length);

const inserted = (bytes: Buffer, start: number, end: number, part: Buffer): Buffer =>
  Buffer.concat([bytes.subarray(0, start), part, bytes.subarray(end)]);

const insertion = (parts: readonly Buffer[]): Arbitrary<Mutation> =>
  fc
    .tuple(fc.constantFrom(...parts), place, fc.nat(8))
    .map(([part, share, replaced]) => (bytes) => {
      const start = at(bytes, share);
      return inserted(bytes, start, start + replaced, part);
    });

const truncation: Arbitrary<Mutation> = place.map(
  (share) => (bytes) => bytes.subarray(0, at(bytes, share)),
);

/** A part once more, and once more. */
const repetition = ({ longest }: Limits): Arbitrary<Mutation> =>
  fc.tuple(place, place, fc.integer({ min: 2, max: 5_000 })).map(([from, to, times]) => (bytes) => {
    const [start, end] = [at(bytes, Math.min(from, to)), at(bytes, Math.max(from, to))];
    const part = bytes.subarray(start, end);
    const most = Math.min(times, Math.floor(longest / Math.max(part.length, 1)));
    return inserted(bytes, end, end, Buffer.concat(Array<Buffer>(most).fill(part)));
  });

/** One byte many times: brackets, stars, blanks. */
const run = ({ longest }: Limits): Arbitrary<Mutation> =>
  fc
    .tuple(place, fc.constantFrom(...'([{!*-?&|" \n\t#:,0'), fc.integer({ min: 2, max: longest }))
    .map(([share, byte, times]) => (bytes) => {
      const start = at(bytes, share);
      return inserted(bytes, start, start, Buffer.alloc(times, byte));
    });

const swap: Arbitrary<Mutation> = fc.tuple(place, place).map(([one, other]) => (bytes) => {
  const [start, end] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))];
  return Buffer.concat([bytes.subarray(end), bytes.subarray(start, end), bytes.subarray(0, start)]);
});

/** A text as bytes, half of the time as it is and otherwise with something done to it. */
export const mutated = (text: Arbitrary<string>, limits: Limits): Arbitrary<Buffer> =>
  fc
    .tuple(
      text,
      fc.oneof(
        { arbitrary: fc.constant([]), weight: 1 },
        {
          arbitrary: fc.array(
            fc.oneof(
              { arbitrary: insertion(ODD_BYTES), weight: 2 },
              { arbitrary: insertion(ODD_WORDS), weight: 3 },
              { arbitrary: truncation, weight: 2 },
              { arbitrary: repetition(limits), weight: 1 },
              { arbitrary: run(limits), weight: 1 },
              { arbitrary: swap, weight: 1 },
            ),
            { minLength: 1, maxLength: 3 },
          ),
          weight: 1,
        },
      ),
    )
    .map(([written, mutations]) =>
      mutations.reduce<Buffer>((bytes, mutate) => mutate(bytes), Buffer.from(written)),
    );

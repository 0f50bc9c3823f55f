import { assert, defined } from '../assert.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { type Ascii, ascii, type TraceSeq } from '../trace-seq.ts';
import { entryWriter, ID_SIZE, WORD_SIZE } from './entry-writer.ts';

/**
 * One declaration per event, as HYP_EVENT() is in the kernel: its name, fields and print format.
 * The entry's bytes, the writer, the printer and the text of events/hypervisor/NAME/format all
 * follow from these.
 *
 * An entry is the kernel's packed struct: the event's u16 id, then the fields without gaps.
 */
const SCALARS = {
  u8: { size: 1, signed: false },
  bool: { size: 1, signed: false },
  u16: { size: 2, signed: false },
  int: { size: 4, signed: true },
  pid_t: { size: 4, signed: true },
  'unsigned int': { size: 4, signed: false },
  u64: { size: 8, signed: false },
} as const;

/** A field's type, as C spells it. */
export type Scalar = keyof typeof SCALARS;

/** What a field is written from; above 2^53 it takes a bigint. */
export type FieldValue = number | bigint;

export interface Field {
  readonly name: string;
  readonly type: Scalar;
  /** In bytes from the start of the entry. */
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
}

const MAX_FIELDS = 7;

/** What a field's numbers are called: __print_symbolic() of the kernel. */
export interface Symbolic {
  readonly field: string;
  readonly symbols: readonly string[];
}

/** Formats of which each entry names one, by a field, and that the event's arguments fill. */
export interface FormatsById {
  readonly byId: string;
  readonly formats: readonly string[];
  /** What an entry with the number of no format is printed as. */
  readonly unknown: string;
}

export interface HypEvent {
  readonly name: string;
  /** The entry's size in bytes, whole words: what a writer reserves. */
  readonly size: number;
  readonly fields: readonly Field[];
  /**
   * The kernel's print_fmt: the format in quotes and its arguments, for tools to evaluate.
   * Undefined where each entry names a format, which no tool can evaluate.
   */
  readonly printFmt: string | undefined;
  /** Writes the entry at `at`; one value a field, in the order of the declaration, and 0 for none. */
  write(to: SharedMemory, at: number, id: number, ...values: (FieldValue | undefined)[]): void;
  /** The fields of the entry at `at`, in the order of the declaration. */
  values(from: SharedMemory, at: number): FieldValue[];
  /** Appends the fields of the entry at `at`, as its print format says. */
  print(from: SharedMemory, at: number, to: TraceSeq): void;
}

/**
 * Declares an event. `format` is a printf format with %s, %d, %u, %llu, %x and %llx; `args` are
 * what it prints, by name: fields, or for %s a symbolic field. Of formats by number each prints
 * as many of the arguments as it has conversions.
 */
export function hypEvent(
  name: string,
  types: Readonly<Record<string, Scalar>>,
  format: string | FormatsById,
  ...args: (string | Symbolic)[]
): HypEvent {
  const fields = packed(types);
  assert(fields.length <= MAX_FIELDS, `${name} has at most ${MAX_FIELDS} fields`);
  const last = fields.at(-1);
  const size = Math.ceil((last ? last.offset + last.size : ID_SIZE) / WORD_SIZE) * WORD_SIZE;
  return {
    name,
    size,
    fields,
    printFmt: typeof format === 'string' ? printFmt(format, args) : undefined,
    values: (from, at) => fields.map((field) => getField(from, at + field.offset, field)),
    print: printer(format, args, fields),
    write: entryWriter(size, fields),
  };
}

function printer(
  format: string | FormatsById,
  args: readonly (string | Symbolic)[],
  fields: readonly Field[],
): HypEvent['print'] {
  if (typeof format === 'string') {
    const pieces = compile(format, args, fields);
    return (from, at, to) => printPieces(pieces, from, at, to);
  }
  const formats = format.formats.map((text) =>
    compile(text, args.slice(0, text.match(CONVERSIONS_OF)?.length ?? 0), fields),
  );
  const unknown = compile(format.unknown, [], fields);
  const id = fieldNamed(fields, format.byId);
  return (from, at, to) =>
    printPieces(formats[getLow(from, at + id.offset, id)] ?? unknown, from, at, to);
}

const fieldNamed = (fields: readonly Field[], name: string): Field =>
  defined(
    fields.find((field) => field.name === name),
    `field ${name}`,
  );

function packed(types: Readonly<Record<string, Scalar>>): Field[] {
  let offset = ID_SIZE;
  return Object.entries(types).map(([name, type]) => {
    const field = { name, type, offset, ...SCALARS[type] };
    offset += field.size;
    return field;
  });
}

/** The low 32 bits of a field; those of a signed one with their sign. */
function getLow(from: SharedMemory, at: number, field: Field): number {
  if (field.size === 1) return from.view.getUint8(at);
  if (field.size === 2) return from.view.getUint16(at, true);
  return field.signed ? from.view.getInt32(at, true) : from.view.getUint32(at, true);
}

function getField(from: SharedMemory, at: number, field: Field): FieldValue {
  return field.size === 8 ? from.view.getBigUint64(at, true) : getLow(from, at, field);
}

/**
 * A part of a print format, compiled: some text, and then a field and how to print it. All parts
 * have the same shape, which is what makes it quick to go through them.
 */
interface Piece {
  readonly text: Ascii;
  readonly conversion: Conversion;
  readonly field: Field;
  readonly symbols: readonly Ascii[];
}

/** `none` at the end of a format. */
type Conversion = 'none' | 'string' | 'signed' | 'unsigned' | 'hex';

const CONVERSIONS: Readonly<Record<string, Conversion>> = {
  '%s': 'string',
  '%d': 'signed',
  '%u': 'unsigned',
  '%llu': 'unsigned',
  '%x': 'hex',
  '%llx': 'hex',
};
const NO_FIELD: Field = { name: '', type: 'u8', offset: 0, size: 1, signed: false };

const CONVERSION = /(%(?:ll)?[a-z])/;
const CONVERSIONS_OF = new RegExp(CONVERSION, 'g');

function compile(
  format: string,
  args: readonly (string | Symbolic)[],
  fields: readonly Field[],
): Piece[] {
  const parts = format.split(CONVERSION); // Texts and conversions by turns.
  const conversions = parts.filter((_, index) => index % 2 === 1);
  assert(args.length <= conversions.length, 'every argument is printed');
  const pieces = conversions.map((conversion, index): Piece => {
    const arg = defined(args[index], `an argument for ${conversion}`);
    const { field: name, symbols } = typeof arg === 'string' ? { field: arg, symbols: [] } : arg;
    return {
      text: ascii(defined(parts[2 * index], 'the text before it')),
      conversion: defined(CONVERSIONS[conversion], `conversion ${conversion}`),
      field: fieldNamed(fields, name),
      symbols: symbols.map(ascii),
    };
  });
  const rest = parts.at(-1) ?? '';
  if (rest === '') return pieces;
  return [...pieces, { text: ascii(rest), conversion: 'none', field: NO_FIELD, symbols: [] }];
}

function printPieces(
  pieces: readonly Piece[],
  from: SharedMemory,
  entry: number,
  to: TraceSeq,
): void {
  for (let i = 0; i < pieces.length; i++) {
    const { text, conversion, field, symbols } = pieces[i] as Piece;
    to.put(text);
    if (conversion === 'none') return;
    const at = entry + field.offset;
    const low = getLow(from, at, field);
    const high = field.size === 8 ? from.view.getUint32(at + 4, true) : 0;
    if (conversion === 'string') putSymbol(symbols, low, to);
    else if (conversion === 'signed') to.putSigned(low);
    else if (conversion === 'hex') to.putHex64(high, low);
    else to.putUnsigned64(high, low);
  }
}

/** A number without a name is printed as the kernel's __print_symbolic() does. */
function putSymbol(symbols: readonly Ascii[], value: number, to: TraceSeq): void {
  const symbol = symbols[value];
  if (symbol !== undefined) to.put(symbol);
  else {
    to.put(HEX_PREFIX);
    to.putHex64(0, value);
  }
}

const HEX_PREFIX = ascii('0x');

function printFmt(format: string, args: readonly (string | Symbolic)[]): string {
  const printed = args.map((arg) => {
    if (typeof arg === 'string') return `REC->${arg}`;
    const symbols = arg.symbols.map((symbol, value) => `{ ${value}, "${symbol}" }`);
    return `__print_symbolic(REC->${arg.field}, ${symbols.join(', ')})`;
  });
  return [`"${format}"`, ...printed].join(', ');
}

import { assert } from '../assert.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import type { Field, FieldValue, HypEvent } from './hyp-event.ts';

/** Every entry starts with its event's id, a u16, and ends with a whole word. */
export const ID_SIZE = 2;
export const WORD_SIZE = 4;
const WORD = 2 ** 32;
const BITS = 8;
const WORD_BITS = BITS * WORD_SIZE;
const ID_BITS = BITS * ID_SIZE;

/** What writes the entries of an event: `size` bytes, whole words, with these fields. */
export const entryWriter = (size: number, fields: readonly Field[]): HypEvent['write'] =>
  fitsTwoWords(size, fields) ? wordsWriter(size, fields) : fieldsWriter(size, fields);

function fieldsWriter(size: number, fields: readonly Field[]): HypEvent['write'] {
  return (to, at, id, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0) => {
    to.view.setUint32(at + size - WORD_SIZE, 0, true); // The last field may not reach the last byte.
    to.view.setUint16(at, id, true);
    putField(to, at, fields[0], a);
    putField(to, at, fields[1], b);
    putField(to, at, fields[2], c);
    putField(to, at, fields[3], d);
    putField(to, at, fields[4], e);
    putField(to, at, fields[5], f);
    putField(to, at, fields[6], g);
  };
}

/** As nearly all events that happen: a reason, a flag, a vCPU, two of them at the most. */
const fitsTwoWords = (size: number, fields: readonly Field[]): boolean =>
  size <= 2 * WORD_SIZE && fields.length <= 2 && fields.every((field) => field.size <= WORD_SIZE);

/** Puts the two words together before it writes them, in less than half the time of field by field. */
function wordsWriter(size: number, [first, second]: readonly Field[]): HypEvent['write'] {
  const firstMask = maskOf(first);
  const secondMask = maskOf(second);
  // The second field begins in either word; only in the first one it can reach into the other.
  const shift = BITS * (second?.offset ?? WORD_SIZE);
  const lowMask = shift < WORD_BITS ? secondMask : 0;
  const right = Math.max(WORD_BITS - shift, 0);
  const left = Math.max(shift - WORD_BITS, 0);
  return (to, at, id, a = 0, b = 0) => {
    assert(typeof a === 'number' && typeof b === 'number', 'a field of a word holds no bigint');
    const ofFirst = a & firstMask;
    const ofSecond = b & secondMask;
    to.view.setInt32(at, id | (ofFirst << ID_BITS) | ((b & lowMask) << shift), true);
    if (size === WORD_SIZE) return;
    const high = (ofFirst >>> (WORD_BITS - ID_BITS)) | ((ofSecond >>> right) << left);
    to.view.setInt32(at + WORD_SIZE, high, true);
  };
}

const maskOf = (field: Field | undefined): number =>
  field === undefined ? 0 : field.size === WORD_SIZE ? -1 : (1 << (BITS * field.size)) - 1;

function putField(
  to: SharedMemory,
  entry: number,
  field: Field | undefined,
  value: FieldValue,
): void {
  if (field === undefined) return;
  const at = entry + field.offset;
  if (typeof value === 'bigint') {
    assert(field.size === 8, `${field.name} holds a bigint`);
    to.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    return;
  }
  switch (field.size) {
    case 1:
      to.view.setUint8(at, value);
      break;
    case 2:
      to.view.setUint16(at, value, true);
      break;
    case 4:
      to.view.setUint32(at, value, true);
      break;
    default:
      to.view.setUint32(at, value % WORD, true);
      to.view.setUint32(at + 4, Math.floor(value / WORD), true);
  }
}

import type { Errno } from '../errno.ts';
import { FilterProgram } from './filter-program.ts';
import { matchesGlob } from './glob.ts';
import type { RemoteField } from './trace-remote.ts';

/** What a filter looks at in an event. */
export interface FilteredEvent {
  /** A field's value, the common ones too; CPU is one. */
  number(field: string): bigint;
  /** The name of the task. */
  readonly comm: string;
}

export type Predicate = (event: FilteredEvent) => boolean;

/** Why a filter is refused, and where in its text; the kernel's FILT_ERR_* and their errnos. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  readonly errno: Errno;
  readonly #column: number | undefined;

  /** `column` is undefined where the kernel has no more to say than that the filter is wrong. */
  constructor(message: string, column?: number, errno: Errno = 'EINVAL') {
    super(message);
    this.#column = column;
    this.errno = errno;
  }

  /** The column of the text that a caret points at. */
  caret(text: string): number {
    return Math.min(this.#column ?? 0, text.length);
  }

  /** What the filter's file shows from then on. */
  shown(text: string): string {
    if (this.#column === undefined) return `${text}\nError: (0)\n`;
    return `${text}\n${' '.repeat(this.caret(text))}^\nparse_error: ${this.message}\n`;
  }
}

/** Whether each common field, and the CPU, is signed. */
const COMMON_NUMBERS: readonly (readonly [name: string, signed: boolean])[] = [
  ['common_type', false],
  ['common_flags', false],
  ['common_preempt_count', false],
  ['common_pid', true],
  ['CPU', true],
  ['cpu', true],
];
const COMM = ['COMM', 'comm'];

/** Longest first, so that "<=" is not read as "<". */
const OPERATORS = ['==', '!=', '<=', '>=', '<', '>', '&', '~'] as const;
type Operator = (typeof OPERATORS)[number];

const COMPARISONS: Readonly<Record<Operator, (value: bigint, operand: bigint) => boolean>> = {
  '==': (value, operand) => value === operand,
  '!=': (value, operand) => value !== operand,
  '<=': (value, operand) => value <= operand,
  '>=': (value, operand) => value >= operand,
  '<': (value, operand) => value < operand,
  '>': (value, operand) => value > operand,
  '&': (value, operand) => (value & operand) !== 0n,
  '~': () => false,
};

/** The kernel copies an operand to a buffer of this size, with a NUL behind a number. */
const MAX_NUMBER_LENGTH = 23;
const MAX_STRING_LENGTH = 255;

/**
 * Reads an event filter: comparisons of fields, `&&`, `||`, `!` and parentheses, as
 * Documentation/trace/events.rst has them. It takes neither recursion to read nor to evaluate.
 *
 * @throws FilterError as a 6.18 kernel refuses it. That one takes some filters that end in `&&` or
 *   `||`, which newer kernels and this function refuse.
 */
export function parseFilter(text: string, fields: readonly RemoteField[]): Predicate {
  return new FilterParser(text, fields).parse();
}

class FilterParser {
  readonly #text: string;
  /** By name, whether the field is signed. */
  readonly #numbers: ReadonlyMap<string, boolean>;
  readonly #program = new FilterProgram<FilteredEvent>();
  #at = 0;

  constructor(text: string, fields: readonly RemoteField[]) {
    this.#text = text;
    const own = fields.map(({ name, signed }) => [name, signed] as const);
    this.#numbers = new Map([...COMMON_NUMBERS, ...own]);
  }

  /** Reads one comparison in each turn of the loop, with what stands before and after it. */
  parse(): Predicate {
    checkNesting(this.#text);
    do {
      this.#openings();
      this.#program.term(this.#comparison());
      this.#closings();
    } while (this.#operator());
    return this.#program.end();
  }

  #openings(): void {
    for (;;) {
      if (this.#skip('(')) this.#program.open();
      else if (this.#skip('!')) this.#program.not();
      else return;
    }
  }

  #closings(): void {
    while (this.#skip(')')) this.#program.close();
  }

  /** False at the end of the text. */
  #operator(): boolean {
    if (this.#next() === '') return false;
    if (this.#skip('&&')) this.#program.and();
    else if (this.#skip('||')) this.#program.or();
    else throw new FilterError('Too many terms in predicate expression', this.#at, 'EPERM');
    return true;
  }

  #comparison(): Predicate {
    if (this.#next() === '') throw this.#missing();
    const field = this.#match(/\w*/y);
    if (field === '') throw new FilterError('Error', undefined, 'EPERM');
    const isSigned = this.#numbers.get(field);
    if (isSigned === undefined && !COMM.includes(field)) throw this.#error('Field not found');
    this.#next();
    const operator = OPERATORS.find((each) => this.#text.startsWith(each, this.#at));
    if (operator === undefined) throw this.#error('Invalid operator');
    this.#at += operator.length;
    const first = this.#next();
    if (first === '"' || first === "'") return this.#stringComparison(isSigned, operator, first);
    return this.#numberComparison(field, isSigned, operator);
  }

  #numberComparison(field: string, isSigned: boolean | undefined, operator: Operator): Predicate {
    const start = this.#at;
    const word = this.#match(/(?:-|\d)[\da-z]*/iy);
    if (word === '') throw this.#error('Invalid value (did you forget quotes)?', start);
    if (isSigned === undefined) throw this.#error('Expecting string field', start);
    if (operator === '~') throw this.#error('Illegal operation for field type', start);
    if (word.length > MAX_NUMBER_LENGTH) throw this.#error('Operand too long');
    const operand = parseInteger(word, isSigned);
    if (operand === undefined) throw this.#error('Illegal integer value', start);
    const compare = COMPARISONS[operator];
    return (event) => compare(event.number(field), operand);
  }

  #stringComparison(isSigned: boolean | undefined, operator: Operator, quote: string): Predicate {
    const start = this.#at;
    const end = this.#text.indexOf(quote, start + 1);
    if (operator !== '==' && operator !== '!=' && operator !== '~')
      throw this.#error('Illegal operation for field type', start);
    if (isSigned !== undefined) throw this.#error('Expecting numeric field', start);
    const operand = this.#text.slice(start + 1, end);
    if (operand.length > MAX_STRING_LENGTH) throw this.#error('Operand too long', end);
    this.#at = end + 1;
    if (operator === '~') return (event) => matchesGlob(event.comm, operand);
    const wanted = operator === '==';
    return (event) => (event.comm === operand) === wanted;
  }

  /** The text ends in place of a comparison. */
  #missing(): FilterError {
    return this.#program.isEmpty ? this.#error('No filter found') : new FilterError('Error');
  }

  /** The kernel points one column behind what it complains of. */
  #error(message: string, at = this.#at): FilterError {
    return new FilterError(message, at + 1);
  }

  /** The next character that is no blank; '' at the end. */
  #next(): string {
    while (/\s/.test(this.#text.charAt(this.#at))) this.#at++;
    return this.#text.charAt(this.#at);
  }

  #skip(token: string): boolean {
    this.#next();
    const isThere = this.#text.startsWith(token, this.#at);
    if (isThere) this.#at += token.length;
    return isThere;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [match = ''] = pattern.exec(this.#text) ?? [];
    this.#at += match.length;
    return match;
  }
}

/** Looks for what the kernel looks for first: each quote and parenthesis has its other half. */
function checkNesting(text: string): void {
  const open: number[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '(') open.push(at);
    if (char === ')' && open.pop() === undefined) throw new FilterError("Too few '('", at, 'EPERM');
    if (char !== '"' && char !== "'") continue;
    const end = text.indexOf(char, at + 1);
    if (end === -1) throw new FilterError('Missing matching quote', at, 'ESRCH');
    at = end;
  }
  const last = open.pop();
  if (last !== undefined) throw new FilterError("Too many '('", last, 'ENOENT');
  if (/^[\s()]*$/.test(text)) throw new FilterError('Error');
}

const INTEGER = /^(-?)(?:0x([\da-f]+)|(0[0-7]*)|([1-9]\d*))$/i;
const BITS = 64;

/** kstrtoll() or kstrtoull() of base 0; undefined for what they refuse. */
function parseInteger(word: string, isSigned: boolean): bigint | undefined {
  const [match, sign, hex, octal, decimal = ''] = INTEGER.exec(word) ?? [];
  if (match === undefined) return undefined;
  const size = BigInt(hex ? `0x${hex}` : octal ? `0o${octal}` : decimal);
  const value = sign === '-' ? -size : size;
  if (isSigned) return BigInt.asIntN(BITS, value) === value ? value : undefined;
  return sign === '' && BigInt.asUintN(BITS, value) === value ? value : undefined;
}

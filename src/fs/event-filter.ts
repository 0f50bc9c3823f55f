import type { Errno } from '../errno.ts';
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
  /** Undefined where the kernel has no more to say than that it is wrong. */
  readonly position: number | undefined;

  constructor(message: string, position?: number, errno: Errno = 'EINVAL') {
    super(message);
    this.position = position;
    this.errno = errno;
  }

  /** Where in the text a caret points at it. */
  caret(text: string): number {
    return this.position === undefined ? 0 : Math.min(this.position + 1, text.length);
  }

  /** What the filter's file shows from then on. */
  shown(text: string): string {
    if (this.position === undefined) return `${text}\nError: (0)\n`;
    return `${text}\n${' '.repeat(this.caret(text))}^\nparse_error: ${this.message}\n`;
  }
}

const COMMON_NUMBERS = ['common_type', 'common_flags', 'common_preempt_count', 'common_pid'];
const CPU = ['CPU', 'cpu'];
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

const S64_MIN = -(2n ** 63n);
const U64_MAX = 2n ** 64n - 1n;

/**
 * Reads an event filter: comparisons of fields, `&&`, `||`, `!` and parentheses, as
 * Documentation/trace/events.rst has them.
 *
 * @throws FilterError as a 6.18 kernel refuses it.
 */
export function parseFilter(text: string, fields: readonly RemoteField[]): Predicate {
  if (text === '') throw new FilterError('Error');
  return new FilterParser(text, fields).parse();
}

class FilterParser {
  readonly #text: string;
  readonly #numbers: ReadonlySet<string>;
  #at = 0;
  #open: number[] = [];

  constructor(text: string, fields: readonly RemoteField[]) {
    this.#text = text;
    this.#numbers = new Set([...COMMON_NUMBERS, ...CPU, ...fields.map(({ name }) => name)]);
  }

  parse(): Predicate {
    const predicate = this.#alternatives();
    if (this.#next() === ')') throw new FilterError("Too few '('", this.#at - 1, 'EPERM');
    if (this.#at < this.#text.length) this.#tooManyTerms();
    return predicate;
  }

  #alternatives(): Predicate {
    const all = [this.#conjunction()];
    while (this.#skip('||')) if (this.#next() !== '') all.push(this.#conjunction());
    return (event) => all.some((each) => each(event));
  }

  #conjunction(): Predicate {
    const all = [this.#term()];
    while (this.#skip('&&')) if (this.#next() !== '') all.push(this.#term());
    return (event) => all.every((each) => each(event));
  }

  #term(): Predicate {
    const start = this.#next();
    if (start === '!' && this.#skip('!')) {
      if (this.#next() === '') throw new FilterError('No filter found', this.#at);
      const term = this.#term();
      return (event) => !term(event);
    }
    if (start === '(') return this.#parenthesised();
    if (start === '&' || start === '|') throw new FilterError('Error', undefined, 'EPERM');
    return this.#predicate();
  }

  #parenthesised(): Predicate {
    this.#open.push(this.#at++);
    if (this.#next() === ')')
      throw new FilterError('Error', undefined, this.#at > 1 ? 'EPERM' : 'EINVAL');
    const inner = this.#alternatives();
    const opened = this.#open.pop() ?? 0;
    if (this.#skip(')')) return inner;
    if (this.#next() === '') throw new FilterError("Too many '('", opened - 1, 'ENOENT');
    return this.#tooManyTerms();
  }

  #predicate(): Predicate {
    const field = this.#match(/\w*/y);
    const isNumber = this.#numbers.has(field);
    if (!isNumber && !COMM.includes(field)) throw new FilterError('Field not found', this.#at);
    this.#next();
    const operator = OPERATORS.find((each) => this.#text.startsWith(each, this.#at));
    if (operator === undefined) throw new FilterError('Invalid operator', this.#at);
    this.#at += operator.length;
    const first = this.#next();
    const isString = first === '"' || first === "'";
    if (isString) return this.#stringPredicate(isNumber, operator, first);
    return this.#numberPredicate(field, isNumber, operator);
  }

  #numberPredicate(field: string, isNumber: boolean, operator: Operator): Predicate {
    const start = this.#at;
    const digits = this.#match(/-?(?:0x[\da-f]+|\d+)/iy);
    if (digits === '') throw new FilterError('Invalid value (did you forget quotes)?', start);
    if (!isNumber) throw new FilterError('Expecting string field', start);
    if (operator === '~') throw new FilterError('Illegal operation for field type', start);
    const isNegative = digits.startsWith('-');
    const size = BigInt(isNegative ? digits.slice(1) : digits);
    const operand = isNegative ? -size : size;
    if (operand < S64_MIN || operand > U64_MAX)
      throw new FilterError('Illegal integer value', start);
    const compare = COMPARISONS[operator];
    return (event) => compare(event.number(field), operand);
  }

  #stringPredicate(isNumber: boolean, operator: Operator, quote: string): Predicate {
    const start = this.#at;
    const end = this.#text.indexOf(quote, start + 1);
    if (end === -1) throw new FilterError('Missing matching quote', start - 1, 'ESRCH');
    if (isNumber) throw new FilterError('Expecting numeric field', start);
    const operand = this.#text.slice(start + 1, end);
    this.#at = end + 1;
    if (operator === '==') return (event) => event.comm === operand;
    if (operator === '!=') return (event) => event.comm !== operand;
    if (operator !== '~') throw new FilterError('Illegal operation for field type', start);
    const glob = globRegExp(operand);
    return (event) => glob.test(event.comm);
  }

  #tooManyTerms(): never {
    const message = 'Too many terms in predicate expression';
    throw new FilterError(message, this.#at - 1, 'EPERM');
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

/** `*` and `?`, the whole name. */
function globRegExp(glob: string): RegExp {
  const pattern = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${pattern}$`, 's');
}

import {
  type Document,
  isNode,
  Lexer,
  LineCounter,
  parseDocument,
  type YAMLParseError,
} from 'yaml';
import { ScenarioError } from './scenario-error.ts';
import { checkExtent } from './yaml-extent.ts';

/** Reading a file costs some 10 µs for each of its tokens: no more of them than others can wait for. */
const MAX_TOKENS = 20_000;

/** The text of a scenario file as a YAML document of a bounded extent. */
export class ScenarioYaml {
  readonly #file: string;
  readonly #lines = new LineCounter();
  readonly #document: Document;

  /** @throws ScenarioError that says in which line it is no such document. */
  constructor(text: string, file: string) {
    this.#file = file;
    this.#assertFewTokens(text);
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      logLevel: 'error', // A warning would be printed.
    });
    const [error] = this.#document.errors;
    if (error) throw this.#error(error.pos[0], messageOf(error));
    const problem = checkExtent(this.#document.contents);
    if (problem) throw this.#error(problem.offset, problem.message);
  }

  toJS(): unknown {
    return this.#document.toJS({ maxAliasCount: -1 }); // Their extent has been checked.
  }

  /** What is wrong with the value at a path, or with the nearest that should have it. */
  errorAt(path: readonly PropertyKey[], message: string): ScenarioError {
    const where = path.length === 0 ? '' : `${path.map(String).join('.')}: `;
    return this.#error(this.#startOf(path), `${where}${message}`);
  }

  /** The lexer alone is quick, and stops here. */
  #assertFewTokens(text: string): void {
    let tokens = 0;
    for (const _ of new Lexer().lex(text))
      if (++tokens > MAX_TOKENS)
        throw this.#error(0, `expected at most ${MAX_TOKENS} tokens of YAML`);
  }

  #startOf(path: readonly PropertyKey[]): number {
    for (let length = path.length; length > 0; length--) {
      const node = this.#document.getIn(path.slice(0, length), true);
      if (isNode(node) && node.range) return node.range[0];
    }
    return 0;
  }

  #error(offset: number, message: string): ScenarioError {
    const line = Math.max(this.#lines.linePos(offset).line, 1);
    return new ScenarioError(`${this.#file}:${line}: ${message}`);
  }
}

const messageOf = ({ code, message }: YAMLParseError): string =>
  // What was exhausted is the stack, which the nodes of a file recur on.
  code === 'RESOURCE_EXHAUSTION' ? 'expected lists and maps that do not nest so deep' : message;

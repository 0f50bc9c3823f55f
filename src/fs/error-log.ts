import { TraceSeq } from '../trace-seq.ts';
import { printTime } from './trace-output.ts';

/** How many errors the kernel keeps: TRACING_LOG_ERRS_MAX. */
const KEPT = 8;
const TIME_SIZE = 32;

/** What was refused lately, and why: the text of error_log. */
export class ErrorLog {
  readonly #now: () => number;
  #errors: string[] = [];

  /** `now` is the time in ns. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** `position` is that in the command, from 0, where it is wrong. */
  add(source: string, error: string, command: string, position: number): void {
    const time = new TraceSeq(TIME_SIZE);
    printTime(this.#now(), time);
    const stamp = Buffer.from(time.bytes.subarray(0, time.length)).toString('latin1');
    const prefix = '  Command: ';
    const caret = `${' '.repeat(prefix.length + position)}^`;
    this.#errors.push(`[${stamp}] ${source}: error: ${error}\n${prefix}${command}\n${caret}\n`);
    this.#errors = this.#errors.slice(-KEPT);
  }

  clear(): void {
    this.#errors = [];
  }

  toString(): string {
    return this.#errors.join('');
  }
}

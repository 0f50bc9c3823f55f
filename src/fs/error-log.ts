import { timeText } from './trace-output.ts';

/** How many errors the kernel keeps: TRACING_LOG_ERRS_MAX. */
const KEPT = 8;

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
    const stamp = timeText(this.#now());
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

import { type Ascii, ascii, type TraceSeq } from '../trace-seq.ts';
import type { InstanceEvents } from './instance-events.ts';
import type { TraceOptions } from './trace-options.ts';
import {
  EventPrinter,
  type LineOutput,
  type PeekedEvent,
  printLost,
  printTime,
} from './trace-output.ts';
import type { RemoteEvent } from './trace-remote.ts';

const TASK_WIDTH = 16;
const PID_WIDTH = 7;
const CPU_DIGITS = 3;
/** No latency flags: events of EL2 know nothing of the host's interrupts. */
const FLAGS = ascii('..... ');
const CPU_END = ascii('] ');
const COLON = ascii(': ');

/**
 * Prints events as the kernel's own trace files show them, "TASK-PID [CPU] ..... TIME: event: …";
 * nothing of one that does not pass.
 */
export class InstanceOutput implements LineOutput {
  readonly #view: InstanceEvents;
  readonly #options: TraceOptions;
  readonly #printer: EventPrinter;
  /** How a task's lines begin, by its pid: as many as there were vCPUs. */
  readonly #tasks = new Map<number, Ascii>();

  constructor(view: InstanceEvents, options: TraceOptions, events: readonly RemoteEvent[]) {
    this.#view = view;
    this.#options = options;
    this.#printer = new EventPrinter(events, ({ name }) => `${name}: `, 'Unknown type ');
  }

  print(reader: PeekedEvent, to: TraceSeq): boolean {
    if (!this.#view.passes(reader)) return true;
    const start = to.length;
    if (reader.lostEvents !== 0) printLost(reader, to);
    this.#printLine(reader, to);
    const fits = !to.overflowed;
    if (!fits) to.truncate(start);
    return fits;
  }

  #printLine(reader: PeekedEvent, to: TraceSeq): void {
    if (this.#options.isOn('context-info')) this.#printContext(reader, to);
    const known = this.#printer.known(reader);
    if (known !== undefined) to.put(known);
    else this.#printer.print(reader, to);
  }

  #printContext(reader: PeekedEvent, to: TraceSeq): void {
    to.put(this.#task(this.#view.pidOf(reader)));
    to.putZeroPadded(reader.cpu, CPU_DIGITS);
    to.put(CPU_END);
    if (this.#options.isOn('irq-info')) to.put(FLAGS);
    printTime(reader.ts, to);
    to.put(COLON);
  }

  #task(pid: number): Ascii {
    let text = this.#tasks.get(pid);
    if (text === undefined) {
      const name = this.#view.nameOf(pid).padStart(TASK_WIDTH);
      text = ascii(`${name}-${`${pid}`.padEnd(PID_WIDTH)} [`);
      this.#tasks.set(pid, text);
    }
    return text;
  }
}

/** How many events `trace` shows, and how many there were; of how many CPUs. */
export interface TraceCounts {
  readonly entries: number;
  readonly written: number;
  readonly cpus: number;
}

/** What the kernel's trace starts with. */
export function traceHeader(counts: TraceCounts, options: TraceOptions): string {
  const { entries, written, cpus } = counts;
  const tracer = '# tracer: nop\n#\n';
  if (!options.isOn('context-info')) return tracer;
  const total = `# entries-in-buffer/entries-written: ${entries}/${written}   #P:${cpus}\n#\n`;
  return `${tracer}${total}${options.isOn('irq-info') ? COLUMNS : COLUMNS_WITHOUT_FLAGS}`;
}

const COLUMNS = `\
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

const COLUMNS_WITHOUT_FLAGS = `\
#           TASK-PID     CPU#     TIMESTAMP  FUNCTION
#              | |         |         |         |
`;

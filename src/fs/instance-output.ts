import { entryIdAt } from '../ringbuffer/remote-reader.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import type { TraceSeq } from '../trace-seq.ts';
import type { InstanceEvents } from './instance-events.ts';
import { type LineOutput, type PeekedEvent, printLost, printTime } from './trace-output.ts';
import type { RemoteEvent } from './trace-remote.ts';

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

const TASK_WIDTH = 16;
const PID_WIDTH = 7;
const CPU_DIGITS = 3;
/** No latency flags: events of EL2 know nothing of the host's interrupts. */
const FLAGS = ascii('] ..... ');
const COLON = ascii(': ');
const NEWLINE = ascii('\n');
const UNKNOWN = ascii('Unknown type ');

/** Prints events as the kernel's own trace files show them: "TASK-PID [CPU] ..... TIME: event: …". */
export class InstanceOutput implements LineOutput {
  readonly #view: InstanceEvents;
  readonly #events: ReadonlyMap<number, { name: Uint8Array; event: RemoteEvent }>;

  constructor(view: InstanceEvents, events: readonly RemoteEvent[]) {
    this.#view = view;
    this.#events = new Map(events.map((event) => [event.id, { name: ascii(event.name), event }]));
  }

  print(reader: PeekedEvent, memory: SharedMemory, to: TraceSeq): boolean {
    const start = to.length;
    if (reader.lostEvents > 0) printLost(reader, to);
    if (this.#view.passes(reader, memory)) this.#printLine(reader, memory, to);
    const fits = !to.overflowed;
    if (!fits) to.truncate(start);
    return fits;
  }

  #printLine(reader: PeekedEvent, memory: SharedMemory, to: TraceSeq): void {
    const pid = this.#view.pidOf(reader, memory);
    to.put(ascii(`${this.#view.nameOf(pid).padStart(TASK_WIDTH)}-${`${pid}`.padEnd(PID_WIDTH)} [`));
    to.putZeroPadded(reader.cpu, CPU_DIGITS);
    to.put(FLAGS);
    printTime(reader.ts, to);
    to.put(COLON);
    this.#printEvent(memory, reader.payload, to);
    to.put(NEWLINE);
  }

  #printEvent(memory: SharedMemory, at: number, to: TraceSeq): void {
    const id = entryIdAt(memory, at);
    const known = this.#events.get(id);
    if (known === undefined) {
      to.put(UNKNOWN);
      to.putUnsigned(id);
      return;
    }
    to.put(known.name);
    to.put(COLON);
    known.event.print(memory, at, to);
  }
}

/** What the kernel's trace starts with. */
export const traceHeader = (entries: number, written: number, cpus: number): string => `\
# tracer: nop
#
# entries-in-buffer/entries-written: ${entries}/${written}   #P:${cpus}
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

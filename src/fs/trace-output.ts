import { entryIdAt, type RemoteReader } from '../ringbuffer/remote-reader.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import type { TraceSeq } from '../trace-seq.ts';
import { NS_PER_S, NS_PER_US } from '../units.ts';
import type { RemoteEvent } from './trace-remote.ts';

export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

const CPU = ascii('CPU:');
const LOST = ascii(' [LOST ');
const EVENTS = ascii(' EVENTS]\n');
const OPEN = ascii('[');
const CLOSE = ascii(']\t');
const POINT = ascii('.');
const COLON = ascii(': ');
const NEWLINE = ascii('\n');

const CPU_DIGITS = 3;
const SECONDS_WIDTH = 5;
const US_DIGITS = 6;

/** Makes a line of an event. */
export interface LineOutput {
  /**
   * Appends the reader's peeked event, and before it how many were lost. False, and nothing
   * appended, when it does not fit as a whole.
   */
  print(reader: PeekedEvent, memory: SharedMemory, to: TraceSeq): boolean;
}

/** What a line is made of. */
export type PeekedEvent = Pick<RemoteReader, 'cpu' | 'ts' | 'lostEvents' | 'payload'>;

/** Prints an event's name and fields, by the id that its entry begins with. */
export class EventPrinter {
  readonly #events: ReadonlyMap<number, { name: Uint8Array; event: RemoteEvent }>;
  readonly #separator: Uint8Array;
  readonly #unknown: Uint8Array;

  /** `separator` stands between name and fields, `unknown` before the id of no event. */
  constructor(events: readonly RemoteEvent[], separator: string, unknown: string) {
    this.#events = new Map(events.map((event) => [event.id, { name: ascii(event.name), event }]));
    this.#separator = ascii(separator);
    this.#unknown = ascii(unknown);
  }

  print(memory: SharedMemory, at: number, to: TraceSeq): void {
    const id = entryIdAt(memory, at);
    const known = this.#events.get(id);
    if (known === undefined) {
      to.put(this.#unknown);
      to.putUnsigned(id);
      return;
    }
    to.put(known.name);
    to.put(this.#separator);
    known.event.print(memory, at, to);
  }
}

/** Prints events as hypervisor/trace_pipe shows them, one line each. */
export class TraceOutput implements LineOutput {
  readonly #printer: EventPrinter;

  constructor(events: readonly RemoteEvent[]) {
    this.#printer = new EventPrinter(events, ' ', 'Unknown event id ');
  }

  print(reader: PeekedEvent, memory: SharedMemory, to: TraceSeq): boolean {
    const start = to.length;
    if (reader.lostEvents > 0) printLost(reader, to);
    to.put(OPEN);
    to.putZeroPadded(reader.cpu, CPU_DIGITS);
    to.put(CLOSE);
    printTime(reader.ts, to);
    to.put(COLON);
    this.#printer.print(memory, reader.payload, to);
    to.put(NEWLINE);
    if (to.overflowed) to.truncate(start);
    return to.length > start;
  }
}

export function printLost(reader: PeekedEvent, to: TraceSeq): void {
  to.put(CPU);
  to.putUnsigned(reader.cpu);
  to.put(LOST);
  to.putUnsigned(reader.lostEvents);
  to.put(EVENTS);
}

/** Seconds and microseconds of a time in ns, the rest cut off: "%5lu.%06lu". */
export function printTime(ns: number, to: TraceSeq): void {
  const seconds = Math.floor(ns / NS_PER_S);
  to.putUnsigned(seconds, SECONDS_WIDTH);
  to.put(POINT);
  to.putZeroPadded(Math.floor((ns - seconds * NS_PER_S) / NS_PER_US), US_DIGITS);
}

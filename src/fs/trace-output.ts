import { entryIdAt, type RemoteReader } from '../ringbuffer/remote-reader.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import type { TraceSeq } from '../trace-seq.ts';
import { NS_PER_S, NS_PER_US } from '../units.ts';
import type { RemoteEvent } from './trace-remote.ts';

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

const CPU = ascii('CPU:');
const LOST = ascii(' [LOST ');
const EVENTS = ascii(' EVENTS]\n');
const OPEN = ascii('[');
const CLOSE = ascii(']\t');
const POINT = ascii('.');
const COLON = ascii(': ');
const SPACE = ascii(' ');
const NEWLINE = ascii('\n');
const UNKNOWN = ascii('Unknown event id ');

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

/** Prints events as hypervisor/trace_pipe shows them, one line each. */
export class TraceOutput implements LineOutput {
  readonly #events: ReadonlyMap<number, { name: Uint8Array; event: RemoteEvent }>;

  constructor(events: readonly RemoteEvent[]) {
    this.#events = new Map(events.map((event) => [event.id, { name: ascii(event.name), event }]));
  }

  print(reader: PeekedEvent, memory: SharedMemory, to: TraceSeq): boolean {
    const start = to.length;
    if (reader.lostEvents > 0) printLost(reader, to);
    to.put(OPEN);
    to.putZeroPadded(reader.cpu, CPU_DIGITS);
    to.put(CLOSE);
    printTime(reader.ts, to);
    to.put(COLON);
    this.#printEvent(memory, reader.payload, to);
    to.put(NEWLINE);
    if (to.overflowed) to.truncate(start);
    return to.length > start;
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
    to.put(SPACE);
    known.event.print(memory, at, to);
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

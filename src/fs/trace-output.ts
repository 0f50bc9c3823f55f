import { entryId, type RemoteReader } from '../ringbuffer/remote-reader.ts';
import { type Ascii, ascii, GROUP, GROUP_DIGITS, TraceSeq } from '../trace-seq.ts';
import { NS_PER_S, NS_PER_US } from '../units.ts';
import type { RemoteEvent } from './trace-remote.ts';

const CPU = ascii('CPU:');
const LOST = ascii(' [LOST');
const SPACE = ascii(' ');
const EVENTS = ascii(' EVENTS]\n');
const POINT = ascii('.');
const NEWLINE = ascii('\n');

const CPU_DIGITS = 3;
const SECONDS_WIDTH = 5;
const US_DIGITS = 6;
const WORD_SIZE = 4;
/** In the first word of an entry. */
const ID_MASK = 0xffff;
/** More than a time takes. */
const TIME_SIZE = 32;

/** Makes a line of an event. */
export interface LineOutput {
  /**
   * Appends the reader's peeked event, and before it how many were lost. False, and nothing
   * appended, when it does not fit as a whole.
   */
  print(reader: PeekedEvent, to: TraceSeq): boolean;
}

/** What a line is made of. */
export type PeekedEvent = Pick<RemoteReader, 'cpu' | 'ts' | 'lostEvents' | 'memory' | 'payload'>;

interface Printed {
  readonly name: Ascii;
  readonly event: RemoteEvent;
  /** Undefined for events whose entries do not repeat. */
  readonly memo: LineMemo | undefined;
}

/** Prints an event's name and fields, by the id that its entry begins with, and ends the line. */
export class EventPrinter {
  /** From the lowest id on. */
  readonly #events: readonly (Printed | undefined)[];
  readonly #firstId: number;
  readonly #unknown: Ascii;

  /** `name` is what stands before an event's fields, `unknown` before the id of no event. */
  constructor(
    events: readonly RemoteEvent[],
    name: (event: RemoteEvent) => string,
    unknown: string,
  ) {
    const ids = events.map(({ id }) => id);
    this.#firstId = Math.min(...ids);
    const printed: Printed[] = [];
    for (const event of events)
      printed[event.id - this.#firstId] = {
        name: ascii(name(event)),
        event,
        memo: LineMemo.of(event),
      };
    this.#events = printed;
    this.#unknown = ascii(unknown);
  }

  /** The text of an entry that was printed before. Undefined if it is not kept; then print it. */
  known({ memory, payload }: PeekedEvent): Ascii | undefined {
    const first = memory.own(payload);
    const memo = this.#events[(first & ID_MASK) - this.#firstId]?.memo;
    if (memo === undefined) return undefined;
    return memo.find(first, memo.hasSecond ? memory.own(payload + WORD_SIZE) : 0);
  }

  print(event: PeekedEvent, to: TraceSeq): void {
    const id = entryId(event);
    const printed = this.#events[id - this.#firstId];
    if (printed === undefined) {
      to.put(this.#unknown);
      to.putUnsigned(id);
      to.put(NEWLINE);
      return;
    }
    const start = to.length;
    to.put(printed.name);
    printed.event.print(event.memory, event.payload, to);
    to.put(NEWLINE);
    if (!to.overflowed) printed.memo?.keep(to.since(start));
  }
}

const MEMO_SLOTS = 64;

/**
 * The texts of an event's entries that were printed lately, by the words of the entry, whose last
 * bytes are zero. To put one in again takes a third of what it takes to print it.
 */
class LineMemo {
  /** Entries of up to two words have a reason, a flag, a number of few: most were there before. */
  static of({ fields }: RemoteEvent): LineMemo | undefined {
    const size = Math.max(0, ...fields.map((field) => field.offset + field.size));
    return size > 2 * WORD_SIZE ? undefined : new LineMemo(size > WORD_SIZE);
  }

  readonly hasSecond: boolean;
  readonly #first = new Int32Array(MEMO_SLOTS);
  readonly #second = new Int32Array(MEMO_SLOTS);
  readonly #texts: (Ascii | undefined)[] = new Array(MEMO_SLOTS).fill(undefined);
  #slot = 0;

  private constructor(hasSecond: boolean) {
    this.hasSecond = hasSecond;
  }

  /** Undefined if it is not there; then the next `keep` is of the same entry. */
  find(first: number, second: number): Ascii | undefined {
    const slot = ((first >>> 16) ^ second ^ (second >>> 7)) & (MEMO_SLOTS - 1);
    if (this.#first[slot] === first && this.#second[slot] === second) return this.#texts[slot];
    this.#slot = slot;
    this.#first[slot] = first;
    this.#second[slot] = second;
    this.#texts[slot] = undefined;
    return undefined;
  }

  keep(text: Ascii): void {
    this.#texts[this.#slot] = text;
  }
}

/** How a CPU's lines begin as long as only the last four digits of the time change: from `us` on. */
interface Beginning {
  readonly us: number;
  readonly text: Ascii;
}
const NO_BEGINNING: Beginning = { us: Number.NaN, text: ascii('') };

/** Prints events as hypervisor/trace_pipe shows them, one line each. */
export class TraceOutput implements LineOutput {
  readonly #printer: EventPrinter;
  /** Each CPU's: hundreds of lines in a row have it in common. */
  readonly #beginnings: Beginning[] = [];

  constructor(events: readonly RemoteEvent[]) {
    this.#printer = new EventPrinter(events, ({ name }) => `: ${name} `, ': Unknown event id ');
  }

  print(reader: PeekedEvent, to: TraceSeq): boolean {
    const start = to.length;
    if (reader.lostEvents > 0) printLost(reader, to);
    const us = Math.floor(reader.ts / NS_PER_US);
    const beginning = this.#beginningAt(reader.cpu, us);
    const known = this.#printer.known(reader);
    if (known !== undefined) to.putAround(beginning.text, us - beginning.us, known);
    else {
      to.put(beginning.text);
      to.putGroup(us - beginning.us);
      this.#printer.print(reader, to);
    }
    if (to.overflowed) to.truncate(start);
    return to.length > start;
  }

  #beginningAt(cpu: number, us: number): Beginning {
    const last = this.#beginnings[cpu] ?? NO_BEGINNING;
    if (us >= last.us && us < last.us + GROUP) return last;

    const centiseconds = Math.floor(us / GROUP);
    const seconds = Math.floor(centiseconds / 100);
    const digits = `${seconds}`.padStart(SECONDS_WIDTH);
    const rest = `${centiseconds % 100}`.padStart(US_DIGITS - GROUP_DIGITS, '0');
    const text = ascii(`[${`${cpu}`.padStart(CPU_DIGITS, '0')}]\t${digits}.${rest}`);
    const beginning = { us: centiseconds * GROUP, text };
    this.#beginnings[cpu] = beginning;
    return beginning;
  }
}

/** Says how many events were lost, or only that some were, where that is below zero. */
export function printLost(reader: PeekedEvent, to: TraceSeq): void {
  to.put(CPU);
  to.putUnsigned(reader.cpu);
  to.put(LOST);
  if (reader.lostEvents > 0) {
    to.put(SPACE);
    to.putUnsigned(reader.lostEvents);
  }
  to.put(EVENTS);
}

/** Seconds and microseconds of a time in ns, the rest cut off: "%5lu.%06lu". */
export function printTime(ns: number, to: TraceSeq): void {
  const seconds = Math.floor(ns / NS_PER_S);
  to.putUnsigned(seconds, SECONDS_WIDTH);
  to.put(POINT);
  to.putZeroPadded(Math.floor((ns - seconds * NS_PER_S) / NS_PER_US), US_DIGITS);
}

/** The same as a string. */
export function timeText(ns: number): string {
  const text = new TraceSeq(TIME_SIZE);
  printTime(ns, text);
  return Buffer.from(text.bytes.subarray(0, text.length)).toString('latin1');
}

import { HYP_EVENTS, hypEnter, hypEventId, hypExit } from '../../src/hypervisor-sim/hyp-events.ts';
import { Merge } from '../../src/ringbuffer/merge.ts';
import type { RemoteBuffer } from '../../src/ringbuffer/remote-buffer.ts';
import { entryId, type RemoteReader } from '../../src/ringbuffer/remote-reader.ts';
import { TASK } from './ring.ts';

const ENTER = hypEventId(HYP_EVENTS.indexOf(hypEnter));
const EXIT = hypEventId(HYP_EVENTS.indexOf(hypExit));

/** Reads a buffer, and checks event by event what each CPU's trace must be like. */
export class TraceChecker {
  readonly #last = new Map<number, { ts: number; inside: boolean | undefined }>();
  readonly #enteredAt = new Map<number, number>();
  /** The shortest time from a hyp_enter to the hyp_exit after it. */
  shortestVisitNs = Number.POSITIVE_INFINITY;
  read = 0;
  lost = 0;
  /** How many there were of each event, by its name. */
  readonly events = new Map<string, number>();

  drain(buffer: RemoteBuffer): void {
    buffer.poll();
    const merge = new Merge(buffer.readers, TASK);
    for (let next = merge.oldest; next; next = merge.oldest) {
      this.#take(next, entryId(next));
      merge.consume();
    }
  }

  #take(reader: RemoteReader, id: number): void {
    const { cpu, ts, lostEvents } = reader;
    const last = this.#last.get(cpu) ?? { ts: 0, inside: undefined };
    if (ts < last.ts) throw new Error(`cpu ${cpu}: time went back`);
    let inside = lostEvents > 0 ? undefined : last.inside;
    if (id === ENTER || id === EXIT) {
      if (inside === (id === ENTER)) throw new Error(`cpu ${cpu}: two in a row at ${ts}`);
      inside = id === ENTER;
    } else if (inside === false) throw new Error(`cpu ${cpu}: event ${id} outside at ${ts}`);
    this.#last.set(cpu, { ts, inside });
    if (id === ENTER) this.#enteredAt.set(cpu, ts);
    const enteredAt = this.#enteredAt.get(cpu);
    if (id === EXIT && lostEvents === 0 && enteredAt !== undefined)
      this.shortestVisitNs = Math.min(this.shortestVisitNs, ts - enteredAt);
    const name = HYP_EVENTS[id - hypEventId(0)]?.name ?? `${id}`;
    this.events.set(name, (this.events.get(name) ?? 0) + 1);
    this.lost += lostEvents;
    this.read++;
  }

  /** Checks that each event that was written was read, or said to be lost. */
  account(buffer: RemoteBuffer): void {
    for (const reader of buffer.readers) {
      const { entries } = reader.stats();
      if (entries !== 0) throw new Error(`cpu ${reader.cpu}: ${entries} events left`);
    }
    const written = buffer.readers
      .map((reader) => reader.stats())
      .reduce((sum, { overrun, readEvents }) => sum + overrun + readEvents, 0);
    if (this.read + this.lost !== written)
      throw new Error(`${this.read} read, ${this.lost} lost, ${written} written`);
  }
}

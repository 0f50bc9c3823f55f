import type { HostTask } from '../../src/host-task.ts';
import { BPAGE_SIZE } from '../../src/ringbuffer/page-link.ts';
import { RemoteReader } from '../../src/ringbuffer/remote-reader.ts';
import { RING_STATE_SIZE } from '../../src/ringbuffer/ring-state.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { NOT_RESERVED, SimpleRingBuffer } from '../../src/ringbuffer/simple-ring-buffer.ts';
import { PAGE_SIZE } from '../../src/units.ts';

export const TASK: HostTask = { cpu: () => 0, recentCpu: () => 0, dying: () => false };

/** A test's event: a word that counts it, and so much more that few fit on a page. */
export const PAYLOAD = 112;
export const EVENTS_PER_PAGE = Math.floor(4080 / (4 + PAYLOAD));

/** One ring and its reader over the same memory, with a clock that a test sets. */
export class TestRing {
  readonly ram: SharedMemory;
  readonly ring: SimpleRingBuffer;
  readonly reader: RemoteReader;
  readonly pages: readonly number[];
  readonly meta: number;
  readonly clock = { ns: 1_000, now: () => this.clock.ns };
  /** Of the next event that is written, in bytes. */
  payload: number;
  written = 0;

  constructor(
    nrPages: number,
    { payload = PAYLOAD, view = (buffer: SharedArrayBuffer) => new SharedMemory(buffer) } = {},
  ) {
    this.payload = payload;
    const { ram, state } = ringBuffers(nrPages);
    this.ram = view(ram);
    this.ring = new SimpleRingBuffer(this.ram, view(state), 0);
    const layout = ringLayout(nrPages);
    this.ring.init(layout);
    this.ring.enable();
    this.pages = layout.pages;
    this.meta = layout.meta;
    this.reader = new RemoteReader(
      this.ram,
      { cpu: 0, ...layout },
      {
        swapReaderPage: () => this.ring.swapReaderPage(),
        reset: () => this.ring.reset(),
        isOnline: () => true,
        timesUp: () => 0,
      },
    );
  }

  /** Writes the next `count` events. */
  write(count = 1): void {
    for (let n = 0; n < count; n++)
      writeNumber(this.ring, this.ram, this.written++, this.clock, this.payload);
  }

  /** Takes up to `max` events that are there. */
  read(max = Number.POSITIVE_INFINITY): { numbers: number[]; lost: number } {
    const numbers: number[] = [];
    let lost = 0;
    while (numbers.length < max && this.reader.peek(TASK)) {
      lost += this.reader.lostEvents;
      numbers.push(this.ram.view.getUint32(this.reader.payload, true));
      this.reader.consume();
    }
    return { numbers, lost };
  }
}

/** Writes one event that carries `number`; false when the ring does not take it. */
export function writeNumber(
  ring: SimpleRingBuffer,
  ram: SharedMemory,
  number: number,
  clock: { now(): number },
  payload = PAYLOAD,
): boolean {
  const at = ring.reserve(payload, clock);
  if (at === NOT_RESERVED) return false;
  ram.view.setUint32(at, number, true);
  ring.commit();
  return true;
}

export const ringBuffers = (nrPages: number) => ({
  ram: new SharedArrayBuffer((nrPages + 2) * PAGE_SIZE),
  state: new SharedArrayBuffer(RING_STATE_SIZE),
});

/** The records on the first page, the meta page second, then the data pages. */
export function ringLayout(nrPages: number) {
  if (nrPages * BPAGE_SIZE > PAGE_SIZE) throw new RangeError('the records take one page');
  return {
    bpages: 0,
    meta: PAGE_SIZE,
    pages: Array.from({ length: nrPages }, (_, id) => (2 + id) * PAGE_SIZE),
  };
}

export const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

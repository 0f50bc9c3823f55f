import { assert, defined } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import { BPAGE_SIZE } from '../ringbuffer/page-link.ts';
import type { RingBufferDesc } from '../ringbuffer/ring-buffer-desc.ts';
import { RING_STATE_SIZE } from '../ringbuffer/ring-state.ts';
import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { MIN_PAGES, NOT_RESERVED, SimpleRingBuffer } from '../ringbuffer/simple-ring-buffer.ts';
import { PAGE_SIZE, pageAligned } from '../units.ts';
import { HypAddressSpace } from './hyp-address-space.ts';
import type { FieldValue, HypEvent } from './hyp-event.ts';
import { HYP_EVENTS, hypEventId, hypEventIndex } from './hyp-events.ts';
import { getHypTraceDesc, type HypTraceDesc } from './hyp-trace-desc.ts';
import type { MachineMemory } from './machine-memory.ts';
import type { Ram } from './memory.ts';
import type { PageOwnership } from './page-ownership.ts';
import { TicketLock } from './ticket-lock.ts';
import { type ClockParameters, type Counter, TraceClock } from './trace-clock.ts';

/** The two words at `layout.traceBacking`: where the loaded backing is; size 0 for none. */
const BACKING_SIZE = 4;

/** A place in the hypervisor that emits an event: what emitting it takes, looked up once. */
export interface Tracepoint {
  readonly event: HypEvent;
  readonly id: number;
  /** Where in the hypervisor's memory its switch is. */
  readonly enabled: number;
}

/**
 * The hypervisor's tracing: a ring a CPU on pages that the host shares, a clock, and the switch
 * of each event. The kernel's nvhe/trace.c. Trusts nothing that the host passes.
 */
export class HypTraceBuffer {
  readonly clock: TraceClock;
  readonly space: HypAddressSpace;
  /** How many tracepoints this thread came by, enabled or not. */
  passed = 0;
  readonly #ram: Ram;
  readonly #hyp: SharedMemory;
  readonly #ownership: PageOwnership;
  readonly #layout: MachineMemory['layout'];
  readonly #rings: readonly SimpleRingBuffer[];
  readonly #lock: TicketLock;

  constructor(machine: MachineMemory, counter: Counter) {
    const { ram, hyp, ownership, layout, nrCpus } = machine;
    this.clock = new TraceClock(hyp, layout.clock, counter);
    this.space = new HypAddressSpace(hyp, ownership, layout.fixmap);
    this.#ram = ram;
    this.#hyp = hyp;
    this.#ownership = ownership;
    this.#layout = layout;
    this.#lock = new TicketLock(hyp, layout.traceLock);
    this.#rings = Array.from(
      { length: nrCpus },
      (_, cpu) => new SimpleRingBuffer(ram, hyp, layout.rings + cpu * RING_STATE_SIZE),
    );
  }

  tracepoint(event: HypEvent): Tracepoint {
    const index = HYP_EVENTS.indexOf(event);
    assert(index !== -1, `${event.name} is one of HYP_EVENTS`);
    return { event, id: hypEventId(index), enabled: this.#layout.eventEnabled + 4 * index };
  }

  /** On the CPU where it happens: writes an event if it is enabled and the ring is. */
  emit(
    cpu: number,
    { event, id, enabled }: Tracepoint,
    a?: FieldValue,
    b?: FieldValue,
    c?: FieldValue,
    d?: FieldValue,
    e?: FieldValue,
    f?: FieldValue,
    g?: FieldValue,
  ): void {
    this.passed++;
    if (this.#hyp.own(enabled) === 0) return; // An event more or less: no order is needed.
    const ring = defined(this.#rings[cpu], 'a ring for each CPU');
    const at = ring.reserve(event.size, this.clock);
    if (at === NOT_RESERVED) return;
    event.write(this.#ram, at, id, a, b, c, d, e, f, g);
    ring.commit();
  }

  /** As `cpu`, changes read-only data. @throws ErrnoError EINVAL for an id that no event has. */
  enableEvent(cpu: number, id: number, on: boolean): void {
    const index = hypEventIndex(id);
    if (index === undefined) throw new ErrnoError('EINVAL', `no event has the id ${id}`);
    this.space.patchRodata(cpu, this.#layout.eventEnabled + 4 * index, on ? 1 : 0);
  }

  /** How often selftest_event was asked for, this time included. */
  countSelftest(): number {
    return this.#hyp.add(this.#layout.selftestCount, 1) + 1;
  }

  /** No event that is open now may see the bank change twice under its feet. */
  updateClock(parameters: ClockParameters): void {
    this.waitForWriters();
    this.clock.update(parameters);
  }

  /** Waits until every event that is open now is committed. */
  waitForWriters(): void {
    for (const ring of this.#rings) ring.waitForWriter();
  }

  /**
   * Takes the pages of a descriptor into use.
   *
   * @throws ErrnoError EINVAL for a malformed descriptor, EBUSY when a buffer is loaded already,
   *   EPERM for memory that is not the host's to give or that it did not share. Nothing changes.
   */
  load(descVa: bigint, descSize: number): void {
    if (descSize <= 0 || !pageAligned(descSize) || descVa % BigInt(PAGE_SIZE) !== 0n)
      throw new ErrnoError('EINVAL', 'the descriptor is not made of whole pages');
    const at = this.#ram.offsetOfVirt(descVa, descSize);
    // While it is read, the descriptor is out of the host's reach.
    this.#ownership.hostDonateHyp(at / PAGE_SIZE, descSize / PAGE_SIZE);
    try {
      const desc = this.space.ramAt(this.space.kernHypVa(descVa), descSize);
      this.#lock.with(() => this.#loadDescriptor(desc, descSize));
    } finally {
      this.#ownership.hypDonateHost(at / PAGE_SIZE, descSize / PAGE_SIZE);
    }
  }

  #loadDescriptor(at: number, size: number): void {
    if (this.#backingSize > 0) throw new ErrnoError('EBUSY', 'a buffer is loaded');
    const desc = getHypTraceDesc(this.#ram.view, at, size);
    if (desc === undefined) throw new ErrnoError('EINVAL', 'a record leaves the descriptor');
    this.#takeBacking(desc);
    try {
      desc.rings.reduce((bpages, ring) => this.#loadRing(ring, bpages), this.#backing);
    } catch (error) {
      this.#teardown();
      throw error;
    }
  }

  #takeBacking({ backingStart, backingSize }: HypTraceDesc): void {
    if (backingStart % BigInt(PAGE_SIZE) !== 0n || backingSize % BigInt(PAGE_SIZE) !== 0n)
      throw new ErrnoError('EINVAL', 'the backing is not made of whole pages');
    const size = Number(backingSize);
    const at = this.#ram.offsetOfVirt(backingStart, size);
    this.#ownership.hostDonateHyp(at / PAGE_SIZE, size / PAGE_SIZE);
    this.#ram.fill(at, size);
    this.#hyp.store(this.#layout.traceBacking, at);
    this.#hyp.store(this.#layout.traceBacking + BACKING_SIZE, size);
  }

  /** Returns where the next ring's records go. */
  #loadRing(desc: RingBufferDesc, bpages: number): number {
    const ring = this.#ringOf(desc.cpu);
    const end = bpages + desc.pages.length * BPAGE_SIZE;
    if (desc.pages.length < MIN_PAGES) throw new ErrnoError('EINVAL', 'too few pages for a ring');
    if (end > this.#backing + this.#backingSize)
      throw new ErrnoError('EINVAL', 'the backing is too small');
    if (ring.loaded) throw new ErrnoError('EBUSY', `cpu ${desc.cpu} has a ring`);
    const [meta, ...pages] = this.#pinAll([desc.meta, ...desc.pages]);
    ring.init({ meta: defined(meta, 'the meta page'), pages, bpages });
    return end;
  }

  #pinAll(addresses: readonly bigint[]): number[] {
    const pinned: number[] = [];
    try {
      for (const va of addresses) {
        if (va % BigInt(PAGE_SIZE) !== 0n) throw new ErrnoError('EINVAL', 'not a page address');
        const page = this.#ram.offsetOfVirt(va, PAGE_SIZE);
        this.#ownership.hypPinShared(page / PAGE_SIZE);
        pinned.push(this.space.ramAt(this.space.kernHypVa(va), PAGE_SIZE));
      }
      return pinned;
    } catch (error) {
      this.#unpinAll(pinned);
      throw error;
    }
  }

  #unpinAll(pages: readonly number[]): void {
    for (const page of pages) this.#ownership.hypUnpinShared(page / PAGE_SIZE);
  }

  /** Gives everything back to the host. Does nothing when nothing is loaded. */
  teardown(): void {
    this.#lock.with(() => this.#teardown());
  }

  #teardown(): void {
    for (const ring of this.#rings) {
      if (ring.loaded) this.#unpinAll(ring.teardown());
    }
    const size = this.#backingSize;
    if (size === 0) return;
    this.#ram.fill(this.#backing, size);
    this.#hyp.store(this.#layout.traceBacking + BACKING_SIZE, 0);
    this.#ownership.hypDonateHost(this.#backing / PAGE_SIZE, size / PAGE_SIZE);
  }

  /** @throws ErrnoError EINVAL when there is nothing to enable. */
  enable(on: boolean): void {
    this.#lock.with(() => {
      const loaded = this.#rings.filter((ring) => ring.loaded);
      if (on && loaded.length === 0) throw new ErrnoError('EINVAL', 'no buffer is loaded');
      for (const ring of loaded) on ? ring.enable() : ring.disable();
    });
  }

  /** @throws ErrnoError EINVAL for a CPU that is not, ENODEV without a buffer, EBUSY in a storm. */
  swapReaderPage(cpu: number): void {
    this.#lock.with(() => this.#ringOf(cpu).swapReaderPage());
  }

  /** @throws ErrnoError EINVAL for a CPU that is not, ENODEV without a buffer. */
  reset(cpu: number): void {
    this.#lock.with(() => this.#ringOf(cpu).reset());
  }

  #ringOf(cpu: number): SimpleRingBuffer {
    const ring = this.#rings[cpu];
    if (ring === undefined) throw new ErrnoError('EINVAL', `there is no cpu ${cpu}`);
    return ring;
  }

  get #backing(): number {
    return this.#hyp.load(this.#layout.traceBacking) >>> 0;
  }

  get #backingSize(): number {
    return this.#hyp.load(this.#layout.traceBacking + BACKING_SIZE) >>> 0;
  }
}

import type { HostTask } from '../host-task.ts';
import { PAGE_DATA, PAGE_DATA_SIZE } from '../ringbuffer/buffer-page.ts';
import {
  alignedPayload,
  eventSize,
  putEventHeader,
  putTimeExtend,
  TIME_DELTA_LIMIT,
  TIME_EXTEND_SIZE,
} from '../ringbuffer/event-header.ts';
import { putPageImage, STORED_SIZE } from '../ringbuffer/page-image.ts';
import { entryId, type RemoteReader } from '../ringbuffer/remote-reader.ts';
import type { Cpumask } from './cpumask.ts';
import type { EventFilters } from './event-filters.ts';
import { FULL_COMMON, STRICT_COMMON, sizeOf } from './event-format.ts';
import type { PeekedEvent } from './trace-output.ts';
import type { RemoteEvent, TraceRemote } from './trace-remote.ts';

const STRICT_SIZE = sizeOf(STRICT_COMMON);
const FULL_SIZE = sizeOf(FULL_COMMON);
const COMMON_PID = 4;
const IDLE = '<idle>';

/**
 * The events of a remote as an instance shows them: with the four common fields that the kernel's
 * own events have, of which common_pid is the thread of the vCPU that the CPU has loaded, 0 for
 * none. Events do not carry that; each hyp_enter and hyp_exit says it for those after it.
 */
export class InstanceEvents {
  readonly #remote: TraceRemote;
  /** By event id, where in the entry it names the vCPU. */
  readonly #vcpuFields: ReadonlyMap<number, number>;
  readonly #events: ReadonlyMap<number, RemoteEvent>;
  readonly #filters: EventFilters;
  readonly #tracingCpus: Cpumask;
  readonly #pids = new Map<number, number>();
  /** Of each CPU, what was lost before events that no filter passed. */
  readonly #lost = new Map<number, number>();
  readonly #seen: Set<number>;

  constructor(
    remote: TraceRemote,
    filters: EventFilters,
    tracingCpus: Cpumask,
    seen = new Set<number>(),
  ) {
    this.#remote = remote;
    this.#filters = filters;
    this.#tracingCpus = tracingCpus;
    this.#events = new Map(remote.callbacks.events.map((event) => [event.id, event]));
    this.#seen = seen;
    this.#vcpuFields = new Map(
      remote.callbacks.events.flatMap(({ id, fields }) =>
        fields.filter(({ name }) => name === 'vcpu').map(({ offset }) => [id, offset] as const),
      ),
    );
  }

  /** The same for who starts to read elsewhere: of no CPU it knows which vCPU it has loaded. */
  fromHere(): InstanceEvents {
    return new InstanceEvents(this.#remote, this.#filters, this.#tracingCpus, this.#seen);
  }

  /** The pid that an event has; to be asked of each event, in their order on each CPU. */
  pidOf(peeked: PeekedEvent): number {
    const { cpu, memory, payload } = peeked;
    const field = this.#vcpuFields.get(entryId(peeked));
    if (field !== undefined) {
      const vcpu = memory.view.getInt32(payload + field, true);
      this.#pids.set(cpu, vcpu);
      if (vcpu !== 0) this.#seen.add(vcpu);
    }
    return this.#pids.get(cpu) ?? 0;
  }

  /** Whether its CPU is traced and its filter passes it; to be asked of each event, as `pidOf`. */
  passes(peeked: PeekedEvent): boolean {
    const pid = this.pidOf(peeked);
    if (!this.#tracingCpus.has(peeked.cpu)) return false;
    if (!this.#filters.any) return true;
    const event = this.#events.get(entryId(peeked));
    if (!event) return true;
    return this.#filters.passes(event.id, {
      comm: this.nameOf(pid),
      number: (name) => BigInt(this.#number(name, event, pid, peeked)),
    });
  }

  #number(
    name: string,
    event: RemoteEvent,
    pid: number,
    { cpu, memory, payload }: PeekedEvent,
  ): number | bigint {
    if (name === 'common_type') return event.id;
    if (name === 'common_pid') return pid;
    if (name === 'CPU' || name === 'cpu') return cpu;
    const index = event.fields.findIndex((field) => field.name === name);
    return event.values(memory, payload)[index] ?? 0;
  }

  nameOf(pid: number): string {
    return pid === 0 ? IDLE : this.#remote.callbacks.vcpuName(pid);
  }

  /** The text of saved_cmdlines: each vCPU's thread that was seen. */
  savedCmdlines(): string {
    return [...this.#seen].map((pid) => `${pid} ${this.nameOf(pid)}\n`).join('');
  }

  /** Takes a page image of a reader's next events; false when there are none now. */
  readPage(reader: RemoteReader, image: Uint8Array, task: HostTask): boolean {
    if (!this.#peekPassed(reader, task)) return false;
    const view = new DataView(image.buffer, image.byteOffset);
    const { ts: timeStamp } = reader;
    const lost = reader.lostEvents + (this.#lost.get(reader.cpu) ?? 0);
    this.#lost.delete(reader.cpu);
    // Unlike a ring's own pages, these have always room to say how many were lost.
    const room = PAGE_DATA_SIZE - (lost > 0 ? STORED_SIZE : 0);
    let end = 0;
    let last = timeStamp;
    while (this.#peekPassed(reader, task)) {
      // An image tells of lost events at its start.
      if (end > 0 && (reader.lostEvents > 0 || this.#lost.has(reader.cpu))) break;
      const length = alignedPayload(reader.length - STRICT_SIZE + FULL_SIZE);
      const delta = reader.ts - last;
      const extend = delta >= TIME_DELTA_LIMIT ? TIME_EXTEND_SIZE : 0;
      if (end + extend + eventSize(length) > room) break;
      let at = PAGE_DATA + end;
      if (extend > 0) at = putTimeExtend({ view }, at, delta);
      at = putEventHeader({ view }, at, length, extend > 0 ? 0 : delta);
      this.#putEntry(reader, image, view, at);
      last = reader.ts;
      end += extend + eventSize(length);
      reader.consume();
    }
    putPageImage(image, { timeStamp, data: image.subarray(PAGE_DATA, PAGE_DATA + end), lost });
    return true;
  }

  /** Takes what no filter passes, and leaves the next event that one does. False without. */
  #peekPassed(reader: RemoteReader, task: HostTask): boolean {
    while (reader.peek(task)) {
      if (this.passes(reader)) return true;
      if (reader.lostEvents > 0)
        this.#lost.set(reader.cpu, (this.#lost.get(reader.cpu) ?? 0) + reader.lostEvents);
      reader.consume();
    }
    return false;
  }

  #putEntry(reader: RemoteReader, image: Uint8Array, view: DataView, at: number): void {
    const { memory, payload, length } = reader;
    image.fill(0, at, at + FULL_SIZE);
    view.setUint16(at, entryId(reader), true);
    view.setInt32(at + COMMON_PID, this.pidOf(reader), true);
    image.set(memory.bytes.subarray(payload + STRICT_SIZE, payload + length), at + FULL_SIZE);
    const end = at + FULL_SIZE + length - STRICT_SIZE;
    image.fill(0, end, at + alignedPayload(FULL_SIZE + length - STRICT_SIZE));
  }
}

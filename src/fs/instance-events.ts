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
import { FIRST_INSTANCE_ID, InstanceEvent, unknownEvent } from './instance-event.ts';
import { SKIPPED_AT_ONCE } from './pipe-waiter.ts';
import type { PeekedEvent } from './trace-output.ts';
import type { TraceRemote } from './trace-remote.ts';

const IDLE = '<idle>';

/**
 * The events of a remote as an instance shows them: with the four common fields that the kernel's
 * own events have, of which common_pid is the thread of the vCPU that the CPU has loaded, 0 for
 * none. Events do not carry that; each hyp_enter and hyp_exit says it for those after it.
 */
export class InstanceEvents {
  /** In the order of their names. */
  readonly all: readonly InstanceEvent[];
  readonly #remote: TraceRemote;
  /** By the id that the remote's entries begin with. */
  readonly #byRemoteId: ReadonlyMap<number, InstanceEvent>;
  readonly #filters: EventFilters;
  readonly #tracingCpus: Cpumask;
  readonly #pids = new Map<number, number>();

  constructor(remote: TraceRemote, filters: EventFilters, tracingCpus: Cpumask) {
    this.#remote = remote;
    this.#filters = filters;
    this.#tracingCpus = tracingCpus;
    this.all = remote.callbacks.events.map(
      (event, index) => new InstanceEvent(event, FIRST_INSTANCE_ID + index),
    );
    this.#byRemoteId = new Map(this.all.map((event) => [event.remote.id, event]));
  }

  /** The same for who starts to read elsewhere: of no CPU it knows which vCPU it has loaded. */
  fromHere(): InstanceEvents {
    return new InstanceEvents(this.#remote, this.#filters, this.#tracingCpus);
  }

  /** The pid that an event has; to be asked of each event, in their order on each CPU. */
  pidOf(peeked: PeekedEvent): number {
    return this.#pidOf(peeked, this.#eventOf(peeked));
  }

  #pidOf({ cpu, memory, payload }: PeekedEvent, { vcpuAt }: InstanceEvent): number {
    if (vcpuAt !== undefined) {
      const vcpu = memory.view.getInt32(payload + vcpuAt, true);
      this.#pids.set(cpu, vcpu);
    }
    return this.#pids.get(cpu) ?? 0;
  }

  /** Whether its CPU is traced and its filter passes it; to be asked of each event, as `pidOf`. */
  passes(peeked: PeekedEvent): boolean {
    const event = this.#eventOf(peeked);
    const pid = this.#pidOf(peeked, event);
    if (!this.#tracingCpus.has(peeked.cpu)) return false;
    if (!this.#filters.any) return true;
    return this.#filters.passes(event.remote.id, {
      comm: this.nameOf(pid),
      number: (name) => BigInt(this.#number(name, event, pid, peeked)),
    });
  }

  #number(
    name: string,
    { id, remote }: InstanceEvent,
    pid: number,
    { cpu, memory, payload }: PeekedEvent,
  ): number | bigint {
    if (name === 'common_type') return id;
    if (name === 'common_pid') return pid;
    if (name === 'CPU' || name === 'cpu') return cpu;
    const index = remote.fields.findIndex((field) => field.name === name);
    return remote.values(memory, payload)[index] ?? 0;
  }

  #eventOf(peeked: PeekedEvent): InstanceEvent {
    const id = entryId(peeked);
    return this.#byRemoteId.get(id) ?? unknownEvent(id);
  }

  /** Whether there is nothing that would keep an event back. */
  get passesAll(): boolean {
    return !this.#filters.any && this.#tracingCpus.isFull;
  }

  nameOf(pid: number): string {
    return pid === 0 ? IDLE : this.#remote.callbacks.vcpuName(pid);
  }

  /** Takes a page image of a reader's next events that pass; false as `peekPassed`. */
  readPage(reader: RemoteReader, image: Uint8Array, task: HostTask): boolean {
    if (!this.peekPassed(reader, task)) return false;
    const view = new DataView(image.buffer, image.byteOffset);
    const { ts: timeStamp } = reader;
    const lost = reader.lostEvents;
    // Unlike a ring's own pages, these have always room to say how many were lost.
    const room = PAGE_DATA_SIZE - (lost > 0 ? STORED_SIZE : 0);
    let end = 0;
    let last = timeStamp;
    while (this.peekPassed(reader, task)) {
      // An image tells of lost events at its start.
      if (end > 0 && reader.lostEvents > 0) break;
      const event = this.#eventOf(reader);
      const length = alignedPayload(event.lengthOf(reader));
      const delta = reader.ts - last;
      const extend = delta >= TIME_DELTA_LIMIT ? TIME_EXTEND_SIZE : 0;
      if (end + extend + eventSize(length) > room) break;
      let at = PAGE_DATA + end;
      if (extend > 0) at = putTimeExtend({ view }, at, delta);
      at = putEventHeader({ view }, at, length, extend > 0 ? 0 : delta);
      image.fill(0, at, at + length);
      event.put(reader, this.#pidOf(reader, event), image, view, at);
      last = reader.ts;
      end += extend + eventSize(length);
      reader.consume();
    }
    putPageImage(image, { timeStamp, data: image.subarray(PAGE_DATA, PAGE_DATA + end), lost });
    return true;
  }

  /**
   * Finds the next event that passes and leaves it there; takes those before it. False when there is
   * none now, or none among so many that other requests should get their turn.
   */
  peekPassed(reader: RemoteReader, task: HostTask): boolean {
    for (let skipped = 0; skipped < SKIPPED_AT_ONCE && reader.peek(task); skipped++) {
      if (this.passes(reader)) return true;
      reader.passOver();
    }
    return false;
  }
}

import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { TraceSeq } from '../trace-seq.ts';
import { eventFormat, FULL_COMMON, STRICT_COMMON, sizeOf } from './event-format.ts';
import type { RemoteEvent } from './trace-remote.ts';

const STRICT_SIZE = sizeOf(STRICT_COMMON);
const FULL_SIZE = sizeOf(FULL_COMMON);
const SHIFT = FULL_SIZE - STRICT_SIZE;
const COMMON_PID = 4;

/** No kernel has events with ids from here on, so perf_event_open(2) finds none of its own by them. */
export const FIRST_INSTANCE_ID = 60_001;

/** A dynamic string, which a word points to: its offset in the entry, and its length in the high half. */
const MSG = { type: '__data_loc char[]', name: 'msg', size: 4, signed: false } as const;
const MSG_PRINT_FMT = '"%s", __get_str(msg)';
/** More than the text of any event. */
const text = new TraceSeq(512);

/** Where an entry is in a ring. */
type Entry = Pick<RemoteReader, 'memory' | 'payload' | 'length'>;

/**
 * One event as an instance shows it: with an id of its own, and in each entry the four common
 * fields that the kernel's own events have. An event without a print format has its text in `msg`.
 */
export class InstanceEvent {
  readonly id: number;
  readonly remote: RemoteEvent;
  /** Where an entry of the remote's names the vCPU that the CPU has loaded, if it does. */
  readonly vcpuAt: number | undefined;
  /** The end of the fields in an entry of the remote's; behind it, in an instance, is `msg`. */
  readonly #fieldsEnd: number;
  readonly #hasMsg: boolean;

  constructor(remote: RemoteEvent, id: number) {
    this.id = id;
    this.remote = remote;
    this.vcpuAt = remote.fields.find(({ name }) => name === 'vcpu')?.offset;
    this.#fieldsEnd = STRICT_SIZE + sizeOf(remote.fields);
    this.#hasMsg = remote.printFmt === undefined;
  }

  /** The text of its format file. */
  get format(): string {
    const { id, remote } = this;
    if (!this.#hasMsg) return eventFormat({ ...remote, id }, FULL_COMMON);
    const fields = [...remote.fields, { ...MSG, offset: this.#fieldsEnd }];
    return eventFormat({ ...remote, id, fields, printFmt: MSG_PRINT_FMT }, FULL_COMMON);
  }

  /** How many bytes the remote's entry takes in an instance. */
  lengthOf(entry: Entry): number {
    if (!this.#hasMsg) return entry.length + SHIFT;
    return this.#msgAt + MSG.size + this.#textOf(entry).length;
  }

  /** Puts an entry of the remote's at `at`, where `image` has as many zeros as it takes. */
  put(entry: Entry, pid: number, image: Uint8Array, view: DataView, at: number): void {
    const { memory, payload, length } = entry;
    const end = this.#hasMsg ? this.#fieldsEnd : length;
    view.setUint16(at, this.id, true);
    view.setInt32(at + COMMON_PID, pid, true);
    image.set(memory.bytes.subarray(payload + STRICT_SIZE, payload + end), at + FULL_SIZE);
    if (this.#hasMsg) this.#putMsg(this.#textOf(entry), image, view, at);
  }

  #putMsg(msg: Uint8Array, image: Uint8Array, view: DataView, at: number): void {
    const textAt = this.#msgAt + MSG.size;
    view.setUint32(at + this.#msgAt, (msg.length << 16) | textAt, true);
    image.set(msg, at + textAt);
  }

  get #msgAt(): number {
    return this.#fieldsEnd + SHIFT;
  }

  /** The text of an entry with the zero that ends it, until the next one is asked for. */
  #textOf({ memory, payload }: Entry): Uint8Array {
    text.truncate(0);
    this.remote.print(memory, payload, text);
    text.putByte(0);
    return text.bytes.subarray(0, text.length);
  }
}

/** An event for an entry whose id is that of no event: the entry is passed on as it is. */
export const unknownEvent = (id: number): InstanceEvent =>
  new InstanceEvent(
    { name: '', id, fields: [], printFmt: '', values: () => [], print: () => {} },
    id,
  );

import { readSync } from 'node:fs';
import protobuf from 'protobufjs';
import { KERNEL_THREAD } from '../host-task.ts';
import type { FieldValue, HypEvent } from '../hypervisor-sim/hyp-event.ts';
import { HYP_EVENTS, hypEventIndex } from '../hypervisor-sim/hyp-events.ts';
import type { RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import { entryId, type RemoteReader } from '../ringbuffer/remote-reader.ts';
import { OutputFile } from './output-file.ts';
import { PERFETTO_PROTO } from './perfetto-schema.ts';
import type { TraceSink } from './run.ts';

const { root } = protobuf.parse(PERFETTO_PROTO, { keepCase: true });
const TRACE_PACKET = root.lookupType('TracePacket');
const FTRACE_EVENT = root.lookupType('FtraceEvent');

/** `packet` of a Trace: field 1, with its length. */
const PACKET_TAG = (1 << 3) | 2;
/** All packets are of one writer. */
const SEQUENCE_ID = 1;
/** A bundle has so many events at the most, so that a viewer can stream them. */
const EVENTS_PER_BUNDLE = 4_096;

/** A u64 as protobufjs takes it. */
const u64 = (value: bigint) => ({
  low: Number(BigInt.asIntN(32, value)),
  high: Number(BigInt.asIntN(32, value >> 32n)),
  unsigned: true,
});

/** A run's trace for Perfetto: each CPU's events as FtraceEventBundles, on the boot clock. */
export class PerfettoSink implements TraceSink {
  readonly #file: OutputFile;

  constructor(file: string, force = false) {
    this.#file = new OutputFile(file, { isOurs: startsWithPacket, force });
  }

  drain(buffer: RemoteBuffer): void {
    buffer.poll();
    for (const reader of buffer.readers) while (this.#writeBundle(reader));
  }

  close(): void {
    this.#file.close();
  }

  discard(): void {
    this.#file.discard();
  }

  /** Writes the next events of a CPU. False when there are none now. */
  #writeBundle(reader: RemoteReader): boolean {
    const event: object[] = [];
    const lost = reader.peek(KERNEL_THREAD) && reader.lostEvents > 0;
    while (event.length < EVENTS_PER_BUNDLE && reader.peek(KERNEL_THREAD)) {
      // Bundles tell of lost events at their start.
      if (event.length > 0 && reader.lostEvents > 0) break;
      event.push(ftraceEvent(reader));
      reader.consume();
    }
    if (event.length === 0) return false;
    const packet = {
      ftrace_events: { cpu: reader.cpu, event, ...(lost ? { lost_events: true } : {}) },
      trusted_packet_sequence_id: SEQUENCE_ID,
    };
    const writer = protobuf.Writer.create().uint32(PACKET_TAG).fork();
    this.#file.write(TRACE_PACKET.encode(packet, writer).ldelim().finish());
    return true;
  }
}

/** Longer than a packet's tag and length. */
const PACKET_START = 16;

/** Whether a file begins with a packet that has what ours have, and nothing else. */
function startsWithPacket(fd: number, size: number): boolean {
  try {
    const start = protobuf.Reader.create(readAt(fd, 0, Math.min(PACKET_START, size)));
    if (start.uint32() !== PACKET_TAG) return false;
    const length = start.uint32();
    if (start.pos + length > size) return false;
    const packet = TRACE_PACKET.decode(readAt(fd, start.pos, length));
    const { ftrace_events, trusted_packet_sequence_id } = TRACE_PACKET.toObject(packet);
    const isAll = TRACE_PACKET.encode(packet).finish().length === length;
    return isAll && ftrace_events !== undefined && trusted_packet_sequence_id === SEQUENCE_ID;
  } catch {
    return false; // It is no packet.
  }
}

function readAt(fd: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, readSync(fd, bytes, 0, length, position));
}

function ftraceEvent(reader: RemoteReader): object {
  const hypEvent = HYP_EVENTS[hypEventIndex(entryId(reader)) ?? -1];
  const common = { timestamp: u64(BigInt(reader.ts)), pid: 0 };
  if (!hypEvent) return common;
  const values = hypEvent.values(reader.memory, reader.payload);
  const known = FTRACE_EVENT.fields[hypEvent.name];
  if (!known) return { ...common, generic: genericEvent(hypEvent, values) };
  return { ...common, [hypEvent.name]: knownEvent(root.lookupType(known.type), hypEvent, values) };
}

/** Of an event that Perfetto knows, the fields that it knows. */
function knownEvent(type: protobuf.Type, { fields }: HypEvent, values: FieldValue[]): object {
  const known = fields.map(({ name }, index) => [name, wire(values[index] ?? 0)] as const);
  return Object.fromEntries(known.filter(([name]) => name in type.fields));
}

function genericEvent({ name, fields }: HypEvent, values: FieldValue[]): object {
  const field = fields.map((each, index) => ({
    name: each.name,
    [each.signed ? 'int_value' : 'uint_value']: wire(values[index] ?? 0),
  }));
  return { event_name: name, field };
}

const wire = (value: FieldValue) => (typeof value === 'bigint' ? u64(value) : value);

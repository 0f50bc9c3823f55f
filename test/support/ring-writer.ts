import { workerData } from 'node:worker_threads';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { SimpleRingBuffer } from '../../src/ringbuffer/simple-ring-buffer.ts';
import { writeNumber } from './ring.ts';

/** The writer's thread of the soak: numbers as fast as they go, until the first word is set. */
export interface RingWriterData {
  readonly ram: SharedArrayBuffer;
  readonly state: SharedArrayBuffer;
  /** 0 stop, 4 how many were written. */
  readonly control: SharedArrayBuffer;
}

const data = workerData as RingWriterData;
const ram = new SharedMemory(data.ram);
const ring = new SimpleRingBuffer(ram, new SharedMemory(data.state), 0);
const control = new Int32Array(data.control);

let written = 0;
const clock = { now: () => written };
while (Atomics.load(control, 0) === 0) {
  if (writeNumber(ring, ram, written, clock)) written++;
  Atomics.store(control, 1, written);
}

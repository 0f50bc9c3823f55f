import { once } from 'node:events';
import { expect, test } from 'vitest';
import { RemoteReader } from '../../src/ringbuffer/remote-reader.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { SimpleRingBuffer } from '../../src/ringbuffer/simple-ring-buffer.ts';
import { ringBuffers, ringLayout, TASK } from '../support/ring.ts';
import type { RingWriterData } from '../support/ring-writer.ts';
import { typescriptWorker } from '../support/typescript-worker.ts';

const EVENTS = 2_000_000;

test.each([3, 8])(
  'a writer in a thread of its own loses nothing untold, with %i pages',
  async (nrPages) => {
    const control = new Int32Array(new SharedArrayBuffer(8));
    const { ram, state } = ringBuffers(nrPages);
    const memory = new SharedMemory(ram);
    const ring = new SimpleRingBuffer(memory, new SharedMemory(state), 0);
    ring.init(ringLayout(nrPages));
    const reader = new RemoteReader(
      memory,
      { cpu: 0, ...ringLayout(nrPages) },
      {
        swapReaderPage: () => ring.swapReaderPage(),
        reset: () => ring.reset(),
        isOnline: () => true,
        timesUp: () => 0,
      },
    );

    let next = 0;
    let read = 0;
    let lost = 0;
    const drain = (): void => {
      while (reader.peek(TASK)) {
        lost += reader.lostEvents;
        const number = memory.view.getUint32(reader.payload, true);
        if (number < next || reader.ts !== number)
          throw new Error(`read ${number} after ${next - 1}`);
        next = number + 1;
        read++;
        reader.consume();
      }
    };

    const worker = typescriptWorker('ring-writer.ts', {
      ram,
      state,
      control: control.buffer as SharedArrayBuffer,
    } satisfies RingWriterData);
    ring.enable();
    while (Atomics.load(control, 1) < EVENTS) {
      drain();
      await new Promise((resolve) => setImmediate(resolve));
    }
    Atomics.store(control, 0, 1);
    await once(worker, 'exit');
    drain();

    expect(read + lost).toBe(Atomics.load(control, 1));
    expect(lost).toBeGreaterThan(0);
    expect(read).toBeGreaterThan(1_000);
  },
);

import { constants } from 'node:os';
import { onTestFinished } from 'vitest';
import { HypTrace, unseenReader } from '../../src/daemon/hyp-trace.ts';
import { switchOnVirtual } from '../../src/daemon/machine.ts';
import { TextSink } from '../../src/daemon/run.ts';
import { loadScenario } from '../../src/daemon/scenarios.ts';
import { HYP_EVENTS, hypEventId } from '../../src/hypervisor-sim/hyp-events.ts';
import {
  HYPERCALLS,
  type HypercallName,
  type Register,
} from '../../src/hypervisor-sim/hypercalls.ts';
import type { Hypervisor } from '../../src/hypervisor-sim/hypervisor.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { RemoteBuffer } from '../../src/ringbuffer/remote-buffer.ts';
import { MIB, PAGE_SIZE } from '../../src/units.ts';
import { TASK } from './ring.ts';

/** A machine whose hypervisor traces everything, for who looks and makes no trap by it. */
export class TracedMachine {
  readonly hypervisor: Hypervisor;
  readonly #buffer: RemoteBuffer;
  readonly #hypTrace: HypTrace;
  /** Pages that nobody has: a test's to take, from the last one down. */
  #nextPage: number;

  /** At a test's end its memory is looked through, unless the test does that itself. */
  constructor({ cpus = 2, memoryMib = 8, walk = true } = {}) {
    const machine = switchOnVirtual(
      { cpus, memoryMib, counterHz: 1_000_000_000 },
      loadScenario('idle'),
    );
    this.hypervisor = machine.hypervisor;
    if (walk) onTestFinished(() => void walkOwnership(machine.hypervisor));
    this.#nextPage = (memoryMib * MIB) / PAGE_SIZE;
    const { trace } = machine.hypervisor;
    this.#hypTrace = new HypTrace(machine);
    const { memory, rings } = this.#hypTrace.loadTraceBuffer(64n * 1024n, TASK);
    this.#buffer = new RemoteBuffer(memory, rings, unseenReader(trace));
    for (const index of HYP_EVENTS.keys()) trace.enableEvent(0, hypEventId(index), true);
    trace.enable(true);
  }

  /** The offset of a page, or the first of some, that nobody has. */
  page(nrPages = 1): number {
    this.#nextPage -= nrPages;
    return this.#nextPage * PAGE_SIZE;
  }

  /** What was traced since the last look, without the times. */
  trace(): string[] {
    let text = '';
    const sink = new TextSink((bytes) => {
      text += Buffer.from(bytes).toString('latin1');
    });
    sink.drain(this.#buffer, Number.POSITIVE_INFINITY);
    sink.close();
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => line.replace(/^\[0*(\d+)\]\t.*?: /, '$1 '));
  }

  /** A hypercall on CPU 0; its x1 as a number, or the name of the errno. */
  call(name: HypercallName, ...args: Register[]): number | string {
    const { x0, x1 } = this.hypervisor.hvc(0, HYPERCALLS[name].id, ...args);
    if (x0 !== 0) return 'NOT_SUPPORTED';
    return x1 < 0 ? errnoName(-x1) : x1;
  }

  /** Stops tracing and gives its pages back. */
  unload(): void {
    this.hypervisor.trace.enable(false);
    this.#hypTrace.unloadTraceBuffer(TASK);
  }
}

export const errnoName = (number: number): string =>
  Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `${number}`;

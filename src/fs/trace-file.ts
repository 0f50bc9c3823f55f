import { ErrnoError } from '../errno.ts';
import { KERNEL_THREAD } from '../host-task.ts';
import { Merge } from '../ringbuffer/merge.ts';
import type { CpuFilter, RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import { RingIterator } from '../ringbuffer/ring-iterator.ts';
import { TraceSeq } from '../trace-seq.ts';
import { KIB } from '../units.ts';
import { AsyncMutex } from './async-mutex.ts';
import type { InstanceEvents } from './instance-events.ts';
import { InstanceOutput, traceHeader } from './instance-output.ts';
import type { OpenFile, Read } from './nodes.ts';
import { SKIPPED_AT_ONCE } from './pipe-waiter.ts';
import type { TraceOptions } from './trace-options.ts';
import type { TraceRemote } from './trace-remote.ts';

/** How much text is made before other requests get their turn. */
const PIECE_SIZE = 64 * KIB;
/** More than a line takes. */
const LINE_SIZE = KIB;

/** What the file shows, and how. */
export interface TraceFileStyle {
  readonly events: InstanceEvents;
  readonly options: TraceOptions;
}

/**
 * An instance's open `trace`: all that waited to be read when it was opened, of which it takes
 * nothing. The text is made as it is read, and only the last piece of it is kept. As with a
 * seq_file, a read from the start, or from before that piece, shows what there is by then.
 */
export class TraceFile implements OpenFile {
  readonly #remote: TraceRemote;
  readonly #buffer: RemoteBuffer | undefined;
  readonly #cpu: CpuFilter;
  readonly #style: TraceFileStyle;
  readonly #lock = new AsyncMutex();
  readonly #piece = new TraceSeq(PIECE_SIZE + LINE_SIZE);
  /** Where in the text the piece begins. */
  #pieceAt = 0;
  #hasRead = false;
  #output: InstanceOutput;
  #merge: Merge<RingIterator>;

  private constructor(
    remote: TraceRemote,
    buffer: RemoteBuffer | undefined,
    cpu: CpuFilter,
    style: TraceFileStyle,
  ) {
    this.#remote = remote;
    this.#buffer = buffer;
    this.#cpu = cpu;
    this.#style = style;
    this.#output = this.#newOutput();
    this.#merge = new Merge([], KERNEL_THREAD);
  }

  static async open(
    remote: TraceRemote,
    cpu: CpuFilter,
    style: TraceFileStyle,
  ): Promise<TraceFile> {
    const file = new TraceFile(remote, await remote.getReaderIfLoaded(), cpu, style);
    try {
      await file.#begin();
    } catch (error) {
      await file.release();
      throw error;
    }
    return file;
  }

  async release(): Promise<void> {
    if (this.#buffer) await this.#remote.putReader();
  }

  /** @throws ErrnoError EINTR when a signal came before there was anything to give. */
  read(read: Read): Promise<void> {
    return this.#lock.run(() => this.#read(read));
  }

  write(): void {} // Taken, and ignored.

  async #read(read: Read): Promise<void> {
    const { offset } = read;
    if (offset < this.#pieceAt || (offset === 0 && this.#hasRead)) await this.#begin();
    this.#hasRead = true;
    let interrupted = false;
    read.onInterrupt(() => {
      interrupted = true;
    });
    const text = Buffer.allocUnsafe(read.size);
    let length = 0;
    while (length < text.length && !interrupted) {
      const size = this.#copy(text.subarray(length), offset + length);
      length += size;
      if (size > 0) continue;
      if (this.#merge.oldest === undefined) break;
      this.#makeNextPiece();
      await nextTurn();
    }
    if (interrupted && length === 0) throw new ErrnoError('EINTR', 'a signal came');
    read.give(text.subarray(0, length));
  }

  #copy(to: Uint8Array, offset: number): number {
    const { bytes, length } = this.#piece;
    const start = Math.min(offset - this.#pieceAt, length);
    const text = bytes.subarray(start, Math.min(start + to.length, length));
    to.set(text);
    return text.length;
  }

  /** Looks at what there is now, and makes the header of it. */
  async #begin(): Promise<void> {
    const readers = this.#buffer?.select(this.#cpu) ?? [];
    const cpus = readers.map((reader) => ({
      cpu: reader.cpu,
      pages: reader.unreadPages(KERNEL_THREAD),
    }));
    const iterate = (): Merge<RingIterator> =>
      new Merge(
        cpus.map(({ cpu, pages }) => new RingIterator(cpu, pages)),
        KERNEL_THREAD,
      );
    const sum = (number: (of: (typeof readers)[number]) => number): number =>
      readers.reduce((total, reader) => total + number(reader), 0);
    const unread = sum((reader) => Math.max(reader.unread, 0));
    const written = sum((reader) => reader.written);
    const entries = this.#style.events.passesAll ? unread : await this.#count(iterate());
    this.#output = this.#newOutput();
    this.#merge = iterate();
    this.#pieceAt = 0;
    this.#piece.truncate(0);
    this.#piece.putString(
      traceHeader({ entries, written, cpus: cpus.length }, this.#style.options),
    );
  }

  async #count(merge: Merge<RingIterator>): Promise<number> {
    const events = this.#style.events.fromHere();
    let passed = 0;
    for (let looked = 1; merge.oldest; looked++, merge.passOver()) {
      if (events.passes(merge.oldest)) passed++;
      if (looked % SKIPPED_AT_ONCE === 0) await nextTurn();
    }
    return passed;
  }

  #makeNextPiece(): void {
    const piece = this.#piece;
    this.#pieceAt += piece.length;
    piece.truncate(0);
    for (let looked = 0; looked < SKIPPED_AT_ONCE && piece.length < PIECE_SIZE; looked++) {
      const next = this.#merge.oldest;
      if (next === undefined) return;
      const start = piece.length;
      this.#output.print(next, piece);
      if (piece.length > start) this.#merge.consume();
      else this.#merge.passOver();
    }
  }

  /** It has seen no event yet, so of no CPU it knows which vCPU is loaded. */
  #newOutput(): InstanceOutput {
    const { events, options } = this.#style;
    return new InstanceOutput(events.fromHere(), options, this.#remote.callbacks.events);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

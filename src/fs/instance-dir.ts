import { ErrnoError } from '../errno.ts';
import { type HostTask, KERNEL_THREAD } from '../host-task.ts';
import type { CpuFilter } from '../ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { Cpumask } from './cpumask.ts';
import { ErrorLog } from './error-log.ts';
import { EventFilters } from './event-filters.ts';
import { HEADER_EVENT, HEADER_PAGE } from './event-format.ts';
import { InstanceEvents } from './instance-events.ts';
import { InstanceOutput } from './instance-output.ts';
import { parseSwitch, parseULong, textOf } from './kstrto.ts';
import {
  byName,
  clearedByTruncation,
  constant,
  dir,
  type File,
  type Node,
  show,
  showStore,
  stream,
} from './nodes.ts';
import { EVENTS_MODE, perCpu, switchFile, tracingOn } from './remote-files.ts';
import { ringStats } from './ring-stats.ts';
import { SYSTEM, setEvent } from './set-event.ts';
import { TraceFile } from './trace-file.ts';
import { TraceOptions } from './trace-options.ts';
import { TEXT_PIPE_SIZE, TracePipe } from './trace-pipe.ts';
import { SPLICED_SIZE, TracePipeRaw } from './trace-pipe-raw.ts';
import type { RemoteEvent, TraceRemote } from './trace-remote.ts';

const WRITABLE = 0o640;
const READABLE = 0o440;

/**
 * The buffer of a remote as a whole instance, as the kernel's own are: what trace-cmd reads and
 * writes. hypervisor/ is another view of the same buffer; an event goes to one reader of both.
 */
export class Instance {
  readonly events: InstanceEvents;
  readonly #remote: TraceRemote;
  readonly #errors: ErrorLog;
  readonly #filters: EventFilters;
  readonly #tracingCpus: Cpumask;
  readonly #options = new TraceOptions();

  constructor(remote: TraceRemote) {
    this.#remote = remote;
    this.#errors = new ErrorLog(() => remote.callbacks.now());
    this.#filters = new EventFilters(this.#errors);
    this.#tracingCpus = new Cpumask(remote.callbacks.cpus.length);
    this.events = new InstanceEvents(remote, this.#filters, this.#tracingCpus);
  }

  /** The files that each instance has, the top level too. */
  files(): Record<string, Node> {
    const remote = this.#remote;
    const { cpus } = remote.callbacks;
    return {
      buffer_size_kb: showStore(
        async () => `${(await remote.bufferState()).sizeKb}\n`,
        (written) => remote.setBufferSizeKb(parseULong(written)),
      ),
      buffer_total_size_kb: show(async () => {
        const { sizeKb } = await remote.bufferState();
        return `${sizeKb * BigInt(cpus.length)}\n`;
      }),
      current_tracer: choice('nop'),
      error_log: this.#errorLog(),
      events: dir(this.#eventFiles(), EVENTS_MODE),
      free_buffer: this.#freeBuffer(),
      options: this.#options.each,
      per_cpu: perCpu(remote, (cpu) => ({
        stats: show(async () => ringStats(await remote.statsUntilReset(cpu))),
        trace: this.#trace(cpu),
        trace_pipe: this.#tracePipe(cpu),
        trace_pipe_raw: this.#tracePipeRaw(cpu),
      })),
      set_event: setEvent(remote),
      timestamp_mode: constant(() => '[delta] absolute\n'),
      trace: this.#trace('all'),
      trace_clock: choice('boot', '[boot]'),
      trace_options: this.#options.all,
      trace_pipe: this.#tracePipe('all'),
      tracing_cpumask: showStore(
        () => `${this.#tracingCpus}\n`,
        (written) => this.#tracingCpus.set(textOf(written)),
      ),
      tracing_on: tracingOn(remote),
    };
  }

  /** Any write is taken, and says nothing; O_TRUNC clears it. */
  #errorLog(): File {
    const errors = showStore(
      () => `${this.#errors}`,
      () => {},
    );
    return clearedByTruncation(errors, () => this.#errors.clear());
  }

  /** Its last close gives the buffer's memory back, and stops tracing if an option says so. */
  #freeBuffer(): File {
    return {
      kind: 'file',
      mode: 0o200,
      seekable: true,
      size: () => 0,
      open: ({ task }) => ({
        write: () => {},
        release: async () => {
          if (this.#options.isOn('disable_on_free')) await this.#remote.setTracing(false, task);
          await this.#remote.reset('all', task);
        },
      }),
    };
  }

  #eventFiles(): Record<string, Node> {
    const { events } = this.#remote.callbacks;
    return {
      enable: this.#enable(events),
      header_event: constant(() => HEADER_EVENT),
      header_page: constant(() => HEADER_PAGE),
      [SYSTEM]: dir(
        {
          enable: this.#enable(events),
          filter: showStore(
            () => this.#filters.systemShown,
            (written) => this.#filters.setAll(events, written),
          ),
          ...byName(
            this.events.all,
            ({ remote }) => remote.name,
            ({ id, remote: event, format }) =>
              dir(
                {
                  enable: this.#enable([event]),
                  filter: showStore(
                    () => this.#filters.shown(event),
                    (written) => this.#filters.set(event, written),
                  ),
                  format: constant(() => format),
                  id: constant(() => `${id}\n`),
                  trigger: noTriggers(),
                },
                EVENTS_MODE,
              ),
          ),
        },
        EVENTS_MODE,
      ),
    };
  }

  /** Of some events: `0`, `1`, or `X` for a mixture. */
  #enable(events: readonly RemoteEvent[]): File {
    const remote = this.#remote;
    return switchFile(
      () => remote.enabledSummary(events),
      (written, task) => {
        const on = parseSwitch(written);
        for (const event of events) remote.enableEvent(event, on, task);
      },
    );
  }

  /** For poll(2), which has no task of its own: pollers are woken from a timer too. */
  readonly #hasEvent = (reader: RemoteReader): boolean =>
    this.events.peekPassed(reader, KERNEL_THREAD);

  #tracePipe(cpu: CpuFilter): File {
    const remote = this.#remote;
    return stream(READABLE, TEXT_PIPE_SIZE, (task) =>
      TracePipe.open(remote, cpu, task, {
        output: new InstanceOutput(this.events, this.#options, remote.callbacks.events),
        hasEvent: this.#hasEvent,
        readsAhead: false, // Its filters and options may be others by then.
        ends: true,
      }),
    );
  }

  #tracePipeRaw(cpu: number): File {
    const open = (task: HostTask) =>
      TracePipeRaw.open(this.#remote, cpu, task, {
        readPage: (reader, image) => this.events.readPage(reader, image, task),
        hasEvent: this.#hasEvent,
        readsAhead: false,
        endsOnceClosed: true,
      });
    return stream(READABLE, SPLICED_SIZE, open);
  }

  /** All that waits to be read, taking none of it; O_TRUNC drops it. */
  #trace(cpu: CpuFilter): File {
    const file: File = {
      kind: 'file',
      mode: WRITABLE,
      seekable: true,
      size: () => 0,
      open: ({ reads }) =>
        reads
          ? TraceFile.open(this.#remote, cpu, { events: this.events, options: this.#options })
          : { write: () => {} },
    };
    return clearedByTruncation(file, (task) => this.#remote.reset(cpu, task));
  }
}

/** A file that offers one choice: it shows it in brackets where there could be others. */
function choice(name: string, shown = name): File {
  return showStore(
    () => `${shown}\n`,
    (written) => {
      if (textOf(written) !== name) throw new ErrnoError('EINVAL', `only ${name}`);
    },
  );
}

/** An event's triggers: none. They act when it happens, and the host does not see that. */
const noTriggers = (): File =>
  showStore(
    () => '# Available triggers:\n#\n',
    () => {
      throw new ErrnoError('EINVAL', 'no such trigger');
    },
  );

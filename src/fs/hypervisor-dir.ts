import type { CpuFilter } from '../ringbuffer/remote-buffer.ts';
import type { RemoteReader } from '../ringbuffer/remote-reader.ts';
import { eventFormat, HEADER_EVENT, HEADER_PAGE } from './event-format.ts';
import { Instance } from './instance-dir.ts';
import { formatSwitch, parseEnable, parseU8, parseULong } from './kstrto.ts';
import {
  button,
  byName,
  constant,
  type Dir,
  dir,
  type File,
  show,
  showStore,
  stream,
} from './nodes.ts';
import { EVENTS_MODE, perCpu, switchFile, tracingOn } from './remote-files.ts';
import { ringStats } from './ring-stats.ts';
import { type SimCallbacks, simDir } from './sim-dir.ts';
import { topLevelEvents, topLevelFiles } from './top-level.ts';
import { TraceOutput } from './trace-output.ts';
import { TEXT_PIPE_SIZE, TracePipe } from './trace-pipe.ts';
import { SPLICED_SIZE, TracePipeRaw } from './trace-pipe-raw.ts';
import type { RemoteEvent, TraceRemote } from './trace-remote.ts';

/** The mode that tracefs gives its root. */
const ROOT_MODE = 0o700;

/**
 * The root of the mount: hypervisor/ as the series has it, and beside it the same buffer as a
 * whole tracefs, for tools; the top level and instances/hypervisor are one.
 */
export function tracefsRoot(remote: TraceRemote, sim?: SimCallbacks): Dir {
  const instance = new Instance(remote);
  const { events, ...files } = instance.files();
  return dir(
    {
      ...files,
      ...topLevelFiles(remote, sim !== undefined),
      events: topLevelEvents(events as Dir),
      hypervisor: hypervisorDir(remote),
      instances: dir({ hypervisor: dir({ events: events as Dir, ...files }) }),
      ...(sim === undefined ? {} : { sim: simDir(sim) }),
    },
    ROOT_MODE,
  );
}

/** The hypervisor/ directory. Read it beside the output of tree(1): same order, same shape. */
function hypervisorDir(remote: TraceRemote): Dir {
  const { events } = remote.callbacks;
  return dir({
    buffer_size_kb: showStore(
      async () => {
        const { sizeKb, loaded } = await remote.bufferState();
        return `${sizeKb} (${loaded ? 'loaded' : 'unloaded'})\n`;
      },
      (written) => remote.setBufferSizeKb(parseULong(written)),
    ),
    events: dir(
      {
        enable: switchFile(
          () => remote.enabledSummary(events),
          (written, task) => remote.enableAllEvents(parseU8(written) !== 0, task),
        ),
        header_event: constant(() => HEADER_EVENT),
        header_page: constant(() => HEADER_PAGE),
        // Directories only: scripts loop over events/hypervisor/*.
        hypervisor: dir(
          byName(events, nameOf, (event) => eventDir(remote, event)),
          EVENTS_MODE,
        ),
      },
      EVENTS_MODE,
    ),
    per_cpu: perCpu(remote, (cpu) => ({
      stats: show(async () => ringStats(await remote.stats(cpu))),
      trace: traceFile(remote, cpu, 0o440),
      trace_pipe: tracePipe(remote, cpu, 0o440),
      trace_pipe_raw: stream(0o440, SPLICED_SIZE, (task) =>
        TracePipeRaw.open(remote, cpu, task, {
          readPage: (reader, image) => reader.readPage(image, task),
          hasEvent,
          readsAhead: true,
          endsOnceClosed: false,
        }),
      ),
    })),
    selftest_event: button(0o640, (task) => remote.callbacks.writeSelftestEvent(task), {
      mayOpenToRead: true,
    }),
    trace: traceFile(remote, 'all', 0o640),
    trace_clock: constant(() => '[boot]\n'),
    trace_pipe: tracePipe(remote, 'all', 0o640),
    tracing_on: tracingOn(remote),
  });
}

/** Not a way to read the buffer, only to reset it. */
const traceFile = (remote: TraceRemote, cpu: CpuFilter, mode: number): File =>
  button(mode, (task) => remote.reset(cpu, task), { mayOpenToRead: false });

const hasEvent = (reader: RemoteReader): boolean => reader.poll();

const tracePipe = (remote: TraceRemote, cpu: CpuFilter, mode: number): File =>
  stream(mode, TEXT_PIPE_SIZE, (task) =>
    TracePipe.open(remote, cpu, task, {
      output: new TraceOutput(remote.callbacks.events),
      hasEvent,
      readsAhead: true,
      ends: false,
    }),
  );

const nameOf = (event: RemoteEvent): string => event.name;

function eventDir(remote: TraceRemote, event: RemoteEvent): Dir {
  return dir(
    {
      enable: switchFile(
        () => formatSwitch(remote.isEnabled(event)),
        (written, task) => remote.enableEvent(event, parseEnable(written), task),
      ),
      format: constant(() => eventFormat(event)),
      id: constant(() => `${event.id}\n`),
    },
    EVENTS_MODE,
  );
}

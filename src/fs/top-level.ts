import { eventFormat, FULL_COMMON } from './event-format.ts';
import { constant, type Dir, dir, type Node, show } from './nodes.ts';
import { readme } from './readme.ts';
import { EVENTS_MODE } from './remote-files.ts';
import type { RemoteEvent, TraceRemote } from './trace-remote.ts';

/** The files that only the top level of a tracefs has. */
export function topLevelFiles({ callbacks }: TraceRemote, hasSim: boolean): Record<string, Node> {
  const { events } = callbacks;
  return {
    README: constant(() => readme(hasSim)),
    available_events: constant(() => events.map(({ name }) => `hypervisor:${name}\n`).join('')),
    available_tracers: constant(() => 'nop\n'),
    printk_formats: constant(() => ''),
    saved_cmdlines: show(() =>
      callbacks
        .vcpus()
        .map((pid) => `${pid} ${callbacks.vcpuName(pid)}\n`)
        .join(''),
    ),
  };
}

/** The kernel's own event of a trace_marker: tools want one of ftrace's to be there. */
const PRINT: RemoteEvent = {
  name: 'print',
  id: 5,
  fields: [
    { type: 'unsigned long', name: 'ip', offset: 2, size: 8, signed: false },
    { type: 'char', name: 'buf[]', offset: 10, size: 0, signed: false },
  ],
  printFmt: '"%ps: %s", (void *)REC->ip, REC->buf',
  values: () => [],
  print: () => {},
};

export const topLevelEvents = ({ children, mode }: Dir): Dir =>
  dir(
    {
      ...children,
      ftrace: dir(
        { print: dir({ format: constant(() => eventFormat(PRINT, FULL_COMMON)) }, EVENTS_MODE) },
        EVENTS_MODE,
      ),
    },
    mode,
  );

import { ErrnoError } from '../errno.ts';
import type { HostTask } from '../host-task.ts';
import { clearedByTruncation, type File, show } from './nodes.ts';
import type { RemoteEvent, TraceRemote } from './trace-remote.ts';

/** The system that all events of the remote belong to. */
export const SYSTEM = 'hypervisor';

/**
 * set_event: shows the enabled events. What is written enables one event or several, or disables
 * them with a `!` before; opened with O_TRUNC, it disables all first.
 */
export function setEvent(remote: TraceRemote): File {
  const { events } = remote.callbacks;
  const enabled = show(() =>
    events
      .filter((event) => remote.isEnabled(event))
      .map(({ name }) => `${SYSTEM}:${name}\n`)
      .join(''),
  );
  const file: File = {
    ...enabled,
    mode: 0o640,
    open: async (how) => ({
      ...(await enabled.open(how)),
      writeSome: (data, io) => takeWord(remote, data, io.task),
    }),
  };
  return clearedByTruncation(file, (task) => remote.enableAllEvents(false, task));
}

/** Takes one word of a write(2), as the kernel does; who writes more, such as echo, writes again. */
function takeWord(remote: TraceRemote, data: Uint8Array, task: HostTask): number {
  const text = Buffer.from(data).toString('latin1');
  const [taken = '', word = ''] = /^\s*(\S*)\s?/.exec(text) ?? [];
  if (word !== '') setEvents(remote, word, task);
  return taken.length;
}

function setEvents(remote: TraceRemote, word: string, task: HostTask): void {
  const on = !word.startsWith('!');
  const selected = select(on ? word : word.slice(1), remote.callbacks.events);
  if (selected.length === 0) throw new ErrnoError('EINVAL', `no such event: ${word}`);
  for (const event of selected) remote.enableEvent(event, on, task);
}

/** The events of `system:event`, of which either may be `*` or nothing, or of one name for either. */
function select(word: string, events: readonly RemoteEvent[]): readonly RemoteEvent[] {
  const colon = word.indexOf(':');
  if (colon === -1) return events.filter(({ name }) => word === name || word === SYSTEM);
  const matches = (pattern: string, name: string): boolean => ['', '*', name].includes(pattern);
  if (!matches(word.slice(0, colon), SYSTEM)) return [];
  return events.filter(({ name }) => matches(word.slice(colon + 1), name));
}

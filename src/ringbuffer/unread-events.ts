import type { HostTask } from '../host-task.ts';
import { PAGE_SIZE } from '../units.ts';
import { PAGE_DATA } from './buffer-page.ts';
import { getPageImage, pageEvents } from './page-image.ts';
import type { RemoteReader } from './remote-reader.ts';
import { SharedMemory } from './shared-memory.ts';

/** An event that nobody has taken yet, in a copy of its page that nobody changes any more. */
export interface UnreadEvent {
  readonly cpu: number;
  readonly ts: number;
  readonly lostEvents: number;
  readonly memory: SharedMemory;
  /** Where in it the payload is. */
  readonly payload: number;
}

/**
 * Copies all unread events, and takes none. In the order of their times, the lowest CPU first at
 * a tie.
 */
export function copyUnread(readers: readonly RemoteReader[], task: HostTask): UnreadEvent[] {
  const pages = readers.flatMap((reader) =>
    reader.copyUnreadPages(task).map((image) => ({ cpu: reader.cpu, image })),
  );
  const memory = new SharedMemory(new SharedArrayBuffer(pages.length * PAGE_SIZE));
  const events = pages.flatMap(({ cpu, image }, index) => {
    memory.bytes.set(image, index * PAGE_SIZE);
    return [...pageEvents(getPageImage(image))].map(({ ts, at }) => ({
      cpu,
      ts,
      lostEvents: 0,
      memory,
      payload: index * PAGE_SIZE + PAGE_DATA + at,
    }));
  });
  return events.sort((a, b) => a.ts - b.ts || a.cpu - b.cpu);
}

import { existsSync, mkdirSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KERNEL_THREAD } from '../host-task.ts';
import { hypEventIndex } from '../hypervisor-sim/hyp-events.ts';
import { getPageImage, pageEvents } from '../ringbuffer/page-image.ts';
import type { RemoteBuffer } from '../ringbuffer/remote-buffer.ts';
import { PAGE_SIZE } from '../units.ts';
import { OutputFile } from './output-file.ts';
import type { TraceSink } from './run.ts';

/** More than fit on a page: as long as so many wait, a page is taken whole. */
const EVENTS_OF_A_PAGE = 512;

/** The pages of each CPU's ring, one after the other as trace_pipe_raw gives them: DIR/cpuN. */
export class RawSink implements TraceSink {
  readonly #files: OutputFile[] = [];
  readonly #page = new Uint8Array(PAGE_SIZE);

  constructor(dir: string, nrCpus: number, force = false) {
    makeDirs(dir);
    try {
      for (let cpu = 0; cpu < nrCpus; cpu++)
        this.#files.push(new OutputFile(join(dir, `cpu${cpu}`), { isOurs: startsWithPage, force }));
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  drain(buffer: RemoteBuffer, settledNs: number): void {
    const keep = settledNs === Number.POSITIVE_INFINITY ? 0 : EVENTS_OF_A_PAGE;
    buffer.poll();
    for (const reader of buffer.readers) {
      const file = this.#files[reader.cpu];
      while (reader.unread > keep && reader.readPage(this.#page, KERNEL_THREAD))
        file?.write(this.#page);
    }
  }

  close(): void {
    for (const file of this.#files) file.close();
  }

  discard(): void {
    for (const file of this.#files) file.discard();
  }
}

/** As mkdir -p does; Node's own never ends below /proc. */
function makeDirs(dir: string): void {
  if (existsSync(dir)) return;
  if (dirname(dir) !== dir) makeDirs(dirname(dir));
  mkdirSync(dir);
}

/** Whether a file has whole pages, and the first one is a page of the hypervisor's events. */
function startsWithPage(fd: number, size: number): boolean {
  const page = new Uint8Array(PAGE_SIZE);
  if (size % PAGE_SIZE !== 0 || readSync(fd, page) < PAGE_SIZE) return false;
  try {
    const image = getPageImage(page);
    const data = new DataView(image.data.buffer, image.data.byteOffset, image.data.length);
    const ids = Array.from(pageEvents(image), ({ at }) => data.getUint16(at, true));
    return ids.length > 0 && ids.every((id) => hypEventIndex(id) !== undefined);
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

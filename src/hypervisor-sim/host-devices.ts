import type { SharedMemory } from '../ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../units.ts';
import { TICKET_LOCK_SIZE, TicketLock } from './ticket-lock.ts';

/** The machine's devices, in physical addresses: 1 MiB of registers. */
export const DEVICE_BASE = 0x0900_0000;
export const NR_DEVICE_PAGES = 256;

/** How many of them the host's stage-2 has tables for. */
const MAX_MAPPED = 32;

/** A lock, how many pages are mapped, and a bit for each page. */
const MAPPED = TICKET_LOCK_SIZE;
const BITS = MAPPED + 8;
export const HOST_DEVICES_SIZE = BITS + NR_DEVICE_PAGES / 8;

/** The page of a device at a physical address; undefined where no device is. */
export function devicePageOf(phys: number): number | undefined {
  const page = Math.floor((phys - DEVICE_BASE) / PAGE_SIZE);
  return page >= 0 && page < NR_DEVICE_PAGES ? page : undefined;
}

/**
 * Which devices the host's stage-2 maps. Memory for tables is limited; when it runs out, all
 * devices are unmapped at once and mapped anew as they are used: host_stage2_unmap_dev_all().
 */
export class HostDevices {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #lock: TicketLock;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
    this.#lock = new TicketLock(memory, at);
  }

  isMapped(page: number): boolean {
    return (this.#memory.load(this.#wordOf(page)) & bitOf(page)) !== 0;
  }

  map(page: number): void {
    this.#lock.with(() => {
      if (this.isMapped(page)) return;
      if (this.#memory.load(this.#at + MAPPED) === MAX_MAPPED) this.#unmapAll();
      const word = this.#wordOf(page);
      this.#memory.store(word, this.#memory.load(word) | bitOf(page));
      this.#memory.add(this.#at + MAPPED, 1);
    });
  }

  #unmapAll(): void {
    for (let page = 0; page < NR_DEVICE_PAGES; page += 32)
      this.#memory.store(this.#wordOf(page), 0);
    this.#memory.store(this.#at + MAPPED, 0);
  }

  #wordOf(page: number): number {
    return this.#at + BITS + 4 * Math.floor(page / 32);
  }
}

const bitOf = (page: number): number => 1 << (page % 32);

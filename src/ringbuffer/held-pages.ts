import { PAGE_SIZE } from '../units.ts';
import { PAGE_DATA, pageCommit, pageTimeStamp } from './buffer-page.ts';
import { SharedMemory } from './shared-memory.ts';

/** As many copies as a read of 128 KiB takes pages, and the one that it begins on. */
const CAPACITY = 33;

/** Where a page is: in the ring's memory, or in that of the copies. */
export interface HeldPage {
  readonly memory: SharedMemory;
  readonly page: number;
  /** How many events were lost before it. */
  readonly lost: number;
}

export const commitOf = ({ memory, page }: HeldPage): number => pageCommit(memory, page);
export const stampOf = ({ memory, page }: HeldPage): number => pageTimeStamp(memory, page);

/**
 * The pages that a reader has taken out of the ring: the reader page, and before it copies of those
 * that a look ahead has given back to the ring although nobody had taken their events.
 */
export class HeldPages {
  /** Which of them is read from: the first, but while looking ahead. */
  at = 0;
  /** Counted up when pages go, and by each look ahead: a place on one of them is good in its era only. */
  era = 0;
  readonly #pages: HeldPage[];
  #copies: SharedMemory | undefined;
  readonly #free: number[] = [];

  constructor(readerPage: HeldPage) {
    this.#pages = [readerPage];
  }

  /** Oldest first. */
  get all(): readonly HeldPage[] {
    return this.#pages;
  }

  get current(): HeldPage {
    return this.#pages[this.at] as HeldPage;
  }

  get readerPage(): HeldPage {
    return this.#pages.at(-1) as HeldPage;
  }

  /** Whether there is none after the current one. */
  get atReaderPage(): boolean {
    return this.at === this.#pages.length - 1;
  }

  /** Copies the reader page, which its writer has left. Undefined when there is no room. */
  copyReaderPage(): HeldPage | undefined {
    const copies = this.#copiesMemory();
    const at = this.#free.pop();
    if (at === undefined) return undefined;
    const { memory, page, lost } = this.readerPage;
    copies.bytes.set(memory.bytes.subarray(page, page + PAGE_DATA + pageCommit(memory, page)), at);
    return { memory: copies, page: at, lost };
  }

  #copiesMemory(): SharedMemory {
    if (this.#copies) return this.#copies;
    this.#copies = new SharedMemory(new SharedArrayBuffer(CAPACITY * PAGE_SIZE));
    for (let index = 0; index < CAPACITY; index++) this.#free.push(index * PAGE_SIZE);
    return this.#copies;
  }

  /** The ring has given a new reader page for the last; of that, `copy` stays if there is one. */
  swapped(readerPage: HeldPage, copy?: HeldPage): void {
    if (copy) this.#pages[this.#pages.length - 1] = copy;
    this.#pages.push(readerPage);
  }

  /** Lets the pages before the current one go. */
  dropRead(): void {
    for (const page of this.#pages.splice(0, this.at)) this.drop(page);
    this.at = 0;
    this.era++;
  }

  /** Lets all go but the reader page. */
  dropCopies(): void {
    this.at = this.#pages.length - 1;
    this.dropRead();
  }

  /** A copy is not needed any more. */
  drop({ memory, page }: HeldPage): void {
    if (memory === this.#copies) this.#free.push(page);
  }
}

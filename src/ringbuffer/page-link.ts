import { assert } from '../assert.ts';
import { ErrnoError } from '../errno.ts';
import type { SharedMemory } from './shared-memory.ts';

/**
 * What the ring keeps about each of its pages, out of the host's sight: the kernel's struct
 * hyp_buffer_page. Records stand in an array; a page's index in it is the page's id.
 *
 *       0 u32 link    16 u64 page     24 u32 write      32 u32 id
 *       8 u32 prev                    28 u32 entries    (48 in all)
 *
 * The links make the ring. A link is one word, so that both sides can change it in one step:
 *
 *      31       22 21                          2 1    0
 *      +----------+-----------------------------+------+
 *      | turn     | id of the next page         | kind |
 *      +----------+-----------------------------+------+
 *
 * Invariant: outside moveTail and swapReaderPage exactly one link of the ring is HEAD; the page
 * it points to is the oldest. The writer turns HEAD into HEAD_MOVING to push the head on, the
 * reader turns HEAD into NORMAL to take the head out. Both do it with one compare-exchange on
 * the same word, so one of them wins and the other starts again. The writer counts `turn` up each
 * time that it moves the head: a head that came back to where it was is not the same head.
 */
export const NORMAL = 0;
export const HEAD = 1;
export const HEAD_MOVING = 2;
export type LinkKind = typeof NORMAL | typeof HEAD | typeof HEAD_MOVING;

export const BPAGE_SIZE = 48;
const LINK = 0;
const PREV = 8;
/** Where the data page is. */
export const BPAGE_PAGE = 16;
/** The writer's own: bytes of data in use and how many events, the one being written included. */
export const BPAGE_WRITE = 24;
export const BPAGE_ENTRIES = 28;
const ID = 32;

const KIND_BITS = 2;
const KIND_MASK = 2 ** KIND_BITS - 1;
const ID_BITS = 20;
const ID_MASK = 2 ** ID_BITS - 1;
const TURN_SHIFT = KIND_BITS + ID_BITS;

/** A writer that is descheduled in mid-move keeps the head away; then there is no data now. */
const HEAD_SPINS = 10_000;

const pack = (turn: number, next: number, kind: LinkKind): number =>
  (turn << TURN_SHIFT) | (next << KIND_BITS) | kind;

export const linkNext = (link: number): number => (link >>> KIND_BITS) & ID_MASK;
export const linkTurn = (link: number): number => link >>> TURN_SHIFT;
export const linkKind = (link: number): LinkKind => (link & KIND_MASK) as LinkKind;

/** Where the record of a page is, of those that start at `base`. */
export const bpageAt = (base: number, id: number): number => base + id * BPAGE_SIZE;

/** The records of one ring, as a view; `base` is where the record of page 0 starts. */
export class BufferPages {
  readonly #memory: SharedMemory;
  readonly #base: number;

  constructor(memory: SharedMemory, base: number) {
    this.#memory = memory;
    this.#base = base;
  }

  init(id: number, page: number): void {
    assert(id <= ID_MASK, 'a link has room for the id');
    this.#memory.view.setUint32(this.#at(id, ID), id, true);
    this.#memory.view.setUint32(this.#at(id, BPAGE_PAGE), page, true);
    this.clear(id);
  }

  /** Where the page's data page is. */
  page(id: number): number {
    return this.#memory.own(this.#at(id, BPAGE_PAGE));
  }

  link(id: number): number {
    return this.#memory.load(this.#at(id, LINK));
  }

  next(id: number): number {
    return linkNext(this.link(id));
  }

  kind(id: number): LinkKind {
    return linkKind(this.link(id));
  }

  setLink(id: number, next: number, kind: LinkKind, turn = 0): void {
    this.#memory.store(this.#at(id, LINK), pack(turn, next, kind));
  }

  /** Takes the HEAD mark off `id`'s link. False when `link` had none or has changed since. */
  tryUnsetHead(id: number, link: number, next: number, kind: LinkKind): boolean {
    if (linkKind(link) !== HEAD) return false;
    return this.#memory.compareExchange(this.#at(id, LINK), link, pack(0, next, kind));
  }

  /** Reader's side only; the writer never goes backwards. */
  prev(id: number): number {
    return this.#memory.load(this.#at(id, PREV));
  }

  setPrev(id: number, prev: number): void {
    this.#memory.store(this.#at(id, PREV), prev);
  }

  entries(id: number): number {
    return this.#memory.own(this.#at(id, BPAGE_ENTRIES));
  }

  /**
   * Reader's side only. Runs after the writer, from page `from` on, until a link of a ring of
   * `nrPages` says HEAD. @throws ErrnoError EBUSY when none did.
   */
  findHead(from: number, nrPages: number): number {
    let head = from;
    let spins = HEAD_SPINS;
    for (let step = 0; step < 2 * nrPages; step++) {
      let kind = this.kind(this.prev(head));
      while (kind === HEAD_MOVING && spins-- > 0) kind = this.kind(this.prev(head));
      if (kind === HEAD) return head;
      head = this.next(head);
    }
    throw new ErrnoError('EBUSY', 'no head page in the ring');
  }

  clear(id: number): void {
    this.#memory.view.setUint32(this.#at(id, BPAGE_WRITE), 0, true);
    this.#memory.view.setUint32(this.#at(id, BPAGE_ENTRIES), 0, true);
  }

  #at(id: number, field: number): number {
    return bpageAt(this.#base, id) + field;
  }
}

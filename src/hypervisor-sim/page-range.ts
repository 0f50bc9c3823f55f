import { PAGE_SIZE } from '../units.ts';

/** Pages, as a first one and how many. */
export interface PageRange {
  readonly first: number;
  readonly nrPages: number;
}

/** The pages from an offset into RAM on. */
export const rangeOf = (at: number, nrPages: number): PageRange => ({
  first: at / PAGE_SIZE,
  nrPages,
});

import { assert } from '../assert.ts';
import { PAGE_SIZE } from '../units.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { PageOwnership } from './page-ownership.ts';
import {
  guestIpaPageOf,
  guestSlotOf,
  NOPAGE,
  OWNED,
  PARTIES,
  PENDING,
  packGuest,
  pinsOf,
  SHARED_BORROWED,
  SHARED_OWNED,
  stateOf,
} from './page-state.ts';

/** How many pages are whose, and how many of them are lent, pinned or waiting for the host. */
export interface OwnershipCount {
  readonly host: number;
  readonly hyp: number;
  readonly guest: number;
  readonly shared: number;
  readonly pending: number;
  readonly pinned: number;
}

export function countPages(ownership: PageOwnership): OwnershipCount {
  const count = { host: 0, hyp: 0, guest: 0, shared: 0, pending: 0, pinned: 0 };
  ownership.forEach((_, word) => {
    const owner = PARTIES.find((party) => isOwner(word, party));
    if (owner && owner !== 'ffa') count[owner]++;
    if (PARTIES.some((party) => stateOf(word, party) === SHARED_OWNED)) count.shared++;
    if ((word & PENDING) !== 0) count.pending++;
    if (pinsOf(word) > 0) count.pinned++;
  });
  return count;
}

/**
 * Walks all that the hypervisor knows of memory and asserts that it fits together: each page has
 * one owner, each lender one borrower, and the guests' stage-2 tables say the same as the table
 * of pages. Nobody may change anything meanwhile.
 */
export function walkOwnership(hypervisor: Hypervisor): OwnershipCount {
  const { ownership } = hypervisor.machine;
  const guests = new Map<number, number>(); // Where each guest's page should be, by the page.
  ownership.forEach((page, word, guest) => {
    checkPage(page, word);
    if (stateOf(word, 'guest') !== NOPAGE) guests.set(page, guest);
    else assert(guest === 0, `page ${page} is in no guest`);
  });
  checkStage2(hypervisor, guests);
  return countPages(ownership);
}

const isOwner = (word: number, party: (typeof PARTIES)[number]): boolean =>
  stateOf(word, party) === OWNED || stateOf(word, party) === SHARED_OWNED;

function checkPage(page: number, word: number): void {
  const number = (state: number): number =>
    PARTIES.filter((party) => stateOf(word, party) === state).length;
  const owners = number(OWNED) + number(SHARED_OWNED);
  const pending = (word & PENDING) !== 0;
  assert(owners === (pending ? 0 : 1), `page ${page} has one owner, or waits to be reclaimed`);
  assert(number(SHARED_BORROWED) === number(SHARED_OWNED), `page ${page}: a borrower a lender`);
  const pinnable = stateOf(word, 'hyp') === SHARED_BORROWED;
  assert(pinsOf(word) === 0 || pinnable, `page ${page} is pinned only while it is borrowed`);
  assert(stateOf(word, 'ffa') !== OWNED, `page ${page} is not the secure world's own`);
}

function checkStage2(hypervisor: Hypervisor, guests: Map<number, number>): void {
  const { vms } = hypervisor.cpu(0);
  for (const handle of vms.handles) {
    vms.with(handle, (vm) => {
      assert(vm.refs === 1, `nobody but this walk uses VM 0x${handle.toString(16)}`);
      vm.stage2.forEach((ipaPage, page) => {
        const where = guests.get(page);
        assert(where === packGuest(vm.slot, ipaPage), `page ${page} is where the guest maps it`);
        guests.delete(page);
      });
    });
  }
  const [lost] = guests;
  if (lost === undefined) return;
  const [page, guest] = lost;
  const ipa = guestIpaPageOf(guest) * PAGE_SIZE;
  assert(false, `VM slot ${guestSlotOf(guest)} maps page ${page} at 0x${ipa.toString(16)}`);
}

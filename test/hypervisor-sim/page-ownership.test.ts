import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ErrnoError } from '../../src/errno.ts';
import { PageOwnership } from '../../src/hypervisor-sim/page-ownership.ts';
import {
  MAX_PINS,
  NOPAGE,
  OWNED,
  PARTIES,
  type PageState,
  SHARED_BORROWED,
  SHARED_OWNED,
} from '../../src/hypervisor-sim/page-state.ts';

const PAGES = 4;
const table = (): PageOwnership => new PageOwnership(PageOwnership.allocate(PAGES));

/** 'ok', or the name of the errno. */
function outcome(change: () => unknown): string {
  try {
    change();
    return 'ok';
  } catch (error) {
    if (error instanceof ErrnoError) return error.code;
    throw error;
  }
}

/** How to bring page 0 from the host's hands into each state that there is. */
const STATES: Record<string, (pages: PageOwnership) => void> = {
  host: () => {},
  'host, shared with hyp': (pages) => pages.hostShareHyp(0, 1),
  'host, shared with hyp and pinned': (pages) => pages.hostSharePinned(0),
  'host, shared with ffa': (pages) => pages.hostShareFfa(0, 1),
  'host, shared with a guest': (pages) => pages.hostShareGuest(0, 3, 0x800),
  hyp: (pages) => pages.hostDonateHyp(0, 1),
  guest: (pages) => pages.hostDonateGuest(0, 3, 0x800),
  'guest, shared with host': (pages) => {
    pages.hostDonateGuest(0, 3, 0x800);
    pages.guestShareHost(0);
  },
  'pending reclaim': (pages) => {
    pages.hostDonateGuest(0, 3, 0x800);
    pages.releaseGuestPage(0);
  },
};
type StateName = keyof typeof STATES;

/** What each transition may start from; from anywhere else it is EPERM, but for pins: EBUSY. */
const TRANSITIONS: Record<string, { from: StateName[]; run: (pages: PageOwnership) => unknown }> = {
  hostShareHyp: { from: ['host'], run: (pages) => pages.hostShareHyp(0, 1) },
  hostUnshareHyp: { from: ['host, shared with hyp'], run: (pages) => pages.hostUnshareHyp(0, 1) },
  hostDonateHyp: { from: ['host'], run: (pages) => pages.hostDonateHyp(0, 1) },
  hypDonateHost: { from: ['hyp'], run: (pages) => pages.hypDonateHost(0, 1) },
  hostShareFfa: { from: ['host'], run: (pages) => pages.hostShareFfa(0, 1) },
  hostUnshareFfa: { from: ['host, shared with ffa'], run: (pages) => pages.hostUnshareFfa(0, 1) },
  hostDonateGuest: { from: ['host'], run: (pages) => pages.hostDonateGuest(0, 1, 0x800) },
  hostShareGuest: { from: ['host'], run: (pages) => pages.hostShareGuest(0, 1, 0x800) },
  hostUnshareGuest: {
    from: ['host, shared with a guest'],
    run: (pages) => pages.hostUnshareGuest(0),
  },
  guestShareHost: { from: ['guest'], run: (pages) => pages.guestShareHost(0) },
  guestUnshareHost: {
    from: ['guest, shared with host'],
    run: (pages) => pages.guestUnshareHost(0),
  },
  hypPinShared: {
    from: ['host, shared with hyp', 'host, shared with hyp and pinned'],
    run: (pages) => pages.hypPinShared(0),
  },
  hostReclaim: {
    from: ['pending reclaim', 'host'],
    run: (pages) => pages.hostReclaim(0, () => {}),
  },
};

const cases = Object.entries(TRANSITIONS).flatMap(([name, { from, run }]) =>
  Object.keys(STATES).map((state) => ({ name, state, run, allowed: from.includes(state) })),
);

test.each(cases)('$name of a page that is "$state"', ({ name, state, run, allowed }) => {
  const pages = table();
  STATES[state]?.(pages);
  const before = words(pages);
  const pinned = state === 'host, shared with hyp and pinned' && name === 'hostUnshareHyp';
  expect(outcome(() => run(pages))).toBe(allowed ? 'ok' : pinned ? 'EBUSY' : 'EPERM');
  if (!allowed) expect(words(pages)).toEqual(before);
  expectConsistent(pages);
});

const words = (pages: PageOwnership): number[] => {
  const all: number[] = [];
  pages.forEach((_, word, guest) => {
    all.push(word, guest);
  });
  return all;
};

function expectConsistent(pages: PageOwnership): void {
  for (let page = 0; page < PAGES; page++) {
    const states = PARTIES.map((party) => pages.state(page, party));
    const number = (state: PageState): number => states.filter((each) => each === state).length;
    expect(number(OWNED) + number(SHARED_OWNED)).toBeLessThanOrEqual(1);
    expect(number(SHARED_BORROWED)).toBe(number(SHARED_OWNED));
  }
}

describe('a transition of several pages', () => {
  test('is all or none', () => {
    const pages = table();
    pages.hostDonateHyp(2, 1);
    expect(outcome(() => pages.hostShareHyp(0, 3))).toBe('EPERM');
    expect(pages.state(0, 'hyp')).toBe(NOPAGE);
    pages.hostShareHyp(0, 2);
    pages.hypPinShared(1);
    expect(outcome(() => pages.hostUnshareHyp(0, 2))).toBe('EBUSY');
    expect(pages.state(0, 'hyp')).toBe(SHARED_BORROWED);
  });

  test.each([
    [0, 0],
    [0, PAGES + 1],
    [PAGES, 1],
    [-1, 1],
    [0.5, 1],
    [0, Number.NaN],
    [0, 2 ** 53],
  ])('of %d and %d pages is EINVAL', (first, nrPages) => {
    expect(outcome(() => table().hostShareHyp(first, nrPages))).toBe('EINVAL');
  });
});

test('a page has only so many pins', () => {
  const pages = table();
  pages.hostShareHyp(0, 1);
  for (let pin = 0; pin < MAX_PINS; pin++) pages.hypPinShared(0);
  expect(outcome(() => pages.hypPinShared(0))).toBe('EBUSY');
  for (let pin = 0; pin < MAX_PINS; pin++) pages.hypUnpinShared(0);
  expect(() => pages.hypUnpinShared(0)).toThrow('what is unpinned was pinned');
});

describe('the host’s stage-2', () => {
  const BLOCK = 512;

  test('is mapped on demand, a block at once where all of it is the host’s', () => {
    const pages = new PageOwnership(PageOwnership.allocate(2 * BLOCK + 1));
    expect(pages.hostAccess(3)).toBe('mappable');
    expect(pages.hostMapOnDemand(3)).toEqual({ first: 0, nrPages: BLOCK });
    expect(pages.hostAccess(BLOCK - 1)).toBe('mapped');
    expect(outcome(() => pages.hostMapOnDemand(3))).toBe('EAGAIN');
    pages.hostDonateHyp(BLOCK + 7, 1);
    expect(pages.hostMapOnDemand(BLOCK + 3)).toEqual({ first: BLOCK + 3, nrPages: 1 });
    expect(pages.hostMapOnDemand(2 * BLOCK)).toEqual({ first: 2 * BLOCK, nrPages: 1 });
  });

  test('loses what the host gives away, and keeps what it lends', () => {
    const pages = table();
    pages.hostShareHyp(0, 1);
    expect(pages.hostAccess(0)).toBe('mapped');
    pages.hostDonateHyp(1, 1);
    expect(pages.hostAccess(1)).toBe('refused');
    expect(outcome(() => pages.hostMapOnDemand(1))).toBe('EPERM');
    pages.hypDonateHost(1, 1);
    expect(pages.hostAccess(1)).toBe('mappable');
    pages.hostDonateGuest(2, 0, 0x800);
    expect(pages.hostAccess(2)).toBe('refused');
    pages.guestShareHost(2);
    expect(pages.hostAccess(2)).toBe('mapped');
    pages.guestUnshareHost(2);
    expect(pages.hostAccess(2)).toBe('refused');
  });

  test('sees a dead guest’s page wiped', () => {
    const pages = table();
    pages.hostDonateGuest(0, 0, 0x800);
    pages.releaseGuestPage(0);
    expect(pages.hostAccess(0)).toBe('refused');
    const wiped: string[] = [];
    expect(pages.hostReclaim(0, () => wiped.push(pages.hostAccess(0)))).toBe(true);
    expect(wiped).toEqual(['refused']);
    expect(pages.hostReclaim(0, () => wiped.push('again'))).toBe(false);
    expect(wiped).toHaveLength(1);
  });
});

test('no sequence of transitions leaves a page with two owners or a borrower without a lender', () => {
  const steps = Object.values(TRANSITIONS).map(({ run }) => run);
  const extra = [
    (pages: PageOwnership) => pages.hypUnpinShared(0),
    (pages: PageOwnership) => pages.hostSharePinned(0),
    (pages: PageOwnership) => pages.hostMapOnDemand(0),
  ];
  const all = [...steps, ...extra];
  fc.assert(
    fc.property(fc.array(fc.nat(all.length - 1), { maxLength: 40 }), (sequence) => {
      const pages = table();
      for (const index of sequence) {
        const [word = 0] = words(pages);
        const pinned = word >= 2 ** 16;
        if (all[index] === extra[0] && !pinned) continue;
        outcome(() => all[index]?.(pages));
        expectConsistent(pages);
      }
    }),
    { numRuns: 300 },
  );
});

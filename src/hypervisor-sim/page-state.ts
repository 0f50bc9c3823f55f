/**
 * How each party sees a page, the kernel's enum pkvm_page_state: two bits for each of them.
 *
 *      31         16 15         10   9      8    7  6 5     4 3   2 1    0
 *      +------------+-------------+-------+------+----+-------+-----+------+
 *      | pins       |             |pending|mapped|ffa | guest | hyp | host |
 *      +------------+-------------+-------+------+----+-------+-----+------+
 *
 *      mapped    the host's stage-2 tables map it, so that an access does not trap
 *      pending   it was a guest's that is dead; the host may reclaim it
 *      pins      uses by the hypervisor of a page that it borrows
 *
 * A second word says where in which guest a page is: VM slot + 1 in the upper 8 bits, the IPA's
 * page in the lower 24; 0 for none.
 */
export const OWNED = 0;
export const SHARED_OWNED = 1;
export const SHARED_BORROWED = 2;
export const NOPAGE = 3;
export type PageState = typeof OWNED | typeof SHARED_OWNED | typeof SHARED_BORROWED | typeof NOPAGE;

export const PARTIES = ['host', 'hyp', 'guest', 'ffa'] as const;
/** Who may own or borrow a page: the host, the hypervisor, a guest, or the secure world. */
export type Party = (typeof PARTIES)[number];

export const MAPPED = 2 ** 8;
export const PENDING = 2 ** 9;
export const PIN = 2 ** 16;
export const MAX_PINS = 2 ** 16 - 1;

const STATE_MASK = 3;
const SHIFT: Readonly<Record<Party, number>> = { host: 0, hyp: 2, guest: 4, ffa: 6 };

export const stateOf = (word: number, party: Party): PageState =>
  ((word >>> SHIFT[party]) & STATE_MASK) as PageState;

export const pinsOf = (word: number): number => word >>> 16;

export type States = Readonly<Partial<Record<Party, PageState>>>;

/** The word of a page with these states; parties that are not named have no access. */
export function packStates(states: States, flags = 0): number {
  return PARTIES.reduce((word, party) => word | ((states[party] ?? NOPAGE) << SHIFT[party]), flags);
}

/** All of RAM is the host's when the machine is switched on, mapped by and by. */
export const HOST_OWNED = packStates({ host: OWNED });

/** The page's guest and place in it, as the second word has it. */
export const packGuest = (slot: number, ipaPage: number): number =>
  (((slot + 1) << 24) | ipaPage) >>> 0;
export const guestSlotOf = (word: number): number => (word >>> 24) - 1;
export const guestIpaPageOf = (word: number): number => word & 0xff_ffff;

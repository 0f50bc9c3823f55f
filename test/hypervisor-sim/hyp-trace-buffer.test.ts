import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { HYP_EVENTS } from '../../src/hypervisor-sim/hyp-events.ts';
import { hypTraceDescSize, putHypTraceDesc } from '../../src/hypervisor-sim/hyp-trace-desc.ts';
import { HYPERCALLS, type HypercallName } from '../../src/hypervisor-sim/hypercalls.ts';
import { Hypervisor } from '../../src/hypervisor-sim/hypervisor.ts';
import { allocateMachine } from '../../src/hypervisor-sim/machine-memory.ts';
import { realTime } from '../../src/hypervisor-sim/machine-time.ts';
import { pfnOf, physToVirt } from '../../src/hypervisor-sim/memory.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { MIB, PAGE_SIZE } from '../../src/units.ts';

const CPUS = 2;
const PAGES = 4; // a ring's
const DESC = 0;
const BACKING = PAGE_SIZE;
const FIRST_RING = 2 * PAGE_SIZE;
const RING_SIZE = (1 + PAGES) * PAGE_SIZE;

interface RingDesc {
  cpu: number;
  meta: bigint;
  pages: bigint[];
}

interface Desc {
  backingStart: bigint;
  backingSize: bigint;
  rings: RingDesc[];
}

/** A host that does by hand, rightly or wrongly, what hyp-trace.ts does. */
class Host {
  readonly hypervisor = new Hypervisor(
    allocateMachine(CPUS, MIB),
    realTime(() => 0),
  );
  desc: Desc = {
    backingStart: physToVirt(BACKING),
    backingSize: BigInt(PAGE_SIZE),
    rings: Array.from({ length: CPUS }, (_, cpu) => this.ring(cpu)),
  };

  constructor() {
    this.share(FIRST_RING, CPUS * (1 + PAGES));
  }

  ring(cpu: number): RingDesc {
    const meta = FIRST_RING + cpu * RING_SIZE;
    const pages = Array.from({ length: PAGES }, (_, id) => physToVirt(meta + (1 + id) * PAGE_SIZE));
    return { cpu, meta: physToVirt(meta), pages };
  }

  share(at: number, nr: number): void {
    for (let page = 0; page < nr; page++)
      this.call('__pkvm_host_share_hyp', pfnOf(at + page * PAGE_SIZE), 1);
  }

  put(): void {
    putHypTraceDesc(this.hypervisor.machine.ram.view, DESC, this.desc);
  }

  load(va = physToVirt(DESC), size: bigint | number = PAGE_SIZE): string {
    return this.call('__pkvm_load_tracing', va, size);
  }

  /** '0', or the name of the errno. */
  call(name: HypercallName, ...args: (number | bigint)[]): string {
    const { x0, x1 } = this.hypervisor.hvc(0, HYPERCALLS[name].id, ...args);
    expect(x0).toBe(0);
    return x1 === 0 ? '0' : errnoName(-x1);
  }

  get owned() {
    return walkOwnership(this.hypervisor);
  }
}

const errnoName = (number: number): string =>
  Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `${number}`;

describe('__pkvm_load_tracing', () => {
  test('takes a descriptor, pins what it names, and gives the descriptor back', () => {
    const host = new Host();
    host.put();
    expect(host.load()).toBe('0');
    expect(host.owned).toMatchObject({ hyp: 1, pinned: 10 }); // hyp: the backing
    expect(host.call('__pkvm_teardown_tracing')).toBe('0');
    expect(host.owned).toMatchObject({ hyp: 0, pinned: 0 });
    expect(host.call('__pkvm_teardown_tracing')).toBe('0');
  });

  test('takes an empty list of CPUs, which cannot be enabled', () => {
    const host = new Host();
    host.desc.rings = [];
    host.put();
    expect(host.load()).toBe('0');
    expect(host.call('__pkvm_enable_tracing', 1)).toBe('EINVAL');
    expect(host.call('__pkvm_enable_tracing', 0)).toBe('0');
  });

  type Change = (host: Host) => void;
  const desc =
    (change: Partial<Desc>): Change =>
    (host) => {
      host.desc = { ...host.desc, ...change };
    };
  const secondRing =
    (change: (ring: RingDesc) => Partial<RingDesc>): Change =>
    (host) => {
      const [first, second] = host.desc.rings as [RingDesc, RingDesc];
      host.desc = { ...host.desc, rings: [first, { ...second, ...change(second) }] };
    };
  const secondPage = (va: bigint): Change =>
    secondRing(({ pages: [first = 0n, , ...others] }) => ({ pages: [first, va, ...others] }));
  const NOT_SHARED = physToVirt(50 * PAGE_SIZE);
  const nothing: Change = () => {};
  const load: (host: Host) => string = (host) => host.load();

  const refused: [why: string, errno: string, Change, load: (host: Host) => string][] = [
    ['a size of 0', 'EINVAL', nothing, (host) => host.load(undefined, 0)],
    ['a size of not whole pages', 'EINVAL', nothing, (host) => host.load(undefined, 100)],
    ['an address within a page', 'EINVAL', nothing, (host) => host.load(physToVirt(8))],
    ['an address outside of RAM', 'EINVAL', nothing, (host) => host.load(0n)],
    ['a size beyond RAM', 'EINVAL', nothing, (host) => host.load(undefined, 2n ** 63n)],
    ['a descriptor that it was not given', 'EPERM', (host) => host.share(DESC, 1), load],
    ['a backing within a page', 'EINVAL', desc({ backingStart: physToVirt(BACKING + 8) }), load],
    ['a backing of not whole pages', 'EINVAL', desc({ backingSize: 4_000n }), load],
    ['a backing that is too small', 'EINVAL', desc({ backingSize: 0n }), load],
    ['a backing that is shared', 'EPERM', (host) => host.share(BACKING, 1), load],
    ['a backing outside of RAM', 'EINVAL', desc({ backingStart: 4_096n }), load],
    ['a CPU that is not', 'EINVAL', secondRing(() => ({ cpu: CPUS })), load],
    ['a negative CPU', 'EINVAL', secondRing(() => ({ cpu: -1 })), load],
    ['a CPU twice', 'EBUSY', secondRing(() => ({ cpu: 0 })), load],
    ['too few pages', 'EINVAL', secondRing(({ pages }) => ({ pages: pages.slice(2) })), load],
    ['a page within a page', 'EINVAL', secondPage(physToVirt(FIRST_RING + 8)), load],
    ['a page that is not shared', 'EPERM', secondPage(NOT_SHARED), load],
    ['a page outside of RAM', 'EINVAL', secondPage(2n ** 64n - 4_096n), load],
    ['a meta page that is not shared', 'EPERM', secondRing(() => ({ meta: NOT_SHARED })), load],
  ];

  test.each(refused)('refuses %s: %s, and changes nothing', (_why, errno, change, tryLoad) => {
    const host = new Host();
    change(host);
    host.put();
    const before = host.owned;
    expect(tryLoad(host)).toBe(errno);
    expect(host.owned).toEqual(before);
    expect(host.call('__pkvm_swap_reader_tracing', 0)).toBe('ENODEV');
  });

  test('refuses a record that leaves the descriptor, by its length or by how many there are', () => {
    for (const [field, value] of [
      [16, 1_000], // nr_cpus
      [24, 100_000], // nr_page_va
      [24, -1],
    ] as const) {
      const host = new Host();
      host.put();
      host.hypervisor.machine.ram.view.setInt32(DESC + field, value, true);
      expect(host.load()).toBe('EINVAL');
    }
    expect(hypTraceDescSize(2, 5)).toBe(20 + 2 * (16 + 8 * 5));
  });

  test('refuses a second buffer', () => {
    const host = new Host();
    host.put();
    host.load();
    expect(host.load()).toBe('EBUSY');
  });
});

describe('the other hypercalls of tracing', () => {
  test('want a buffer', () => {
    const host = new Host();
    expect(host.call('__pkvm_enable_tracing', 1)).toBe('EINVAL');
    expect(host.call('__pkvm_enable_tracing', 0)).toBe('0');
    expect(host.call('__pkvm_swap_reader_tracing', 0)).toBe('ENODEV');
    expect(host.call('__pkvm_reset_tracing', 0)).toBe('ENODEV');
  });

  test('want a CPU that is, and an event that is', () => {
    const host = new Host();
    host.put();
    host.load();
    expect(host.call('__pkvm_swap_reader_tracing', CPUS)).toBe('EINVAL');
    expect(host.call('__pkvm_reset_tracing', 2 ** 32 - 1)).toBe('EINVAL');
    expect(host.call('__pkvm_enable_event', 1000, 1)).toBe('EINVAL');
    expect(host.call('__pkvm_enable_event', 1001 + HYP_EVENTS.length, 1)).toBe('EINVAL');
    expect(host.call('__pkvm_enable_event', 1001, 1)).toBe('0');
  });

  test('take any clock', () => {
    const host = new Host();
    const max = 2n ** 64n - 1n;
    expect(host.call('__pkvm_update_clock_tracing', max, max, max, max)).toBe('0');
    host.hypervisor.trace.clock.now();
  });
});

test('a hypercall that is none answers so in x0', () => {
  expect(new Host().hypervisor.hvc(0, 999)).toEqual({ x0: -1, x1: 0 });
});

describe('sharing a page with the hypervisor', () => {
  test.each([
    ['not RAM', 5, 1, 'EINVAL'],
    ['no pages', pfnOf(0), 0, 'EINVAL'],
    ['beyond RAM', pfnOf(0), MIB / PAGE_SIZE + 1, 'EINVAL'],
    ['shared already', pfnOf(FIRST_RING), 1, 'EPERM'],
    ['partly shared', pfnOf(FIRST_RING - PAGE_SIZE), 2, 'EPERM'],
  ])('%s', (_why, pfn, nr, errno) => {
    const host = new Host();
    const before = host.owned;
    expect(host.call('__pkvm_host_share_hyp', pfn, nr)).toBe(errno);
    expect(host.owned).toEqual(before);
  });

  test('cannot be undone for a page that is not shared, or in use', () => {
    const host = new Host();
    expect(host.call('__pkvm_host_unshare_hyp', pfnOf(DESC), 1)).toBe('EPERM');
    host.put();
    host.load();
    expect(host.call('__pkvm_host_unshare_hyp', pfnOf(FIRST_RING), 1)).toBe('EBUSY');
    host.call('__pkvm_teardown_tracing');
    expect(host.call('__pkvm_host_unshare_hyp', pfnOf(FIRST_RING), 1)).toBe('0');
  });
});

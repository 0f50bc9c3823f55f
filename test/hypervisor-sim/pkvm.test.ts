import { describe, expect, test } from 'vitest';
import { abortEsr, SMC_ESR, sysregEsr, WFI_ESR } from '../../src/hypervisor-sim/esr.ts';
import { GUEST_RAM, INSTRUCTION_SIZE, OP } from '../../src/hypervisor-sim/guest-program.ts';
import {
  ARM_EXCEPTION_IRQ,
  ARM_EXCEPTION_TRAP,
  EXIT_CPU_OFF,
  EXIT_CPU_ON,
  EXIT_SYSTEM_OFF,
  KVM,
  KVM_VCPU,
  MAX_VCPUS,
  PGD_PAGES,
} from '../../src/hypervisor-sim/host-structs.ts';
import { PHYS_BASE, pfnOf, physToVirt } from '../../src/hypervisor-sim/memory.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { NOPAGE, SHARED_OWNED } from '../../src/hypervisor-sim/page-state.ts';
import { GUEST_FUNCTIONS as FN } from '../../src/hypervisor-sim/smccc.ts';
import { MAX_VMS } from '../../src/hypervisor-sim/vm-table.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TestGuest } from '../support/guest.ts';
import { TracedMachine } from '../support/traced-machine.ts';

const hex = (number: number): string => `0x${number.toString(16)}`;

/** A struct kvm or kvm_vcpu, shared with the hypervisor. */
function struct(machine: TracedMachine, fields: Record<number, number>, shared = true): bigint {
  const at = machine.page();
  for (const [offset, value] of Object.entries(fields))
    machine.hypervisor.machine.ram.view.setUint32(at + Number(offset), value, true);
  if (shared) machine.call('__pkvm_host_share_hyp', pfnOf(at), 1);
  return physToVirt(at);
}

describe('__pkvm_init_vm', () => {
  const init = (
    machine: TracedMachine,
    { vcpus = 1, shared = true, state = machine.page(), pgd = machine.page(PGD_PAGES) } = {},
  ) =>
    machine.call(
      '__pkvm_init_vm',
      struct(machine, { [KVM.CREATED_VCPUS]: vcpus }, shared),
      physToVirt(state),
      physToVirt(pgd),
    );

  test('gives handles from 0x1000 up, and each one again when its VM is gone', () => {
    const machine = new TracedMachine();
    expect([init(machine), init(machine)]).toEqual([0x1000, 0x1001]);
    expect(machine.call('__pkvm_teardown_vm', 0x1000)).toBe(0);
    expect(init(machine)).toBe(0x1000);
    walkOwnership(machine.hypervisor);
  });

  test.each([
    ['a struct that is not shared', { shared: false }, 'EPERM'],
    ['no vCPUs', { vcpus: 0 }, 'EINVAL'],
    ['too many vCPUs', { vcpus: MAX_VCPUS + 1 }, 'EINVAL'],
    ['state outside of RAM', { state: 2 ** 40 }, 'EINVAL'],
    ['state within a page', { state: 8 }, 'ENOMEM'],
    ['tables within a page', { pgd: 8 }, 'ENOMEM'],
  ])('refuses %s: nothing changes', (_why, options, errno) => {
    const machine = new TracedMachine();
    const before = walkOwnership(machine.hypervisor);
    expect(init(machine, options)).toBe(errno);
    const { shared = true } = { ...options } as { shared?: boolean };
    expect(walkOwnership(machine.hypervisor)).toEqual({
      ...before,
      shared: before.shared + (shared ? 1 : 0),
    });
  });

  test('refuses pages that the host does not have all alone', () => {
    const machine = new TracedMachine();
    const pgd = machine.page(PGD_PAGES);
    machine.call('__pkvm_host_share_hyp', pfnOf(pgd + PAGE_SIZE), 1);
    expect(init(machine, { pgd })).toBe('ENOMEM');
    expect(walkOwnership(machine.hypervisor).guest).toBe(0);
  });

  test('has room for so many, and says ENOMEM to one more', () => {
    const machine = new TracedMachine({ memoryMib: 16 });
    for (let n = 0; n < MAX_VMS; n++) expect(init(machine)).toBe(0x1000 + n);
    expect(init(machine)).toBe('ENOMEM');
    walkOwnership(machine.hypervisor);
  });
});

describe('__pkvm_init_vcpu', () => {
  function vm(vcpus = 2) {
    const machine = new TracedMachine();
    const handle = machine.call(
      '__pkvm_init_vm',
      struct(machine, { [KVM.CREATED_VCPUS]: vcpus }),
      physToVirt(machine.page()),
      physToVirt(machine.page(PGD_PAGES)),
    );
    return { machine, handle: Number(handle) };
  }

  test.each([
    ['no such VM', { handle: 0x1005 }, 'ENOENT'],
    ['a handle that was never one', { handle: 3 }, 'ENOENT'],
    ['a vCPU that is not the next', { idx: 1 }, 'EINVAL'],
    ['a struct that is not shared', { shared: false }, 'EBUSY'],
    ['state within a page', { state: 16 }, 'ENOMEM'],
  ])('refuses %s: %s', (_why, options, errno) => {
    const { machine, handle } = vm();
    const changed: { handle?: number; idx?: number; shared?: boolean; state?: number } = options;
    const { idx = 0, shared = true, state = machine.page() } = changed;
    const host = struct(machine, { [KVM_VCPU.HANDLE]: handle, [KVM_VCPU.VCPU_IDX]: idx }, shared);
    const owned = walkOwnership(machine.hypervisor);
    expect(
      machine.call('__pkvm_init_vcpu', changed.handle ?? handle, host, physToVirt(state)),
    ).toBe(errno);
    expect(walkOwnership(machine.hypervisor)).toEqual(owned);
  });

  test('takes as many as the VM has, and no more', () => {
    const { machine, handle } = vm(2);
    const next = (idx: number) =>
      machine.call(
        '__pkvm_init_vcpu',
        handle,
        struct(machine, { [KVM_VCPU.HANDLE]: handle, [KVM_VCPU.VCPU_IDX]: idx }),
        physToVirt(machine.page()),
      );
    expect([next(0), next(1), next(2)]).toEqual([0, 0, 'EINVAL']);
    expect(machine.call('__pkvm_teardown_vm', handle)).toBe(0);
    expect(walkOwnership(machine.hypervisor)).toMatchObject({ guest: 0 });
  });
});

describe('a guest’s run', () => {
  test('is an exit and an enter around each stay in the guest, with the vCPU’s pid', () => {
    const guest = new TestGuest(new TracedMachine(), [
      { op: OP.SYSREG, a: 0 },
      { op: OP.WFI },
      { op: OP.WFI },
    ]);
    expect(guest.run()).toMatchObject({ code: ARM_EXCEPTION_TRAP, esr: WFI_ESR });
    expect(guest.machine.trace()).toEqual([
      '0 hyp_enter reason=hvc vcpu=0',
      '0 hyp_exit reason=eret_guest vcpu=100',
      '0 hyp_enter reason=guest_exit vcpu=100', // The system register,
      '0 hyp_exit reason=eret_guest vcpu=100',
      '0 hyp_enter reason=guest_exit vcpu=100', // and the wait.
      '0 host_hcall id=12 invalid=0',
      '0 hyp_exit reason=eret_host vcpu=0',
    ]);
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
  });

  test('ends with the time slice', () => {
    const guest = new TestGuest(new TracedMachine(), [
      { op: OP.WORK, a: 10 },
      { op: OP.LOOP, a: GUEST_RAM, b: 1_000 },
    ]);
    expect(guest.run()).toMatchObject({ code: ARM_EXCEPTION_IRQ });
    expect(guest.run()).toMatchObject({ code: ARM_EXCEPTION_IRQ });
  });

  test('waits for memory that is not there, and finds it then', () => {
    const ipa = GUEST_RAM + 16 * PAGE_SIZE;
    const guest = new TestGuest(new TracedMachine(), [
      { op: OP.STORE, a: ipa + 12, b: 77 },
      { op: OP.WFI },
    ]);
    expect(guest.run()).toMatchObject({ esr: abortEsr('write'), ipa: ipa + 12 });
    const page = guest.machine.page();
    expect(guest.give(page, ipa)).toBe(0);
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
    expect(guest.machine.hypervisor.machine.ram.view.getUint32(page + 12, true)).toBe(77);
  });

  test('is told to the host when the guest switches CPUs or itself', () => {
    const entry = GUEST_RAM + 3 * INSTRUCTION_SIZE;
    const guest = new TestGuest(
      new TracedMachine(),
      [
        { op: OP.HVC, a: FN.PSCI_CPU_ON, b: 1, c: entry },
        { op: OP.WFI },
        { op: OP.HVC, a: FN.PSCI_SYSTEM_OFF },
        { op: OP.HVC, a: FN.PSCI_CPU_OFF },
      ],
      { vcpus: 2 },
    );
    expect(guest.run(1)).toMatchObject({ x0: EXIT_CPU_OFF }); // Nobody has switched it on.
    expect(guest.run()).toMatchObject({ x0: EXIT_CPU_ON, target: 1 });
    expect(guest.run(1)).toMatchObject({ x0: EXIT_CPU_OFF });
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
    expect(guest.run()).toMatchObject({ x0: EXIT_SYSTEM_OFF });
    guest.machine.trace();
    expect(guest.run()).toMatchObject({ x0: EXIT_CPU_OFF });
    expect(guest.machine.trace().join()).not.toContain('eret_guest');
  });

  test('of a guest that does what it may not is traced, and goes on', () => {
    const guest = new TestGuest(new TracedMachine(), [
      { op: OP.ILLEGAL, a: 0x123 },
      { op: OP.SMC, a: 0 },
      { op: OP.WFI },
    ]);
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
    expect(guest.machine.trace().filter((line) => line.includes('illegal'))).toEqual([
      `0 vcpu_illegal_trap esr_el2=${sysregEsr(0x123).toString(16)}`,
      `0 vcpu_illegal_trap esr_el2=${SMC_ESR.toString(16)}`,
    ]);
  });

  test('ends for good where there are no instructions', () => {
    const guest = new TestGuest(new TracedMachine(), []);
    expect(guest.run()).toMatchObject({ x0: EXIT_CPU_OFF });
  });

  test('of no vCPU, or one that runs, is EINVAL', () => {
    const { machine, vcpus, kvm } = new TestGuest(new TracedMachine(), [{ op: OP.WFI }]);
    expect(machine.call('__kvm_vcpu_run', physToVirt(kvm))).toBe('EINVAL');
    expect(machine.call('__kvm_vcpu_run', physToVirt(machine.page()))).toBe('EINVAL');
    expect(machine.call('__kvm_vcpu_run', 0)).toBe('EINVAL');
    const { vms } = machine.hypervisor.cpu(1);
    const loaded = vms.load(physToVirt(vcpus[0] ?? 0));
    expect(machine.call('__kvm_vcpu_run', physToVirt(vcpus[0] ?? 0))).toBe('EINVAL');
    vms.put(loaded);
  });
});

describe('a protected guest', () => {
  const SHARED = GUEST_RAM + 8 * PAGE_SIZE;

  test('has memory that the host cannot touch, but for what it shares', () => {
    const { machine, ...guest } = { ...vmWith(SHARED) };
    const phys = PHYS_BASE + guest.page;
    expect(machine.hypervisor.hostAccess(0, phys, 'read')).toBe(false);
    expect(machine.trace()).toEqual([
      '0 hyp_enter reason=host_abort vcpu=0',
      `0 __hyp_printk host denied access to ${hex(phys)}`,
      `0 host_mem_abort esr=0x92000007 addr=${hex(phys)}`,
      '0 hyp_exit reason=eret_host vcpu=0',
    ]);
    guest.guest.run();
    expect(machine.hypervisor.machine.ownership.state(guest.page / PAGE_SIZE, 'guest')).toBe(
      SHARED_OWNED,
    );
    expect(machine.hypervisor.hostAccess(0, phys, 'read')).toBe(true);
    guest.guest.run();
    expect(machine.hypervisor.machine.ownership.state(guest.page / PAGE_SIZE, 'host')).toBe(NOPAGE);
    expect(machine.hypervisor.hostAccess(0, phys, 'read')).toBe(false);
    walkOwnership(machine.hypervisor);
  });

  function vmWith(ipa: number) {
    const machine = new TracedMachine();
    const guest = new TestGuest(machine, [
      { op: OP.HVC, a: FN.MEM_SHARE, b: ipa },
      { op: OP.WFI },
      { op: OP.HVC, a: FN.MEM_UNSHARE, b: ipa },
      { op: OP.WFI },
    ]);
    const page = machine.page();
    guest.give(page, ipa);
    machine.trace();
    return { machine, guest, page };
  }

  test('counts as memory to protect, from its first page to the last that is reclaimed', () => {
    const { machine, guest, page } = vmWith(SHARED);
    expect(machine.call('__pkvm_host_reclaim_page', pfnOf(page))).toBe('EPERM');
    expect(guest.teardown()).toBe(0);
    expect(machine.trace().at(-3)).toBe('0 __hyp_printk vm 0x1000 gone, 2 of its pages to reclaim');
    machine.hypervisor.machine.ram.view.setUint32(page, 0xdead, true);
    expect(machine.call('__pkvm_host_reclaim_page', pfnOf(page))).toBe(0);
    expect(machine.hypervisor.machine.ram.view.getUint32(page, true)).toBe(0); // Wiped.
    expect(machine.trace().filter((line) => /protect|smc/.test(line))).toEqual([
      '0 psci_mem_protect count=1 was=2',
    ]);
    expect(machine.call('__pkvm_host_reclaim_page', pfnOf(guest.image))).toBe(0);
    expect(machine.trace().filter((line) => /protect|smc/.test(line))).toEqual([
      '0 hyp_exit reason=smc vcpu=0', // PSCI_MEM_PROTECT: nothing to wipe any more.
      '0 hyp_enter reason=smc vcpu=0',
      '0 psci_mem_protect count=0 was=1',
    ]);
    expect(machine.call('__pkvm_host_reclaim_page', pfnOf(page))).toBe(0); // It is the host's.
  });

  test('has devices only where it said so', () => {
    const device = 0x10_000;
    const guest = new TestGuest(new TracedMachine(), [
      { op: OP.LOAD, a: device },
      { op: OP.HVC, a: FN.MMIO_GUARD_MAP, b: device },
      { op: OP.LOAD, a: device + 8 },
      { op: OP.HVC, a: FN.MMIO_GUARD_UNMAP, b: device },
      { op: OP.STORE, a: device },
      { op: OP.WFI },
    ]);
    expect(guest.run()).toMatchObject({ esr: abortEsr('read', true), ipa: device + 8 });
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
    const said = guest.machine.trace().filter((line) => line.includes('printk'));
    expect(said).toEqual(
      Array(2).fill(`0 __hyp_printk guest 0x1000 fault injected at ${hex(device)}`),
    );
  });

  test('has nothing behind its last address, whatever lies behind its tables', () => {
    // There lies the hypervisor's state of the VM, whose third word would be a guarded device.
    const guest = new TestGuest(new TracedMachine(), [
      { op: OP.LOAD, a: 0x100_2000 },
      { op: OP.LOAD, a: 0xffff_f000 },
      { op: OP.WFI },
    ]);
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
  });

  test.each([
    ['memory as a device', FN.MMIO_GUARD_MAP, GUEST_RAM],
    ['a device beyond its addresses', FN.MMIO_GUARD_MAP, 0x100_0000],
    ['a part of a page as a device', FN.MMIO_GUARD_MAP, 0x10_008],
    ['to share what it has not', FN.MEM_SHARE, GUEST_RAM + 99 * PAGE_SIZE],
    ['to share a part of a page', FN.MEM_SHARE, GUEST_RAM + 8],
    ['to share a device', FN.MEM_SHARE, 0x10_000],
    ['to take back what it did not share', FN.MEM_UNSHARE, GUEST_RAM],
    ['what there is not', 0xc600_00ff, 0],
  ])('may not ask for %s', (_what, id, ipa) => {
    const machine = new TracedMachine();
    const guest = new TestGuest(machine, [{ op: OP.HVC, a: id, b: ipa }, { op: OP.WFI }]);
    const before = walkOwnership(machine.hypervisor);
    expect(guest.run()).toMatchObject({ esr: WFI_ESR });
    expect(walkOwnership(machine.hypervisor)).toEqual(before);
  });

  test('is not lent pages, and an unprotected one is not given any', () => {
    const machine = new TracedMachine();
    const secret = new TestGuest(machine, []);
    const open = new TestGuest(machine, [], { isProtected: false });
    const page = machine.page();
    expect(secret.give(page, SHARED, false)).toBe('EPERM');
    expect(open.give(page, SHARED, true)).toBe('EPERM');
    expect(open.give(page, SHARED, false)).toBe(0);
    expect(open.give(machine.page(), SHARED, false)).toBe('EPERM'); // There is one.
    const gfn = SHARED / PAGE_SIZE;
    expect(machine.call('__pkvm_host_unshare_guest', open.handle, gfn)).toBe(0);
    expect(machine.call('__pkvm_host_unshare_guest', open.handle, gfn)).toBe('ENOENT');
    expect(machine.call('__pkvm_host_unshare_guest', secret.handle, gfn)).toBe('EPERM');
    expect(machine.call('__pkvm_host_share_guest', 0x1009, pfnOf(page), gfn)).toBe('ENOENT');
    expect(machine.call('__pkvm_host_share_guest', open.handle, pfnOf(page), 5)).toBe('EINVAL');
    expect(machine.call('__pkvm_host_share_guest', open.handle, 5, gfn)).toBe('EINVAL');
  });
});

describe('__pkvm_teardown_vm', () => {
  test('waits for nobody: EBUSY while a CPU has a vCPU loaded, ENOENT once it is gone', () => {
    const machine = new TracedMachine();
    const guest = new TestGuest(machine, [{ op: OP.WFI }]);
    const { vms } = machine.hypervisor.cpu(1);
    const loaded = vms.load(physToVirt(guest.vcpus[0] ?? 0));
    expect(guest.teardown()).toBe('EBUSY');
    vms.put(loaded);
    expect(guest.teardown()).toBe(0);
    expect(guest.teardown()).toBe('ENOENT');
  });

  test('gives everything back', () => {
    const machine = new TracedMachine();
    const before = walkOwnership(machine.hypervisor);
    const guest = new TestGuest(machine, [{ op: OP.WFI }], { vcpus: 3 });
    guest.teardown();
    machine.call('__pkvm_host_reclaim_page', pfnOf(guest.image));
    for (const at of [guest.kvm, ...guest.vcpus])
      expect(machine.call('__pkvm_host_unshare_hyp', pfnOf(at), 1)).toBe(0);
    expect(walkOwnership(machine.hypervisor)).toEqual(before);
  });
});

test('a CPU knows which vCPUs it has run, by whatever pid the host gives them', () => {
  const { pcpu } = new TracedMachine().hypervisor.cpu(0);
  for (const pid of [1_025, 1_024, 0, -5, 1_025, 2 ** 31 - 1]) pcpu.vcpu = pid;
  expect(pcpu.loadedVcpus).toEqual([1_024, 1_025, -5, 2 ** 31 - 1]);
  pcpu.vcpu = 2_048; // Has the slot of 1,024.
  expect(pcpu.loadedVcpus).toEqual([2_048, 1_025, -5, 2 ** 31 - 1]);
});

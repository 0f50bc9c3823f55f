import { describe, expect, test } from 'vitest';
import { putFfaDescriptor } from '../../src/hypervisor-sim/ffa-descriptor.ts';
import { HOST_FFA_ID, PARTITION_FFA_ID } from '../../src/hypervisor-sim/firmware.ts';
import { CpuOffError } from '../../src/hypervisor-sim/hypervisor.ts';
import { PHYS_BASE, pfnOf } from '../../src/hypervisor-sim/memory.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { rangeOf } from '../../src/hypervisor-sim/page-range.ts';
import { SHARED_BORROWED } from '../../src/hypervisor-sim/page-state.ts';
import { SMC_FUNCTIONS as FN, PSCI_POWER_DOWN } from '../../src/hypervisor-sim/smccc.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TracedMachine } from '../support/traced-machine.ts';

const AROUND_AN_SMC = ['0 hyp_exit reason=smc vcpu=0', '0 hyp_enter reason=smc vcpu=0'];
const ENTER = '0 hyp_enter reason=smc vcpu=0';
const EXIT = '0 hyp_exit reason=eret_host vcpu=0';

describe('an SMC of the host’s', () => {
  test('that is nobody’s business goes to the firmware as it is', () => {
    const machine = new TracedMachine();
    expect(machine.hypervisor.smc(0, FN.SMCCC_VERSION)?.[0]).toBe(0x10003);
    expect(machine.trace()).toEqual([
      ENTER,
      ...AROUND_AN_SMC,
      `0 host_smc id=${FN.SMCCC_VERSION} forwarded=1`,
      EXIT,
    ]);
    expect(machine.hypervisor.smc(0, 0x8400_1234)?.[0]).toBe(-1);
  });

  test('of PSCI is the relay’s', () => {
    const machine = new TracedMachine();
    expect(machine.hypervisor.smc(0, FN.PSCI_VERSION)?.[0]).toBe(0x10001);
    expect(machine.trace()).toEqual([
      ENTER,
      ...AROUND_AN_SMC,
      `0 host_smc id=${FN.PSCI_VERSION} forwarded=0`,
      EXIT,
    ]);
  });

  test('cannot switch the machine off, which nobody outside of it would like', () => {
    const machine = new TracedMachine();
    expect(machine.hypervisor.smc(0, FN.PSCI_SYSTEM_OFF)?.[0]).toBe(-1);
    expect(machine.trace()).toEqual([
      ENTER,
      `0 host_smc id=${FN.PSCI_SYSTEM_OFF} forwarded=0`,
      EXIT,
    ]);
  });
});

describe('a CPU that goes off', () => {
  test('is not the one on which the Trusted OS lives: DENIED', () => {
    const { hypervisor } = traced();
    expect(hypervisor.smc(0, FN.PSCI_MIGRATE_INFO_TYPE)?.[0]).toBe(1); // It lives on one CPU alone.
    expect(hypervisor.smc(0, FN.PSCI_CPU_OFF)?.[0]).toBe(-3);
    expect(hypervisor.isOnline(0)).toBe(true);
  });

  test('does not return; it comes up again in the hypervisor', () => {
    const { hypervisor, ...machine } = traced();
    expect(hypervisor.smc(1, FN.PSCI_CPU_OFF)).toBeUndefined();
    expect(machine.trace()).toEqual([
      '1 hyp_enter reason=smc vcpu=0',
      '1 hyp_exit reason=smc vcpu=0',
    ]);
    expect(hypervisor.isOnline(1)).toBe(false);
    expect(() => hypervisor.hvc(1, 9)).toThrow(CpuOffError);
    expect(hypervisor.smc(0, FN.PSCI_AFFINITY_INFO, 1)?.[0]).toBe(1);
    expect(hypervisor.cpuEntry(1)).toBe(false); // Nobody has told it to.

    expect(hypervisor.smc(0, FN.PSCI_CPU_ON, 1)?.[0]).toBe(0);
    expect(hypervisor.smc(0, FN.PSCI_CPU_ON, 1)?.[0]).toBe(-5);
    machine.trace();
    expect(hypervisor.cpuEntry(1)).toBe(true);
    expect(machine.trace()).toEqual([
      '1 hyp_enter reason=psci vcpu=0',
      '1 __hyp_printk cpu 1 is up',
      '1 hyp_exit reason=psci vcpu=0',
    ]);
    expect(hypervisor.smc(0, FN.PSCI_CPU_ON, 1)?.[0]).toBe(-4);
    expect(hypervisor.smc(0, FN.PSCI_CPU_ON, 9)?.[0]).toBe(-2);
    expect(hypervisor.smc(0, FN.PSCI_AFFINITY_INFO, 1)?.[0]).toBe(0);
  });

  test('has its tasks done by the next one that is on', () => {
    const { hypervisor } = traced();
    hypervisor.smc(1, FN.PSCI_CPU_OFF);
    expect(hypervisor.pcpuOf(1)).toBe(0);
    expect(hypervisor.pcpuOf(3)).toBe(0);
  });

  test('only sleeps in a suspend, and is woken by whoever needs it', () => {
    const { hypervisor, ...machine } = traced();
    expect(hypervisor.smc(1, FN.PSCI_CPU_SUSPEND, 0)?.[0]).toBe(0); // Standby: it returns.
    machine.trace();
    expect(hypervisor.smc(1, FN.PSCI_CPU_SUSPEND, PSCI_POWER_DOWN)).toBeUndefined();
    expect(hypervisor.isOnline(1)).toBe(true);
    expect(() => hypervisor.hvc(1, 9)).toThrow(CpuOffError);
    hypervisor.onTasksCpu(1, (cpu) => hypervisor.sysreg(cpu));
    expect(machine.trace().slice(-5)).toEqual([
      '1 hyp_enter reason=psci vcpu=0',
      '1 __hyp_printk cpu 1 is up',
      '1 hyp_exit reason=psci vcpu=0',
      '1 hyp_enter reason=sys vcpu=0',
      '1 hyp_exit reason=eret_host vcpu=0',
    ]);
  });
});

describe('a suspend of the system', () => {
  test('is denied while another CPU is on, and the CPU goes on where it was', () => {
    const { hypervisor, ...machine } = traced();
    expect(hypervisor.smc(0, FN.PSCI_SYSTEM_SUSPEND)?.[0]).toBe(-3);
    expect(machine.trace()).toEqual([
      ENTER,
      ...AROUND_AN_SMC,
      `0 host_smc id=${FN.PSCI_SYSTEM_SUSPEND} forwarded=0`,
      EXIT,
    ]);
    hypervisor.smc(1, FN.PSCI_CPU_SUSPEND, PSCI_POWER_DOWN); // Asleep is not off.
    expect(hypervisor.smc(0, FN.PSCI_SYSTEM_SUSPEND)?.[0]).toBe(-3);
  });

  test('powers the last CPU down, which comes back through PSCI’s entry point', () => {
    const { hypervisor, ...machine } = traced();
    hypervisor.smc(1, FN.PSCI_CPU_OFF);
    machine.trace();
    expect(hypervisor.smc(0, FN.PSCI_SYSTEM_SUSPEND)).toBeUndefined();
    expect(hypervisor.cpuEntry(0)).toBe(true);
    expect(machine.trace()).toEqual([
      ENTER,
      '0 hyp_exit reason=smc vcpu=0',
      '0 hyp_enter reason=psci vcpu=0',
      '0 __hyp_printk cpu 0 is up',
      '0 hyp_exit reason=psci vcpu=0',
    ]);
  });
});

function traced() {
  const machine = new TracedMachine();
  return { hypervisor: machine.hypervisor, trace: () => machine.trace() };
}

describe('memory for the secure world', () => {
  const share = (machine: TracedMachine, tx: number, at: number, nrPages = 2) => {
    const length = putFfaDescriptor(
      machine.hypervisor.machine.ram.view,
      tx,
      HOST_FFA_ID,
      PARTITION_FFA_ID,
      [rangeOf(at, nrPages)],
    );
    return smc(machine, FN.FFA_MEM_SHARE, length, length);
  };
  /** 'ok' and x2, or FF-A's error. */
  const smc = (machine: TracedMachine, id: number, x1 = 0, x2 = 0, x3 = 0) => {
    const [x0, , r2] = machine.hypervisor.smc(0, id, x1, x2, x3) ?? [];
    return [x0 === FN.FFA_SUCCESS ? 'ok' : 'error', r2];
  };
  const mailbox = (machine: TracedMachine): number => {
    const tx = machine.page(2);
    smc(machine, FN.FFA_RXTX_MAP, PHYS_BASE + tx, PHYS_BASE + tx + PAGE_SIZE, 1);
    return tx;
  };

  test('is shared through the proxy, and reclaimed by its handle', () => {
    const machine = new TracedMachine();
    const before = walkOwnership(machine.hypervisor);
    const tx = mailbox(machine);
    const memory = machine.page(2);
    machine.trace();
    expect(share(machine, tx, memory)).toEqual(['ok', 1]);
    expect(machine.trace()).toEqual([
      ENTER,
      ...AROUND_AN_SMC,
      `0 host_ffa_call ffa_func=${hex(FN.FFA_MEM_SHARE)} a1=0x0 a2=0x1 a3=0x0 a4=0 handled=1 err=0`,
      `0 host_smc id=${FN.FFA_MEM_SHARE} forwarded=0`,
      EXIT,
    ]);
    const { ownership } = machine.hypervisor.machine;
    expect(ownership.state(memory / PAGE_SIZE + 1, 'ffa')).toBe(SHARED_BORROWED);
    expect(machine.call('__pkvm_host_share_hyp', pfnOf(memory), 1)).toBe('EPERM');
    walkOwnership(machine.hypervisor);
    expect(smc(machine, FN.FFA_MEM_RECLAIM, 2)).toEqual(['error', -2]);
    expect(smc(machine, FN.FFA_MEM_RECLAIM, 1)).toEqual(['ok', 0]);
    expect(smc(machine, FN.FFA_MEM_RECLAIM, 1)).toEqual(['error', -2]);
    expect(smc(machine, FN.FFA_RXTX_UNMAP)).toEqual(['ok', 0]);
    expect(walkOwnership(machine.hypervisor)).toEqual(before);
  });

  test('must be the host’s: DENIED, and nothing is shared', () => {
    const machine = new TracedMachine();
    const tx = mailbox(machine);
    const memory = machine.page(2);
    machine.call('__pkvm_host_share_hyp', pfnOf(memory + PAGE_SIZE), 1);
    const before = walkOwnership(machine.hypervisor);
    expect(share(machine, tx, memory)).toEqual(['error', -6]);
    expect(share(machine, tx, -PHYS_BASE)).toEqual(['error', -6]);
    expect(walkOwnership(machine.hypervisor)).toEqual(before);
  });

  test('has room for so many shares, and says NO_MEMORY to one more', () => {
    const machine = new TracedMachine();
    const tx = mailbox(machine);
    for (let n = 0; n < 32; n++) expect(share(machine, tx, machine.page(), 1)[0]).toBe('ok');
    const before = walkOwnership(machine.hypervisor);
    expect(share(machine, tx, machine.page(), 1)).toEqual(['error', -3]);
    expect(walkOwnership(machine.hypervisor)).toEqual(before);
  });

  test.each([
    ['no mailbox', false, 64, 64],
    ['a descriptor in pieces', true, 64, 32],
    ['a descriptor that is longer than the mailbox', true, 8192, 8192],
    ['a descriptor that is too short', true, 40, 40],
  ])('is refused with %s', (_why, mapped, length, fragment) => {
    const machine = new TracedMachine();
    if (mapped) mailbox(machine);
    expect(smc(machine, FN.FFA_MEM_SHARE, length, fragment)).toEqual(['error', -2]);
  });

  test.each([
    ['twice the same page', (tx: number) => [tx, tx, 1], -2],
    ['a part of a page', (tx: number) => [tx + 8, tx + PAGE_SIZE, 1], -2],
    ['two pages', (tx: number) => [tx, tx + PAGE_SIZE, 2], -2],
    ['what is not RAM', (tx: number) => [tx, 0, 1], -2],
  ])('a mailbox of %s is refused', (_why, args, code) => {
    const machine = new TracedMachine();
    const before = walkOwnership(machine.hypervisor);
    const [tx, rx, nr] = args(PHYS_BASE + machine.page(2)) as [number, number, number];
    expect(smc(machine, FN.FFA_RXTX_MAP, tx, rx, nr)).toEqual(['error', code]);
    expect(walkOwnership(machine.hypervisor)).toEqual(before);
    expect(smc(machine, FN.FFA_RXTX_UNMAP)).toEqual(['error', -2]);
  });

  test('goes through one mailbox only, which is in use', () => {
    const machine = new TracedMachine();
    const tx = mailbox(machine);
    expect(smc(machine, FN.FFA_RXTX_MAP, PHYS_BASE, PHYS_BASE + PAGE_SIZE, 1)).toEqual([
      'error',
      -6,
    ]);
    expect(machine.call('__pkvm_host_unshare_hyp', pfnOf(tx), 1)).toBe('EBUSY');
  });

  test('is not given away, and other calls pass', () => {
    const machine = new TracedMachine();
    expect(smc(machine, FN.FFA_MEM_DONATE)).toEqual(['error', -1]);
    machine.trace();
    expect(smc(machine, FN.FFA_ID_GET)).toEqual(['ok', HOST_FFA_ID]);
    expect(machine.trace()).toEqual([
      ENTER,
      `0 host_ffa_call ffa_func=${hex(FN.FFA_ID_GET)} a1=0x0 a2=0x0 a3=0x0 a4=0 handled=0 err=0`,
      ...AROUND_AN_SMC,
      `0 host_smc id=${FN.FFA_ID_GET} forwarded=1`,
      EXIT,
    ]);
  });
});

const hex = (number: number): string => `0x${number.toString(16)}`;

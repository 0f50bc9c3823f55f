import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HYPERCALL_NAMES, HYPERCALLS } from '../../src/hypervisor-sim/hypercalls.ts';
import { CpuOffError } from '../../src/hypervisor-sim/hypervisor.ts';
import { PHYS_BASE, pfnOf, physToVirt } from '../../src/hypervisor-sim/memory.ts';
import { walkOwnership } from '../../src/hypervisor-sim/ownership-walk.ts';
import { SMC_FUNCTIONS } from '../../src/hypervisor-sim/smccc.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TracedMachine } from '../support/traced-machine.ts';

/** Few pages and few numbers, so that calls meet what earlier calls did. */
const PAGES = 12;
const FIRST = 100 * PAGE_SIZE;
const page = fc.nat(PAGES - 1).map((n) => FIRST + n * PAGE_SIZE);
const small = fc.nat(20);
const anything = fc.oneof(
  { weight: 4, arbitrary: page.map(pfnOf) },
  { weight: 4, arbitrary: page.map(physToVirt) },
  { weight: 2, arbitrary: page.map((at) => PHYS_BASE + at) },
  { weight: 2, arbitrary: fc.constantFrom(0x1000, 0x1001, 0x800, 0x801) },
  { weight: 2, arbitrary: small },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);

const CALLS = HYPERCALL_NAMES.map((name) => HYPERCALLS[name].id);
const SMCS = Object.values(SMC_FUNCTIONS);

type Action = (machine: TracedMachine) => void;

const hypercall = (ids: readonly number[]) =>
  fc
    .record({
      cpu: fc.nat(1),
      id: fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom(...ids) },
        fc.integer({ min: 64, max: 100 }),
      ),
      args: fc.array(anything, { maxLength: 4 }),
    })
    .map(
      ({ cpu, id, args }): Action =>
        ({ hypervisor }) =>
          void hypervisor.hvc(cpu, id, ...args),
    );

const smc = fc
  .record({
    cpu: fc.nat(1),
    id: fc.constantFrom(...SMCS),
    args: fc.array(anything, { maxLength: 3 }),
  })
  .map(
    ({ cpu, id, args }): Action =>
      ({ hypervisor }) => {
        const [x1 = 0, x2 = 0, x3 = 0] = args.map(Number);
        hypervisor.smc(cpu, id, x1, x2, x3);
      },
  );

/** The host scribbles into a page that it may touch: structs, descriptors, guests' programs. */
const scribble = fc
  .record({
    at: page,
    offset: fc.nat(16),
    word: fc.oneof(small, fc.integer(), fc.constant(0x1000)),
  })
  .map(
    ({ at, offset, word }): Action =>
      ({ hypervisor }) => {
        if (hypervisor.hostAccess(0, PHYS_BASE + at, 'write'))
          hypervisor.machine.ram.view.setInt32(at + 4 * offset, word, true);
      },
  );

/** A VM as it should be, of pages that there may be. */
const wellMeant = fc
  .record({
    pages: fc.uniqueArray(page, { minLength: 4, maxLength: 4 }),
    vcpus: fc.integer({ min: 1, max: 2 }),
    secret: fc.nat(1),
  })
  .map(
    ({ pages: [kvm = 0, state = 0, vcpu = 0, hyp = 0], vcpus, secret }): Action =>
      (machine) => {
        const { hypervisor } = machine;
        if (!hypervisor.hostAccess(0, PHYS_BASE + kvm, 'write')) return;
        if (!hypervisor.hostAccess(0, PHYS_BASE + vcpu, 'write')) return;
        const { view } = hypervisor.machine.ram;
        view.setUint32(kvm, vcpus, true);
        view.setUint32(kvm + 4, secret, true);
        machine.call('__pkvm_host_share_hyp', pfnOf(kvm), 1);
        machine.call('__pkvm_host_share_hyp', pfnOf(vcpu), 1);
        const pgd = physToVirt(FIRST + PAGES * PAGE_SIZE);
        const handle = machine.call('__pkvm_init_vm', physToVirt(kvm), physToVirt(state), pgd);
        if (typeof handle !== 'number') return;
        view.setUint32(vcpu, handle, true);
        view.setUint32(vcpu + 4, 0, true);
        view.setUint32(vcpu + 12, 0x80_0000, true);
        machine.call('__pkvm_init_vcpu', handle, physToVirt(vcpu), physToVirt(hyp));
        machine.call('__kvm_vcpu_run', physToVirt(vcpu));
      },
  );

const wake: Action = ({ hypervisor }) => {
  for (const cpu of [0, 1]) {
    if (!hypervisor.isOnline(cpu)) hypervisor.smc(1 - cpu, SMC_FUNCTIONS.PSCI_CPU_ON, cpu);
    hypervisor.cpuEntry(cpu);
  }
};

const actions = (ids: readonly number[]) =>
  fc.array(
    fc.oneof({ weight: 6, arbitrary: hypercall(ids) }, smc, scribble, wellMeant, fc.constant(wake)),
    { minLength: 5, maxLength: 80 },
  );

/** Does all of it, and looks at the ownership of all memory after each step. */
function run(machine: TracedMachine, steps: readonly Action[]): void {
  for (const step of steps) {
    try {
      step(machine);
    } catch (error) {
      if (!(error instanceof CpuOffError)) throw error;
    }
    walkOwnership(machine.hypervisor);
  }
}

test('nothing that a host passes breaks an invariant of the hypervisor', () => {
  fc.assert(
    fc.property(actions(CALLS), (steps) => run(new TracedMachine({ walk: false }), steps)),
    { numRuns: 300 },
  );
}, 120_000);

test('whatever a host does, each CPU’s trace alternates between enter and exit', () => {
  // What tracing's own calls do to a trace is for other tests.
  const others = CALLS.filter((id) => id < FIRST_TRACING || id > LAST_TRACING);
  fc.assert(
    fc.property(actions(others), (steps) => {
      const machine = new TracedMachine({ walk: false });
      run(machine, steps);
      expectAlternation(machine.trace());
    }),
    { numRuns: 100 },
  );
}, 120_000);

const FIRST_TRACING = HYPERCALLS.__pkvm_update_clock_tracing.id;
const LAST_TRACING = HYPERCALLS.__pkvm_selftest_event.id;

/** On each CPU, for as long as nothing was lost and nobody reset or reloaded the trace. */
function expectAlternation(lines: readonly string[]): void {
  const inside = new Map<string, boolean>();
  for (const line of lines) {
    const [, cpu = '', event = ''] = /^(\d+) (\w+)/.exec(line) ?? [];
    if (line.includes('LOST')) return;
    if (event !== 'hyp_enter' && event !== 'hyp_exit') continue;
    const entered = event === 'hyp_enter';
    if (inside.get(cpu) === entered)
      expect(lines.slice(0, lines.indexOf(line) + 1)).toEqual('alternating');
    inside.set(cpu, entered);
  }
}

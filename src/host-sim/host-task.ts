import { defined } from '../assert.ts';
import { putFfaDescriptor } from '../hypervisor-sim/ffa-descriptor.ts';
import { HOST_FFA_ID, PARTITION_FFA_ID } from '../hypervisor-sim/firmware.ts';
import { DEVICE_BASE, NR_DEVICE_PAGES } from '../hypervisor-sim/host-devices.ts';
import { IMAGE_PHYS } from '../hypervisor-sim/hyp-address-space.ts';
import { PHYS_BASE, pfnOf } from '../hypervisor-sim/memory.ts';
import { rangeOf } from '../hypervisor-sim/page-range.ts';
import { PSCI_POWER_DOWN, SMC_FUNCTIONS } from '../hypervisor-sim/smccc.ts';
import { NS_PER_US, PAGE_SIZE } from '../units.ts';
import type { HostCpu } from './host-cpu.ts';
import type { Choice, HostTaskPlan, Step } from './scenario.ts';
import { runVm } from './vmm.ts';

/** What a task does, a trap at a time; it yields for how many ns it sleeps before the next. */
export type Task = Generator<number, void, void>;

/** A CPU that waits for an interrupt waits about so long. */
const IDLE_NS = 200 * NS_PER_US;

/** A task of the host's kernel on one CPU. */
export function* hostTask(host: HostCpu, { times, steps }: HostTaskPlan): Task {
  for (let round = 0; round < times && !host.stopping; round++) yield* all(host, steps);
}

function* all(host: HostCpu, steps: readonly Step[]): Task {
  for (const step of steps) {
    if (host.stopping) return;
    yield* one(host, step);
  }
}

function* one(host: HostCpu, step: Step): Task {
  switch (step.do) {
    case 'share_hyp':
      return yield* shareHyp(host, step.pages);
    case 'ffa_share':
      return yield* ffaShare(host, step.pages);
    case 'hvc':
      host.hvc(step.call, ...step.args);
      return yield 0;
    case 'smc':
      host.smc(step.id, ...step.args);
      return yield 0;
    case 'touch':
      host.touch(addressOf(host, step.what), host.prng.below(2) === 0 ? 'read' : 'write');
      return yield 0;
    case 'sysreg':
      host.sysreg();
      return yield 0;
    case 'run_vm':
      return yield* runVm(host, defined(host.scenario.guests[step.guest], `guest ${step.guest}`));
    case 'suspend':
      host.smc(SMC_FUNCTIONS.PSCI_CPU_SUSPEND, step.depth === 'power_down' ? PSCI_POWER_DOWN : 0);
      return yield around(host, step.ns || IDLE_NS);
    case 'cpu_on':
    case 'cpu_off':
      host.setOnline(step.cpu, step.do === 'cpu_on');
      return yield 0;
    case 'sleep':
      return yield around(host, step.ns);
    case 'repeat':
      for (let n = 0; n < step.times && !host.stopping; n++) yield* all(host, step.steps);
      return;
    default:
      return yield* one(host, choose(host, step.choices));
  }
}

/** A time that differs a little each time, as in life. */
const around = (host: HostCpu, ns: number): number =>
  Math.max(1, Math.floor((ns * (75 + host.prng.below(51))) / 100));

function choose(host: HostCpu, choices: readonly Choice[]): Step {
  const total = choices.reduce((sum, { weight }) => sum + weight, 0);
  let dice = host.prng.below(total);
  const chosen = choices.find(({ weight }) => {
    dice -= weight;
    return dice < 0;
  });
  return defined(chosen, 'a choice').step;
}

function addressOf(host: HostCpu, what: 'ram' | 'mmio' | 'hypervisor'): number {
  if (what === 'mmio') return DEVICE_BASE + host.prng.below(NR_DEVICE_PAGES) * PAGE_SIZE;
  if (what === 'hypervisor') return IMAGE_PHYS + host.prng.below(PAGE_SIZE / 4) * 4;
  return PHYS_BASE + host.prng.below(host.hypervisor.machine.ram.nrPages) * PAGE_SIZE;
}

/** Shares pages with the hypervisor one by one, and takes them back. */
function* shareHyp(host: HostCpu, nrPages: number): Task {
  const shared: number[] = [];
  for (let n = 0; n < nrPages; n++) {
    const at = host.alloc(1);
    if (at === undefined) break;
    if (host.hvc('__pkvm_host_share_hyp', pfnOf(at), 1) === 0) shared.push(at);
    yield 0;
  }
  for (const at of shared) {
    if (host.hvc('__pkvm_host_unshare_hyp', pfnOf(at), 1) === 0) host.free(at, 1);
    yield 0;
  }
  if (shared.length === 0) yield IDLE_NS;
}

/** Shares pages with the secure world through a mailbox of its own, and reclaims them. */
function* ffaShare(host: HostCpu, nrPages: number): Task {
  const mailbox = host.alloc(2);
  const memory = host.alloc(nrPages);
  if (mailbox !== undefined && memory !== undefined && host.touch(PHYS_BASE + mailbox, 'write')) {
    const [tx, rx] = [PHYS_BASE + mailbox, PHYS_BASE + mailbox + PAGE_SIZE];
    const mapped = host.smc(SMC_FUNCTIONS.FFA_RXTX_MAP, tx, rx, 1);
    yield 0;
    // Refused while another CPU has the host's mailbox.
    if (mapped?.[0] === SMC_FUNCTIONS.FFA_SUCCESS) {
      yield* ffaShareThrough(host, mailbox, memory, nrPages);
      host.smc(SMC_FUNCTIONS.FFA_RXTX_UNMAP, HOST_FFA_ID);
      yield 0;
    }
  } else yield IDLE_NS;
  if (memory !== undefined) host.free(memory, nrPages);
  if (mailbox !== undefined) host.free(mailbox, 2);
}

function* ffaShareThrough(host: HostCpu, tx: number, memory: number, nrPages: number): Task {
  const length = putFfaDescriptor(
    host.hypervisor.machine.ram.view,
    tx,
    HOST_FFA_ID,
    PARTITION_FFA_ID,
    [rangeOf(memory, nrPages)],
  );
  const shared = host.smc(SMC_FUNCTIONS.FFA_MEM_SHARE, length, length);
  yield 0;
  if (shared?.[0] !== SMC_FUNCTIONS.FFA_SUCCESS) return;
  const [, , handle] = shared;
  host.smc(SMC_FUNCTIONS.FFA_MSG_SEND_DIRECT_REQ, PARTITION_FFA_ID, handle);
  yield 0;
  host.smc(SMC_FUNCTIONS.FFA_MEM_RECLAIM, handle);
  yield 0;
}

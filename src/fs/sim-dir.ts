import type { HostTask } from '../host-task.ts';
import { byName, type Dir, dir, type Io, liveDir, show, showStore } from './nodes.ts';

/** What the files of sim/ say and do: texts without the newline at their ends. */
export interface SimCallbacks {
  readonly cpus: readonly number[];
  /** The handles of the VMs that there are. */
  readonly vms: readonly string[];
  scenario(): string;
  setScenario(text: string, io: Io): Promise<void>;
  rate(): string;
  setRate(text: string): void;
  seed(): string;
  setSeed(text: string, io: Io): Promise<void>;
  clock(): string;
  setClock(text: string, io: Io): Promise<void>;
  /** The last hypercall that was made here, and its result. */
  hypercall(): string;
  makeHypercall(text: string, task: HostTask): void;
  isOnline(cpu: number): boolean;
  setOnline(cpu: number, text: string, task: HostTask): void;
  vmState(handle: string): string;
  vmVcpus(handle: string): string;
  vmPages(handle: string): string;
  memory(): string;
  stats(): string;
}

/** The sim/ directory beside hypervisor/: the simulated machine, for cat and echo. */
export function simDir(sim: SimCallbacks): Dir {
  const vmDirs = new Map<string, Dir>();
  const vmDir = (handle: string): Dir => {
    const existing = vmDirs.get(handle) ?? newVmDir(sim, handle);
    vmDirs.set(handle, existing);
    return existing;
  };
  return dir({
    clock: showStore(
      line(() => sim.clock()),
      (written, _, io) => sim.setClock(text(written), io),
    ),
    cpus: dir(
      byName(
        sim.cpus,
        (cpu) => `cpu${cpu}`,
        (cpu) =>
          dir({
            online: showStore(
              line(() => (sim.isOnline(cpu) ? '1' : '0')),
              (written, task) => sim.setOnline(cpu, text(written), task),
            ),
          }),
      ),
    ),
    hypercall: showStore(
      line(() => sim.hypercall()),
      (written, task) => sim.makeHypercall(text(written), task),
    ),
    memory: show(line(() => sim.memory())),
    rate: showStore(
      line(() => sim.rate()),
      (written) => sim.setRate(text(written)),
    ),
    scenario: showStore(
      line(() => sim.scenario()),
      (written, _, io) => sim.setScenario(text(written), io),
    ),
    seed: showStore(
      line(() => sim.seed()),
      (written, _, io) => sim.setSeed(text(written), io),
    ),
    stats: show(line(() => sim.stats())),
    vms: liveDir(() => byName(sim.vms, (handle) => handle, vmDir)),
  });
}

function newVmDir(sim: SimCallbacks, handle: string): Dir {
  return dir({
    pages: show(line(() => sim.vmPages(handle))),
    state: show(line(() => sim.vmState(handle))),
    vcpus: show(line(() => sim.vmVcpus(handle))),
  });
}

const line =
  (get: () => string): (() => string) =>
  () => {
    const shown = get();
    return shown === '' ? '' : `${shown}\n`;
  };

const text = (written: Uint8Array): string => Buffer.from(written).toString('utf8').trim();

import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Deferred } from '../deferred.ts';
import { tracefsRoot } from '../fs/hypervisor-dir.ts';
import { TraceRemote } from '../fs/trace-remote.ts';
import { Tracefs } from '../fs/tracefs.ts';
import { PcpuThreads } from '../host-sim/pcpu-threads.ts';
import type { Scenario } from '../host-sim/scenario.ts';
import { VirtualHost } from '../host-sim/virtual-host.ts';
import type { Workload } from '../host-sim/workload.ts';
import { EXIT, ExitError } from './exit-code.ts';
import { HypTrace } from './hyp-trace.ts';
import {
  type Machine,
  type MachineOptions,
  switchOn,
  switchOnVirtual,
  tooSmall,
} from './machine.ts';
import {
  canonical,
  checkFuse,
  checkMountpoint,
  deviceAt,
  otherPaths,
  unmount as unmountPath,
} from './mountpoint.ts';
import { SimControl } from './sim-control.ts';
import { UndoStack } from './undo-stack.ts';

export interface DaemonOptions extends MachineOptions {
  readonly mountpoint: string;
  readonly scenario: Scenario;
  readonly seed: number;
  /** Events a second that each CPU's tasks are worth; the scenario's, without one. */
  readonly rate: number | undefined;
  /** Time moves only when sim/clock says so. */
  readonly virtual: boolean;
  /** Whether there is a sim/ directory. */
  readonly sim: boolean;
  readonly allowOther: boolean;
  /** Show files with a size of 0, as tracefs does. */
  readonly sizeZero: boolean;
}

export interface Daemon {
  /** Resolves when the file system is gone, by whoever; rejects with a bug. */
  readonly ended: Promise<void>;
  /** Takes every part down again, in the opposite order. Safe to call more than once. */
  stop(): Promise<void>;
}

/** How long an unmount may take to reach us. */
const UNMOUNT_MS = 500;

/** Builds the parts bottom up, and resolves once a shell can use the mount. */
export async function startDaemon(options: DaemonOptions, log: Logger): Promise<Daemon> {
  const undo = new UndoStack();
  const stop = () => undo.unwind((step, err) => log.error({ step, err }, 'could not stop'));
  const ended = new Deferred();
  ended.promise.catch(() => {}); // Whoever awaits it hears; a start that fails has its own error.
  try {
    checkFuse();
    await checkMountpoint(options.mountpoint);
    const { mount } = await loadFuse();

    const { machine, workload, virtual } = buildMachine(options, undo, log, ended.reject);
    const { scenario, seed } = options;
    await workload.run(scenario, seed).catch(tooSmall);
    workload.rate = options.rate ?? scenario.rate;

    const remote = new TraceRemote(new HypTrace(machine));
    const sim = new SimControl({ machine, workload, virtual, scenario, seed });
    const tracefs = new Tracefs(tracefsRoot(remote, options.sim ? sim : undefined), {
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      sizeZero: options.sizeZero,
    });
    const unmount = await mountOrExit(mount, tracefs, {
      mountpoint: options.mountpoint,
      allowOther: options.allowOther,
      onUnmounted: () => ended.resolve(),
      onBug: ended.reject,
    });
    const { mountpoint } = options;
    const device = mountedDevice(mountpoint);
    undo.push('mount', async () => {
      for (const path of otherPaths(device, mountpoint)) await unmountPath(path);
      if (deviceAt(mountpoint) === device) await unmount();
      // What somebody still has open keeps it alive, out of sight; our end takes it from them.
      await Promise.race([ended.promise, setTimeout(UNMOUNT_MS, undefined, { ref: false })]);
    });
    undo.push('tracing', () => remote.shutDown());

    log.info({ ...options, scenario: scenario.name }, 'mounted');
    return { ended: ended.promise, stop };
  } catch (error) {
    await stop(); // A mount that failed half-way must not leave its workers behind.
    throw error;
  }
}

/**
 * The file system that was just mounted at a directory. If a link has taken the place of one above
 * it meanwhile, it was mounted elsewhere; fusermount takes it away again when this process ends.
 */
function mountedDevice(mountpoint: string): string {
  const device = deviceAt(mountpoint);
  if (device === undefined) throw replaced(mountpoint);
  return device;
}

const replaced = (mountpoint: string): ExitError =>
  new ExitError(EXIT.NO_INPUT, `${mountpoint} was replaced while it was being mounted`);

/** The machine and what runs on it, in real or in virtual time. */
function buildMachine(
  options: DaemonOptions,
  undo: UndoStack,
  log: Logger,
  onError: (error: unknown) => void,
): { machine: Machine; workload: Workload; virtual?: VirtualHost } {
  if (options.virtual) {
    const machine = switchOnVirtual(options, options.scenario);
    const virtual = new VirtualHost(machine.hypervisor, machine.time, machine.pages);
    return { machine, workload: virtual, virtual };
  }
  const machine = switchOn(options, options.scenario, (message) => log.warn(message));
  const threads = PcpuThreads.start({ ...machine, onError });
  undo.push('pcpus', () => threads.stop());
  return { machine, workload: threads };
}

/** libfuse has said on stderr what it was that failed. */
async function mountOrExit(
  mount: Mount,
  tracefs: Tracefs,
  options: Parameters<Mount>[1],
): ReturnType<Mount> {
  try {
    return await mount(tracefs, options);
  } catch (error) {
    if (canonical(options.mountpoint) !== options.mountpoint) throw replaced(options.mountpoint);
    throw new ExitError(
      EXIT.NO_PERMISSION,
      `cannot mount: run as root, or where fusermount is setuid (${(error as Error).message})`,
    );
  }
}

type Mount = typeof import('../fs/fuse-mount.ts').mount;

/** The binding needs libfuse to load, so it comes last, when there can be a message about it. */
async function loadFuse(): Promise<typeof import('../fs/fuse-mount.ts')> {
  try {
    return await import('../fs/fuse-mount.ts');
  } catch (error) {
    throw new ExitError(
      EXIT.UNAVAILABLE,
      `FUSE cannot be loaded (apt install libfuse2, then npm run setup): ${(error as Error).message}`,
    );
  }
}

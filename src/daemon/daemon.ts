import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Deferred } from '../deferred.ts';
import { tracefsRoot } from '../fs/hypervisor-dir.ts';
import { TraceRemote } from '../fs/trace-remote.ts';
import { Tracefs } from '../fs/tracefs.ts';
import { startPcpuThreads } from '../hypervisor-sim/pcpu-threads.ts';
import { EXIT, ExitError } from './exit-code.ts';
import { HypTrace } from './hyp-trace.ts';
import { type MachineOptions, switchOn } from './machine.ts';
import { checkFuse, checkMountpoint } from './mountpoint.ts';
import { UndoStack } from './undo-stack.ts';

export interface DaemonOptions extends MachineOptions {
  readonly mountpoint: string;
  /** Events a second that each pCPU's workload is worth. */
  readonly rate: number;
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

/** The pCPUs' seed, until there is an option for it. */
const SEED = 1;

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

    const machine = switchOn(options, (message) => log.warn(message));
    const pcpus = await startPcpuThreads({
      buffers: machine.buffers,
      counterHz: options.counterHz,
      switchedOnNs: machine.switchedOnNs,
      seed: SEED,
      rate: options.rate,
      pages: machine.workloadPages,
      onError: ended.reject,
    });
    undo.push('pcpus', pcpus.stop);

    const remote = new TraceRemote(new HypTrace(machine));
    const tracefs = new Tracefs(tracefsRoot(remote), {
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
    undo.push('mount', async () => {
      await unmount();
      // What somebody still has open keeps it alive, out of sight; our end takes it from them.
      await Promise.race([ended.promise, setTimeout(UNMOUNT_MS, undefined, { ref: false })]);
    });
    undo.push('tracing', () => remote.shutDown());

    log.info(options, 'mounted');
    return { ended: ended.promise, stop };
  } catch (error) {
    await stop(); // A mount that failed half-way must not leave its workers behind.
    throw error;
  }
}

/** libfuse has said on stderr what it was that failed. */
async function mountOrExit(mount: Mount, ...args: Parameters<Mount>): ReturnType<Mount> {
  try {
    return await mount(...args);
  } catch (error) {
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

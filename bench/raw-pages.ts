import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Benchmark, ratio, sameRounds } from './benchmark.ts';
import { Daemon, TRAPS } from './daemon.ts';
import { type HostTracefs, systemCalls } from './host-tracefs.ts';
import { MountProcess } from './mount-process.ts';

const CPUS = 2;
/** 12 bytes each on two CPUs here, 68 on one in the kernel. */
const EVENTS = 2_000_000;
/** Of a small read nearly all the time is FUSE's, however many there are. */
const SMALL_EVENTS = 250_000;
const BUFFER_KB = 32_768;
const KERNEL_BUFFER_KB = 160_000;
const EMPTY_READS = 500;
/** Backlogs until V8 has compiled what is hot: each is read in a tenth of a second. */
const WARM_UPS = 4;
const KIB = 1024;

/** Pages of a backlog, as dd reads them. */
export function rawPages(tracefs: HostTracefs | undefined): Benchmark[] {
  const small = smallReads(tracefs);
  const large = largeReads(tracefs);
  const common = { unit: 'MB/s', better: 'more' } as const;
  return [
    {
      ...common,
      ...small(({ ours, kernel }) => ({ ours, beside: kernel })),
      name: 'raw pages, 4 KiB reads',
      besides: 'the kernel',
    },
    {
      ...common,
      ...small(({ ours, empty }) => ({ ours, beside: empty })),
      name: 'raw pages, 4 KiB reads',
      besides: 'an empty FUSE read',
      target: ratio(0.85),
    },
    {
      ...common,
      ...large(({ ours, kernel }) => ({ ours, beside: kernel })),
      name: 'raw pages, 128 KiB reads',
      besides: 'the kernel',
      target: ratio(0.6),
    },
    {
      ...common,
      ...large(({ ours, empty }) => ({ ours, beside: empty })),
      name: 'raw pages, 128 KiB reads',
      besides: 'an empty FUSE read',
      target: ratio(0.85),
    },
  ];
}

function smallReads(tracefs: HostTracefs | undefined) {
  const size = 4 * KIB;
  let daemon: Daemon;
  let fuse: MountProcess;
  return sameRounds(
    async () => {
      daemon = await Daemon.start(CPUS, ...TRAPS);
      fuse = await startEmptyFuse();
      await drain(daemon, SMALL_EVENTS, size); // Compiled by then.
      await emptyMbPerS(fuse, size);
      return async () => {
        await fuse.stop();
        await daemon.stop();
      };
    },
    async () => ({
      ours: await drain(daemon, SMALL_EVENTS, size),
      kernel: tracefs && (await kernelMbPerS(tracefs, SMALL_EVENTS, size)),
      empty: await emptyMbPerS(fuse, size),
    }),
  );
}

function largeReads(tracefs: HostTracefs | undefined) {
  const size = 128 * KIB;
  let daemon: Daemon;
  let fuse: MountProcess;
  return sameRounds(
    async () => {
      daemon = await Daemon.start(CPUS, ...TRAPS);
      fuse = await startEmptyFuse();
      for (let n = 0; n < WARM_UPS; n++) {
        await drain(daemon, EVENTS, size);
        await emptyMbPerS(fuse, size);
      }
      return async () => {
        await fuse.stop();
        await daemon.stop();
      };
    },
    async () => ({
      ours: await drain(daemon, EVENTS, size),
      kernel: tracefs && (await kernelMbPerS(tracefs, EVENTS, size)),
      empty: await emptyMbPerS(fuse, size),
    }),
  );
}

async function drain(daemon: Daemon, events: number, size: number): Promise<number> {
  await daemon.fill(events, BUFFER_KB);
  const files = Array.from({ length: CPUS }, (_, cpu) => `per_cpu/cpu${cpu}/trace_pipe_raw`);
  return ddMbPerS(
    files.map((file) => daemon.path(file)),
    size,
  );
}

/** Reads each file until there is no more, one after the other. */
async function ddMbPerS(files: readonly string[], size: number, count?: number): Promise<number> {
  let bytes = 0;
  let seconds = 0;
  for (const file of files) {
    const limit = count === undefined ? [] : [`count=${count}`];
    const args = [`if=${file}`, 'of=/dev/null', `bs=${size}`, 'iflag=nonblock', ...limit];
    const dd = spawn('dd', args, { env: { ...process.env, LC_ALL: 'C' } });
    let report = '';
    dd.stderr.setEncoding('latin1').on('data', (text: string) => {
      report += text;
    });
    await once(dd, 'close');
    const [, copied, took] = /^(\d+) bytes.* copied, ([\d.e-]+) s/m.exec(report) ?? [];
    bytes += Number(copied);
    seconds += Number(took);
  }
  return bytes / seconds / 1e6;
}

async function kernelMbPerS(tracefs: HostTracefs, events: number, size: number): Promise<number> {
  tracefs.empty(KERNEL_BUFFER_KB);
  await tracefs.traced(() => systemCalls(events));
  return ddMbPerS([join(tracefs.instance, 'per_cpu/cpu0/trace_pipe_raw')], size);
}

/** A mount with a file whose reads FUSE answers with nothing done for them. */
const startEmptyFuse = () =>
  MountProcess.run((dir) => ['--import', 'tsx', 'bench/empty-fuse.ts', dir]);

const emptyMbPerS = ({ dir }: MountProcess, size: number): Promise<number> =>
  ddMbPerS([join(dir, 'empty')], size, EMPTY_READS);

/** trace-cmd record of all that two pCPUs can do in a second, in MB of pages that it took. */
export const traceCmdRecord: Benchmark = {
  name: 'raw pages through trace-cmd record',
  unit: 'MB/s',
  better: 'more',
  async round() {
    const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-bench-record-'));
    const trace = ['trace-cmd', 'record', '--file-version', '6', '-q', '-b', '4096'];
    const exec = [
      'dist/daemon/main.js',
      'exec',
      '--cpus',
      `${CPUS}`,
      ...TRAPS,
      '--rate',
      'max',
      '--',
    ];
    const file = join(dir, 'trace.dat');
    try {
      await promisify(execFile)(process.execPath, [
        ...[...exec, ...trace, '-o', file, '-e', 'hypervisor', 'sleep', '0.5'],
      ]);
      return { ours: readFileSync(file).length / 1e6 };
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
};

import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HYP_REMOTE_EVENTS } from '../../src/daemon/hyp-trace.ts';
import { FIRST_INSTANCE_ID } from '../../src/fs/instance-event.ts';
import { getPageImage, type PageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { Child, MAIN } from '../support/daemon.ts';

const run = promisify(execFile);
const ADVANCE = resolve('test/support/advance.sh');
const BOOT = ['--scenario', 'boot', '--seed', '7'];

/** A directory for trace.dat, of anybody. */
let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-trace-cmd-'));
  chmodSync(dir, 0o777);
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs a shell's script where the simulator is the tracefs. */
async function simulated(script: string, options: readonly string[], before: string[] = []) {
  const [command = '', ...args] = [...before, process.execPath, MAIN, 'exec', ...options, '--'];
  const child = new Child(command, [...args, 'bash', '-c', script], { cwd: dir });
  expect(await child.exit(), child.stderr).toBe(0);
  return child;
}

/** trace-cmd mounts a tracefs wherever it finds none, even to read a file: not on this machine. */
const OWN_MOUNTS = ['unshare', '-m', '--propagation', 'private'];

async function traceCmd(...args: string[]): Promise<string> {
  const [unshare = '', ...before] = [...OWN_MOUNTS, 'trace-cmd'];
  const { stdout } = await run(unshare, [...before, ...args], { cwd: dir, maxBuffer: 2 ** 27 });
  return stdout;
}

/** What trace-cmd report says: CPU, µs, task, event and fields. */
async function report(file = 'trace.dat'): Promise<string[]> {
  const text = await traceCmd('report', file);
  expect(text).not.toMatch(/FAILED TO PARSE|UNKNOWN EVENT|DROPPED/);
  return text
    .split('\n')
    .map(parseLine)
    .filter((line) => line !== undefined);
}

/** Of a line with the boot clock's time, in ns; that in seconds, which trace-cmd rounds, is left out. */
function parseLine(line: string): string | undefined {
  const match = /(\S+)-(\d+) +\[(\d+)\] *([\d.]+): (\w+): +(.*)$/.exec(line);
  if (!match) return undefined;
  const [, task, pid, cpu, time = '', name, fields] = match;
  const us = time.includes('.') ? [] : [Math.floor(Number(time) / 1000)];
  return [`${task}-${pid}`, Number(cpu), ...us, name, fields].join(' ');
}

/** Without task and time: what a line in seconds is compared by. */
const withoutTime = (line: string): string => line.replace(/^(\d+) \d+ /, '$1 ');

function pageImages(pages: Uint8Array): PageImage[] {
  const images = [];
  for (let at = 0; at < pages.length; at += PAGE_SIZE)
    images.push(getPageImage(pages.subarray(at, at + PAGE_SIZE)));
  return images;
}

const sumOf = (text: string, pattern: RegExp): number =>
  [...text.matchAll(pattern)].reduce((sum, [, number]) => sum + Number(number), 0);

/**
 * Of the statistics, how many events are in the file at last: trace-cmd asks as soon as it has told
 * its recorders to end, and they may have the last pages to take then.
 */
const TAKEN_AT_LAST = /^(?:read events|entries): (\d+)$/gm;

/** The events of guests and their memory. */
const EVENTS = [
  'psci_mem_protect',
  'vcpu_illegal_trap',
  'iommu_idmap',
  'host_mem_abort',
  '__hyp_printk',
];

/** The same by the text of a run from the same seed, of some events or, without, of all. */
async function expected(forTime: string, events = EVENTS): Promise<string[]> {
  const chosen = events.length > 0 ? ['--events', events.join(',')] : [];
  const args = ['run', ...BOOT, '--for', forTime, ...chosen];
  const { stdout } = await run(process.execPath, [MAIN, ...args], { maxBuffer: 2 ** 26 });
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [, cpu, time = '', name, fields] =
        /^\[(\d+)\]\t *([\d.]+): (\w+) (.*)$/.exec(line) ?? [];
      return [Number(cpu), Number(time.replace('.', '')), name, fields].join(' ');
    });
}

const withoutTask = (line: string): string => line.slice(line.indexOf(' ') + 1);

describe('trace-cmd record', () => {
  test.for([['-B hypervisor'], [''], ['--nosplice'], ['-C boot']])(
    '%s: its report has every event, as the text of a run has it',
    async ([options]) => {
      const chosen = EVENTS.map((name) => `-e hypervisor:${name}`).join(' ');
      await simulated(
        `trace-cmd record -q ${options} -b 1024 ${chosen} \
         ${ADVANCE} 5ms`,
        [...BOOT, '--virtual'],
      );
      const lines = await expected('5ms');
      expect(lines.length).toBeGreaterThan(50);
      expect((await report()).map(withoutTask)).toEqual(lines);
    },
  );

  test('in virtual time gives the same report each time, and all that a run has', async () => {
    const record = async (): Promise<string> => {
      await simulated(`trace-cmd record -q -b 1024 -e hypervisor ${ADVANCE} 5ms`, [
        ...BOOT,
        '--virtual',
      ]);
      return traceCmd('report');
    };
    const first = await record();
    expect((await report()).map(withoutTask)).toEqual(await expected('5ms', []));
    expect(await record()).toBe(first);
    expect(await record()).toBe(first);
  });

  test('-f: only what the filter passes', async () => {
    await simulated(
      `trace-cmd record -q -b 1024 -e hypervisor:psci_mem_protect -f 'count > 3 && was != 6' \
         ${ADVANCE} 5ms`,
      [...BOOT, '--virtual'],
    );
    const passed = (await expected('5ms')).filter((line) => {
      const [, count, was] = /count=(\d+) was=(\d+)/.exec(line) ?? [];
      return line.includes('psci_mem_protect') && Number(count) > 3 && Number(was) !== 6;
    });
    expect(passed.length).toBeGreaterThan(3);
    expect((await report()).map(withoutTask)).toEqual(passed);
  });

  test('names the vCPUs that ran', async () => {
    await simulated(
      `trace-cmd record -q -b 1024 -e hypervisor:hyp_exit -e hypervisor:vcpu_illegal_trap \
         ${ADVANCE} 3ms`,
      [...BOOT, '--virtual'],
    );
    const lines = await report();
    const guests = lines.filter((line) => line.includes('reason=eret_guest'));
    expect(guests.length).toBeGreaterThan(20);
    for (const line of guests) {
      const [, vcpu] = / vcpu=(\d+)$/.exec(line) ?? [];
      const pid = Number(vcpu);
      expect(line).toMatch(new RegExp(`^vm${Math.floor(pid / 16)}-vcpu${pid % 16}-${pid} `));
    }
    expect(lines.find((line) => line.includes('vcpu_illegal_trap'))).toMatch(
      /^vm128-vcpu0-2048 1 /,
    );
    expect(lines.find((line) => line.includes('reason=eret_host'))).toMatch(/^<idle>-0 /);
  });

  test('in real time loses nothing with room enough', async () => {
    await simulated('trace-cmd record -q -B hypervisor -b 4096 -e hypervisor sleep 2', [
      '--rate',
      '2000',
    ]);
    const lines = await report();
    expect(lines.length).toBeGreaterThan(1_000);
    const stats = await traceCmd('report', '--stat');
    expect(sumOf(stats, TAKEN_AT_LAST)).toBe(lines.length);
    expect(sumOf(stats, /^overrun: (\d+)$/gm)).toBe(0);
  });

  test('in real time, with little room and all that it can, has all but what it says was lost', async () => {
    await simulated('trace-cmd record -q -B hypervisor -b 10 -e hypervisor sleep 1', [
      ...['--scenario', 'storm', '--rate', 'max'],
    ]);
    const text = await traceCmd('report');
    const stats = await traceCmd('report', '--stat');
    const lost = sumOf(text, /CPU:\d+ \[(\d+) EVENTS DROPPED\]$/gm);
    expect(lost).toBeGreaterThan(0);
    expect(sumOf(stats, /^overrun: (\d+)$/gm)).toBe(lost);
    expect(sumOf(stats, TAKEN_AT_LAST)).toBe(text.match(/-\d+ +\[\d+\] *\d+: /g)?.length);
  });

  test('writes pages that libtraceevent and our decoder read alike', async () => {
    const { stdout, stderr } = await simulated(
      `trace-cmd record --file-version 6 -b 16 -e hypervisor sleep 2`, // Pages as they came.
      ['--scenario', 'storm', '--rate', 'max'],
    );
    const file = readFileSync(join(dir, 'trace.dat'));
    const cpus = [...`${stdout}${stderr}`.matchAll(/offset=(\w+)\s+(\d+) bytes/g)].map(
      ([, offset, size]) => file.subarray(Number(offset), Number(offset) + Number(size)),
    );
    expect(cpus.length).toBe(2);
    const decoded = cpus.flatMap((pages, cpu) =>
      pageImages(pages).flatMap((image) => {
        const data = Buffer.from(image.data);
        const events = [...pageEvents(image)].map(({ ts, at }) => {
          const id = data.readUInt16LE(at);
          return `${cpu} ${ts} ${HYP_REMOTE_EVENTS[id - FIRST_INSTANCE_ID]?.name}`;
        });
        return image.lost === 0 ? events : [`${cpu} ${image.lost} lost`, ...events];
      }),
    );
    const text = await traceCmd('report', '-t'); // Of the boot clock, all digits.
    const read = [...text.matchAll(/\[0*(\d+)\] *(\d+): (\w+):|CPU:(\d+) \[(\d+) EVENTS/g)].map(
      ([, cpu, ts, name, lossCpu, lost]) =>
        lost === undefined ? `${Number(cpu)} ${ts} ${name}` : `${lossCpu} ${lost} lost`,
    );
    expect(decoded.length).toBeGreaterThan(10_000);
    expect(decoded.some((line) => line.endsWith('lost'))).toBe(true);
    for (const cpu of ['0 ', '1 '])
      expect(read.filter((line) => line.startsWith(cpu))).toEqual(
        decoded.filter((line) => line.startsWith(cpu)),
      );
  });

  test('of a file: split has what came first, dump says what is in it', async () => {
    await simulated(
      `trace-cmd record -q -b 1024 ${EVENTS.map((name) => `-e hypervisor:${name}`).join(' ')} \
         ${ADVANCE} 5ms
       trace-cmd split -i trace.dat -o part.dat -e 20 > /dev/null`,
      [...BOOT, '--virtual'],
    );
    const lines = await expected('5ms');
    expect((await report('part.dat.1')).map(withoutTask)).toEqual(
      lines.slice(0, 20).map(withoutTime),
    );
    const dump = await traceCmd('dump', '--all', '-i', 'trace.dat');
    expect(dump).toContain('name: host_mem_abort\nID: 60004\n');
    expect(dump).toContain('[Header page, 205 bytes]');
  });

  test('over the network to trace-cmd listen', async () => {
    await simulated(
      `trace-cmd listen -p 17321 -d . -l listen.log & listener=$!
       until grep -q ':43A9 ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done # Port 17321.
       trace-cmd record -q -N 127.0.0.1:17321 -t -b 1024 -e hypervisor:psci_mem_protect \
         ${ADVANCE} 5ms
       until ls trace.*.dat; do sleep 0.05; done
       kill $listener; wait $listener || true
       mv trace.*.dat trace.dat`,
      [...BOOT, '--virtual'],
    );
    const memory = (await expected('5ms')).filter((line) => line.includes('psci_mem_protect'));
    expect((await report()).map(withoutTask)).toEqual(memory);
  });
});

describe('trace-cmd', () => {
  test('streams what happens', async () => {
    const { stdout } = await simulated(
      `trace-cmd stream -e hypervisor:psci_mem_protect bash -c '${ADVANCE} 5ms
         while grep -q "^entries: [1-9]" /sys/kernel/tracing/per_cpu/*/stats; do sleep 0.02; done'`,
      [...BOOT, '--virtual'],
    );
    const lines = stdout
      .split('\n')
      .map(parseLine)
      .filter((line) => line !== undefined);
    const memory = (await expected('5ms')).filter((line) => line.includes('psci_mem_protect'));
    expect(lines.map(withoutTask).sort()).toEqual(memory.map(withoutTime).sort());
  });

  test('streams while it happens, and ends with Ctrl-C', async () => {
    await simulated(
      `trace-cmd stream -e hypervisor:hyp_exit > stream.txt & stream=$!
       until [ -s stream.txt ]; do sleep 0.05; done
       kill -INT $stream; wait $stream || true
       grep -q 'hyp_exit: .*reason=' stream.txt`,
      ['--rate', '20000'],
    );
  });

  test('starts, stops, shows, clears, extracts and resets', async () => {
    const { stdout } = await simulated(
      `set -e
       trace-cmd start -e hypervisor:psci_mem_protect -b 512
       echo "advance 2ms" > /sys/kernel/tracing/sim/clock
       trace-cmd stop
       echo "== show"; trace-cmd show | grep -v '^#'
       echo "== pipe"; timeout 5 trace-cmd show -p
       echo "== stat"; trace-cmd stat
       echo "== extract"; trace-cmd extract -o trace.dat > /dev/null
       trace-cmd start -e hypervisor:psci_mem_protect
       echo "advance 2ms" > /sys/kernel/tracing/sim/clock
       trace-cmd clear; trace-cmd stop
       echo "== cleared"; trace-cmd show | grep -v '^#' || true
       trace-cmd reset
       echo "== reset"; cat /sys/kernel/tracing/events/enable /sys/kernel/tracing/tracing_on
       ls /sys/kernel/tracing/instances`,
      [...BOOT, '--virtual'],
    );
    const part = (name: string): string[] =>
      (stdout.split(`== ${name}\n`)[1]?.split('== ')[0] ?? '').split('\n').filter(Boolean);
    expect(part('show')).toHaveLength(7);
    expect(part('show')[0]).toMatch(
      /^ +<idle>-0 +\[000\] \.{5} +0\.000536: psci_mem_protect: count=1 was=0$/,
    );
    expect(part('pipe')).toEqual(part('show')); // To the end: tracing is off.
    expect(part('stat').join()).toContain('psci_mem_protect');
    expect((await report()).length).toBe(0); // What trace_pipe has shown is taken.
    expect(part('cleared')).toEqual([]);
    expect(part('reset')).toEqual(['0', '1', 'hypervisor']); // On is how a kernel starts.
  });

  test('lists what there is', async () => {
    const { stdout } = await simulated(
      'trace-cmd list -F -e hypervisor:selftest; trace-cmd list -t; trace-cmd list -C; trace-cmd list -B',
      ['--rate', '0'],
    );
    expect(stdout).toContain('name: selftest\nID: 60011\n');
    expect(stdout).toMatch(/\nnop ?\n\[boot\]\nhypervisor\n$/);
  });
});

describe('pkvm-tracefs exec', () => {
  const mounted = 'mount -t tracefs nodev /sys/kernel/tracing && exec "$@"';
  test.for([
    ['where no tracefs is mounted', []],
    ['over the one that is mounted', [...OWN_MOUNTS, 'bash', '-c', mounted, '-']],
  ] as const)('runs trace-cmd for a plain user, %s', async ([, before]) => {
    await simulated(
      `trace-cmd record -q -b 1024 -e hypervisor:psci_mem_protect ${ADVANCE} 5ms`,
      [...BOOT, '--virtual'],
      [...before, resolve('test/support/as-nobody.sh')],
    );
    const memory = (await expected('5ms')).filter((line) => line.includes('psci_mem_protect'));
    expect((await report()).map(withoutTask)).toEqual(memory);
  });
});

test('docs/tools.md shows what really happens', async () => {
  const [, ...commands] = readFileSync('docs/tools.md', 'utf8').split(/^\$ /m);
  expect(commands.length).toBeGreaterThan(3);
  for (const part of commands) {
    const [command = '', ...output] = (part.split(/^```$/m)[0] ?? '').split('\n');
    const program = `pkvm-tracefs() { ${process.execPath} ${MAIN} "$@"; }`;
    const [unshare = '', ...args] = [
      ...OWN_MOUNTS,
      'bash',
      '-c',
      `${program}; { ${command}\n} 2>&1`,
    ];
    const shell = new Child(unshare, args, { cwd: dir });
    await shell.exit();
    expect(shell.stdout, command).toBe(output.join('\n'));
  }
});

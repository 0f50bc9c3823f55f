import { mkdirSync, readdirSync, readFileSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { escapeOctal, mounts } from './mountpoint.ts';

/** A file or directory, and the one that it takes the place of where a command runs. */
export interface Cover {
  readonly source: string;
  readonly target: string;
}

export interface Covers {
  readonly binds: readonly Cover[];
  /** Takes the place of /proc/mounts, which is a symbolic link. */
  readonly mounts: string;
}

const TRACING = '/sys/kernel/tracing';

/** These settings act on the host's tracing, or are what tracing tools set for themselves. */
const SETTINGS = [
  'ftrace_dump_on_oops',
  'stack_tracer_enabled',
  'traceoff_on_warning',
  'tracepoint_printk',
];

/**
 * Says what has to cover the host's files so that a command finds the tracefs at `tracing` and no
 * other, and writes the files that do so into `dir`.
 */
export function writeCovers(dir: string, tracing: string): Covers {
  mkdirSync(dir);
  const write = (target: string, text: string): Cover => {
    const source = join(dir, basename(target));
    writeFileSync(source, text);
    return { source, target };
  };
  const texts = Object.entries(hostTexts(tracing)).filter(([target]) => statOf(target));
  return {
    binds: [
      ...texts.map(([target, text]) => write(target, text)),
      ...tracingPaths().map((target) => {
        const isDir = statOf(target)?.isDirectory();
        return { source: isDir ? tracing : write('nothing', '').source, target };
      }),
    ],
    mounts: write('mounts', mountsText(tracing)).source,
  };
}

/** What the host's files say to a command, as it reads and writes them without effect. */
function hostTexts(tracing: string): Record<string, string> {
  const last = readdirSync(join(tracing, 'per_cpu')).length - 1;
  const cpus = last === 0 ? '0\n' : `0-${last}\n`;
  return {
    '/proc/kallsyms': '',
    '/proc/sys/kernel/ftrace_enabled': '1\n',
    '/proc/sys/kernel/kptr_restrict': '0\n',
    ...Object.fromEntries(SETTINGS.map((name) => settingOf(`/proc/sys/kernel/${name}`))),
    '/sys/devices/system/cpu/possible': cpus,
    '/sys/devices/system/cpu/online': cpus,
  };
}

const settingOf = (path: string): [string, string] => [
  path,
  statOf(path) ? readFileSync(path, 'latin1') : '',
];

/** Where the host's tracefs can be reached, and where tools look for one. */
function tracingPaths(): string[] {
  const ofMounts = mounts().flatMap(({ path, type }) => {
    if (type === 'tracefs') return [path];
    return type === 'debugfs' ? [join(path, 'tracing')] : []; // A tracefs mounts itself there.
  });
  return [...new Set([...ofMounts, TRACING])].filter(statOf);
}

/** The host's mounts, with one tracefs among them. */
function mountsText(tracing: string): string {
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n').slice(0, -1);
  const others = lines.filter((line) => !line.includes('tracefs'));
  const at = statOf(TRACING) ? TRACING : tracing;
  return [...others, `nodev ${escapeOctal(at)} tracefs rw 0 0`, ''].join('\n');
}

/** Undefined where there is nothing, and where this user cannot go. It mounts nothing on its way. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

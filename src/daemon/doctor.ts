import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { EXIT, type ExitCode, ExitError } from './exit-code.ts';
import { checkFuse } from './mountpoint.ts';

/** What a machine offers, or what it lacks and what to do about that. */
interface Finding {
  readonly ok: boolean;
  readonly text: string;
}

const found = (text: string): Finding => ({ ok: true, text });
const missing = (text: string): Finding => ({ ok: false, text });

const TRACING = '/sys/kernel/tracing';

/**
 * Looks what this machine and this user have for the commands and the tools, and prints a line for
 * each. Resolves to 69 when nothing can be mounted.
 */
export async function doctor(print: (line: string) => void): Promise<ExitCode> {
  const findings = {
    FUSE: fuse(),
    libfuse: await libfuse(),
    namespaces: namespaces(),
    tracefs: tracefs(),
    'trace-cmd': traceCmd(),
  };
  for (const [what, { ok, text }] of Object.entries(findings))
    print(`${ok ? 'ok     ' : 'missing'}  ${what.padEnd(10)}  ${text}`);

  const canMount = findings.FUSE.ok && findings.libfuse.ok;
  const canExec = canMount && findings.namespaces.ok;
  const verdicts: [what: string, works: boolean, remark: string][] = [
    ['run', true, 'traces as text, pages, or for Perfetto'],
    ['mount', canMount, 'cat, echo and scripts'],
    ['exec', canExec, 'tools that look for a tracefs in /proc/mounts'],
    ['exec', canExec && existsSync(TRACING), `tools that look in ${TRACING}`],
    ['exec', canExec && findings['trace-cmd'].ok, 'trace-cmd'],
  ];
  print('');
  for (const [what, works, remark] of verdicts)
    print(`${works ? 'works  ' : 'cannot '}  ${what.padEnd(10)}  ${remark}`);
  return canMount ? EXIT.OK : EXIT.UNAVAILABLE;
}

function fuse(): Finding {
  try {
    checkFuse();
    return found('/dev/fuse and fusermount are there to use');
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    return missing(error.message);
  }
}

async function libfuse(): Promise<Finding> {
  try {
    await import('../fs/fuse-mount.ts');
    return found('the binding loads');
  } catch {
    return missing('the binding does not load: apt install libfuse2, then npm run setup');
  }
}

/** Whether this user may have mounts of its own, which nobody can take the covers from. */
function namespaces(): Finding {
  const isRoot = process.getuid?.() === 0;
  const [how, outer, inner] = isRoot
    ? ['as root', '-m', '-Um']
    : ['in a user namespace', '-Urm', '-Urm'];
  if (succeeds('unshare', [outer, 'unshare', inner, 'true']))
    return found(`mounts of one's own, ${how}`);
  return missing(
    isRoot
      ? 'no mount or user namespaces: util-linux’s unshare, and a container that allows them'
      : 'no user namespaces for plain users: sysctl user.max_user_namespaces, or be root',
  );
}

/** How exec makes tools find the simulator. */
function tracefs(): Finding {
  if (existsSync(TRACING)) return found(`exec puts the simulator at ${TRACING}`);
  return found('the kernel has none: exec shows tools a list of mounts that has one');
}

function traceCmd(): Finding {
  if (succeeds('sh', ['-c', 'command -v trace-cmd'])) return found('is installed');
  return missing('apt install trace-cmd');
}

function succeeds(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

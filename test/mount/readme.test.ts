import { existsSync, readFileSync } from 'node:fs';
import { describe, expect } from 'vitest';
import { Child, MAIN, test, until } from '../support/daemon.ts';

const README = readFileSync('README.md', 'utf8');

const blocks = (language: string): string[] =>
  [...README.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, text = '']) => text,
  );

/** A session's commands, and below each what it printed. */
function commandsOf(session: string): { command: string; output: string }[] {
  return session
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = '', ...output] = part.split('\n');
      return { command, output: output.join('\n') };
    });
}

/** When a host traps, why and on which CPU, differs from run to run. */
const chanceless = (text: string): string =>
  text
    .replace(/\t *\d+\.\d{6}:/g, '\tTIME:')
    .replace(/^\[\d{3}\](.*) hyp_(enter|exit) reason=\w+ vcpu=0$/gm, '[CPU]$1 TRAP');

describe('the README', () => {
  test('shows what really happens', async ({ daemon }) => {
    await daemon.start('--rate', '100', '--cpus', '2');
    for (const { command, output } of blocks('console').flatMap(commandsOf)) {
      const program = `pkvm-tracefs() { node ${MAIN} "$@"; }`;
      const shell = daemon.spawn('bash', '-c', `${program}; { ${command}\n} 2>&1`);
      await shell.exit();
      expect(chanceless(shell.stdout), command).toBe(chanceless(output));
    }
  });

  test('names scripts and files that there are', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
    for (const [, script = ''] of README.matchAll(/\bnpm (start|test|run \S+)/g))
      expect(Object.keys(scripts)).toContain(script.replace('run ', ''));
    for (const [, file = ''] of README.matchAll(/\]\(([^):]+)\)/g))
      expect(existsSync(file), file).toBe(true);
  });
});

describe('npm start', () => {
  test('mounts, shows around, and serves until Ctrl-C', async () => {
    const start = new Child('npm', ['start', '--silent'], { detached: true });
    await until(() => start.stdout.includes('Ctrl-C ends it') || start.ended, 30_000);
    expect(start.stdout).toMatch(/^ready .*\/tracing$/m);
    expect(start.stdout).toMatch(/^\$ timeout 0\.5 cat trace_pipe$\n^\[\d{3}\]\t.*selftest id=1$/m);
    expect(start.stdout).toMatch(/^cat: trace: Operation not permitted$/m);
    expect(readFileSync('tracing/hypervisor/tracing_on', 'utf8')).toBe('0\n');
    process.kill(-start.pid, 'SIGINT'); // A terminal's Ctrl-C reaches the whole job.
    await start.exit();
    expect(existsSync('tracing')).toBe(false);
  });
});

import { execFileSync } from 'node:child_process';
import { chownSync } from 'node:fs';
import { describe, expect } from 'vitest';
import { Child, type Daemon, isMounted, MAIN, test } from '../support/daemon.ts';

const NOBODY = 65_534;

const asNobody = (...command: string[]): Child => new Child('test/support/as-nobody.sh', command);

/** Whether we can become somebody else, and that one can read the program. */
function canBeNobody(): boolean {
  try {
    execFileSync('test/support/as-nobody.sh', ['test', '-r', MAIN], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.runIf(canBeNobody())('a plain user', () => {
  const session = (dir: string): string => `
    set -e
    cd / && node ${MAIN} mount --detach --rate 0 ${dir}
    cd ${dir}/hypervisor
    echo 1 > events/hypervisor/selftest/enable; echo 1 > tracing_on; echo 1 > selftest_event
    timeout 0.3 cat trace_pipe || [ $? = 124 ]
    stat -c %u tracing_on
    cd / && node ${MAIN} umount ${dir}`;

  test.for([
    { how: 'through fusermount', prefix: [], owner: `${NOBODY}` },
    { how: 'as the root of a user namespace', prefix: ['unshare', '-Urm'], owner: '0' },
  ])('mounts $how, uses it and owns it', async ({ prefix, owner }, { daemon }) => {
    chownSync(daemon.dir, NOBODY, NOBODY);
    const shell = asNobody(...prefix, 'bash', '-c', session(daemon.dir));
    expect(await shell.exit(), shell.stderr).toBe(0);
    const [ready, event, uid] = shell.lines;
    expect(ready).toBe(`ready ${daemon.dir}`);
    expect(event).toMatch(/selftest id=1$/);
    expect(uid).toBe(owner);
    expect(isMounted(daemon.dir)).toBe(false);
  });

  const readAsNobody = async (daemon: Daemon): Promise<[number | string, string]> => {
    await daemon.sh('chmod o+rx .. .; chmod o+r trace_clock');
    const cat = asNobody(
      'cat',
      `${daemon.hypervisor}/trace_clock`,
      `${daemon.hypervisor}/tracing_on`,
    );
    return [await cat.exit(), cat.stdout];
  };

  test('is not let into another user’s mount', async ({ daemon }) => {
    await daemon.start();
    expect(await readAsNobody(daemon)).toEqual([1, '']);
  });

  test('is with --allow-other, as far as the modes go', async ({ daemon }) => {
    await daemon.start('--allow-other');
    expect(await readAsNobody(daemon)).toEqual([1, '[boot]\n']);
  });
});

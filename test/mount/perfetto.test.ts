import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Child, MAIN } from '../support/daemon.ts';

/** Runs a shell's script where the simulator is the tracefs. */
async function simulated(script: string): Promise<Child> {
  const args = [MAIN, 'exec', '--rate', '5000', '--cpus', '3', '--', 'bash', '-c', script];
  const child = new Child(process.execPath, args);
  await child.exit();
  return child;
}

const PROBES = `python3 ${resolve('test/support/traced_probes.py')}`;
const TRACING = '/sys/kernel/tracing';

describe('the steps of Perfetto’s traced_probes', () => {
  test.each([
    ['the top level', `${PROBES} ${TRACING}`],
    ['instances/', `${PROBES} ${TRACING}/instances/hypervisor`],
    [
      'hypervisor/ with the instance bound over it, as docs/tools.md has it',
      `mount --bind ${TRACING}/instances/hypervisor ${TRACING}/hypervisor && ${PROBES} ${TRACING}/hypervisor`,
    ],
  ])('lead to events at %s', async (_where, script) => {
    const child = await simulated(script);
    expect(child.stderr).toBe('');
    expect(child.lines.length).toBeGreaterThanOrEqual(1000);
    expect(child.lines).toContain('hyp_enter');
  });

  test('end at the strict hypervisor/, whose trace cannot be read', async () => {
    const child = await simulated(`${PROBES} ${TRACING}/hypervisor`);
    expect(child.stderr).toContain('Operation not permitted');
    expect(child.stdout).toBe('');
  });
});

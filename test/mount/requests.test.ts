import { afterAll, expect } from 'vitest';
import { test } from '../support/daemon.ts';
import { FuseRequests } from '../support/fuse-requests.ts';

/** What a shell in hypervisor/ does, and how many requests that may take. */
const COSTS: readonly [command: string, most: number][] = [
  ['echo 1 > events/hypervisor/selftest/enable', 6],
  ['cat events/hypervisor/selftest/format', 6],
  ['cat buffer_size_kb', 6],
  ['cat tracing_on', 6],
  ['ls -lR ../events', 350],
];

const requests = FuseRequests.open();
afterAll(() => requests?.close());

test.runIf(requests).for(COSTS)(
  '%s takes at most %i requests of FUSE',
  async ([command, most], { daemon }) => {
    await daemon.start('--rate', '0', '--cpus', '2');
    await daemon.sh('echo 0 > events/hypervisor/hyp_enter/enable'); // The first write asks for more.
    const asked = await requests?.of(daemon.dir, () => daemon.sh(command));
    expect(asked?.length, asked?.join(' ')).toBeLessThanOrEqual(most);
    expect(asked).not.toContain('GETXATTR');
  },
);

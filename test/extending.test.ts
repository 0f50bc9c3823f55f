import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';

/** A copy of all sources, to change as a contributor would. */
class Copy {
  readonly dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-extended-'));
  readonly changed = new Set<string>();

  constructor() {
    onTestFinished(() => rmSync(this.dir, { recursive: true }));
    for (const part of ['src', 'scenarios', 'package.json', 'tsconfig.json'])
      cpSync(part, join(this.dir, part), { recursive: true });
    symlinkSync(resolve('node_modules'), join(this.dir, 'node_modules'));
  }

  /** Puts `text` before the only place where `anchor` is. */
  insert(file: string, anchor: string, text: string): void {
    const path = join(this.dir, file);
    const [before = '', after, ...others] = readFileSync(path, 'utf8').split(anchor);
    if (after === undefined || others.length > 0)
      throw new Error(`${anchor} is not once in ${file}`);
    writeFileSync(path, before + text + anchor + after);
    this.changed.add(file);
  }

  /** Runs the changed program. */
  run(...args: string[]): string {
    return execFileSync(process.execPath, ['--import', 'tsx', 'src/daemon/main.ts', ...args], {
      cwd: this.dir,
      encoding: 'utf8',
    });
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.dir, name), text);
  }
}

const DECLARATIONS = '/** Above the ids';

test('a new event is one declaration in one file, and a new hypercall one row and its handler', () => {
  const copy = new Copy();
  copy.insert(
    'src/hypervisor-sim/hyp-events.ts',
    DECLARATIONS,
    `/** The host yawned. */
export const hostYawn = declare('host_yawn', { width: 'u16', s: 'u64' }, 'width=%u s=%llu', 'width', 's');

`,
  );
  expect([...copy.changed]).toEqual(['src/hypervisor-sim/hyp-events.ts']);

  copy.insert(
    'src/hypervisor-sim/hypercalls.ts',
    '} as const satisfies',
    '  __pkvm_yawn: { id: 37, handler: yawn },\n',
  );
  copy.insert('src/hypervisor-sim/hypercalls.ts', '  vcpuRun,\n} from', '  yawn,\n');
  copy.insert(
    'src/hypervisor-sim/pkvm-hypercalls.ts',
    'function onGuestPage',
    `export const yawn: Handler = (hyp, width, s) => {
  if (u32(width) > 100) throw new ErrnoError('E2BIG', 'nobody can');
  hyp.emit(hostYawn, u32(width), u64(s));
};

`,
  );
  copy.insert(
    'src/hypervisor-sim/pkvm-hypercalls.ts',
    'import { COST_NS }',
    "import { hostYawn } from './hyp-events.ts';\n",
  );
  copy.write(
    'yawns.yaml',
    `description: The host yawns, and once it tries too hard.
tasks:
  - cpus: [0]
    times: 1
    steps:
      - hvc: {call: __pkvm_yawn, args: [7, 5000000000]}
      - hvc: {call: __pkvm_yawn, args: [101]}
`,
  );
  const trace = copy.run('run', '--scenario', './yawns.yaml', '--for', '1s');
  expect(trace.split('\n').map((line) => line.replace(/^.*: /, ''))).toEqual([
    'hyp_enter reason=hvc vcpu=0',
    'host_yawn width=7 s=5000000000',
    'host_hcall id=37 invalid=0',
    'hyp_exit reason=eret_host vcpu=0',
    'hyp_enter reason=hvc vcpu=0',
    'host_hcall id=37 invalid=0',
    'hyp_exit reason=eret_host vcpu=0',
    '',
  ]);
  expect(
    copy.run('run', '--scenario', './yawns.yaml', '--for', '1s', '--events', 'host_yawn'),
  ).toMatch(/^\[000\]\t +0\.\d+: host_yawn width=7 s=5000000000\n$/);
  // The tree shows it by itself: it has a directory, its format and its id.
  copy.write(
    'show.ts',
    `import { HypTrace } from './src/daemon/hyp-trace.ts';
import { eventFormat } from './src/fs/event-format.ts';
const { events } = new HypTrace({ hypervisor: { nrCpus: 1 } } as never);
for (const event of events) if (event.name === 'host_yawn') console.log(eventFormat(event));
`,
  );
  const format = execFileSync(process.execPath, ['--import', 'tsx', 'show.ts'], {
    cwd: copy.dir,
    encoding: 'utf8',
  });
  expect(format).toContain('\tfield:u64 s;\toffset:4;\tsize:8;\tsigned:0;');
}, 60_000);

import { describe, expect, test } from 'vitest';
import { FilterError, parseFilter } from '../../src/fs/event-filter.ts';

const field = (name: string) => ({ name, type: 'int', offset: 0, size: 4, signed: true });
const FIELDS = [field('prev_pid'), field('prev_prio')];

/** What the file shows of a filter, and with which errno the write ends. */
function outcome(text: string): [errno: string, shown: string] {
  try {
    parseFilter(text, FIELDS);
    return ['ok', text];
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    return [error.errno, error.shown(text)];
  }
}

// What a 6.18 kernel's sched_switch/filter answered, with comm for its string field prev_comm.
test.each([
  ['foo == 1', 'EINVAL', '    ^\nparse_error: Field not found\n'],
  ['none', 'EINVAL', '    ^\nparse_error: Field not found\n'],
  ['1 == prev_pid', 'EINVAL', '  ^\nparse_error: Field not found\n'],
  ['prev_pid = 1', 'EINVAL', '          ^\nparse_error: Invalid operator\n'],
  ['prev_pid', 'EINVAL', '        ^\nparse_error: Invalid operator\n'],
  ['prev_pid ==', 'EINVAL', '           ^\nparse_error: Invalid value (did you forget quotes)?\n'],
  [
    'prev_pid == x',
    'EINVAL',
    '             ^\nparse_error: Invalid value (did you forget quotes)?\n',
  ],
  ['comm == sh', 'EINVAL', '         ^\nparse_error: Invalid value (did you forget quotes)?\n'],
  ['(prev_pid == 1', 'ENOENT', "^\nparse_error: Too many '('\n"],
  ['prev_pid == 1)', 'EPERM', "             ^\nparse_error: Too few '('\n"],
  ['comm == 5', 'EINVAL', '         ^\nparse_error: Expecting string field\n'],
  ['prev_pid == "1"', 'EINVAL', '             ^\nparse_error: Expecting numeric field\n'],
  ['prev_pid ~ 5', 'EINVAL', '            ^\nparse_error: Illegal operation for field type\n'],
  ['comm < "a"', 'EINVAL', '        ^\nparse_error: Illegal operation for field type\n'],
  ['comm == "abc', 'ESRCH', '        ^\nparse_error: Missing matching quote\n'],
  [
    'prev_pid == 1 prev_prio == 2',
    'EPERM',
    '              ^\nparse_error: Too many terms in predicate expression\n',
  ],
  [
    'prev_pid == 1.5',
    'EPERM',
    '             ^\nparse_error: Too many terms in predicate expression\n',
  ],
  [
    'prev_pid == 99999999999999999999999',
    'EINVAL',
    '             ^\nparse_error: Illegal integer value\n',
  ],
  ['&& prev_pid == 1', 'EPERM', 'Error: (0)\n'],
  ['()', 'EINVAL', 'Error: (0)\n'],
  ['prev_pid == 1 && ()', 'EPERM', 'Error: (0)\n'],
  ['!', 'EINVAL', ' ^\nparse_error: No filter found\n'],
  ['', 'EINVAL', 'Error: (0)\n'],
])('"%s" is refused as the kernel does: %s', (text, errno, below) => {
  expect(outcome(text)).toEqual([errno, `${text}\n${below}`]);
});

describe('a filter passes', () => {
  const event = (numbers: Record<string, bigint>, comm = 'vm64-vcpu0') => ({
    number: (name: string) => numbers[name] ?? 0n,
    comm,
  });
  const one = event({ prev_pid: 1n, prev_prio: 0x10n, CPU: 3n, common_pid: 1024n });

  test.each([
    ['prev_pid == 1', true],
    ['prev_pid == 0x1', true],
    ['prev_pid != 1', false],
    ['prev_pid == -1', false],
    ['prev_pid > 0', true],
    ['prev_pid >= 2', false],
    ['prev_pid < 2', true],
    ['prev_pid <= 0', false],
    ['prev_prio & 0x30', true],
    ['prev_prio & 3', false],
    ['!prev_pid == 1', false],
    ['!(prev_pid == 1) && prev_prio != 0x10', false],
    ['!(prev_pid == 2) && prev_prio == 0x10', true],
    ['prev_pid == 2 || prev_prio == 16 && CPU == 3', true],
    ['(prev_pid == 2 || prev_prio == 16) && CPU == 4', false],
    ['prev_pid == 1 &&', true],
    ['prev_pid == 2 || ', false],
    ['prev_pid==1&&prev_prio==16', true],
    ['common_pid == 1024', true],
    ['comm == "vm64-vcpu0"', true],
    ["COMM != 'vm64-vcpu0'", false],
    ['comm ~ "vm*vcpu?"', true],
    ['comm ~ "vm"', false],
    ['comm ~ "v.64*"', false],
  ])('%s: %s', (text, passes) => {
    expect(parseFilter(text, FIELDS)(one)).toBe(passes);
  });

  test('numbers of 64 bits', () => {
    const max = 2n ** 64n - 1n;
    expect(parseFilter(`prev_pid == ${max}`, FIELDS)(event({ prev_pid: max }))).toBe(true);
  });
});

import * as v from 'valibot';
import { HYPERCALL_NAMES } from '../hypervisor-sim/hypercalls.ts';
import { SMC_FUNCTIONS } from '../hypervisor-sim/smccc.ts';
import { guestSchema } from './guest-schema.ts';
import type { HostTaskPlan, Step } from './scenario.ts';
import {
  duration,
  list,
  map,
  named,
  object,
  otherwise,
  type Schema,
  step,
  wholeNumber,
} from './schema-parts.ts';

/** What a scenario file may say, and what each part of it becomes. */

const MAX_CPU = 63;
/** On each step of a CPU all its tasks are looked at. */
const MAX_TASKS = 256;
const MAX_PAGES = 64;
const MAX_TIMES = 1_000_000;
const MAX_ARGS = 4;

const cpu = wholeNumber(0, MAX_CPU, 'expected the number of a CPU');
/** Of a CPU that may go off, which the first one may not. */
const otherCpu = wholeNumber(
  1,
  MAX_CPU,
  'expected the number of a CPU other than 0, which stays on',
);

const args: Schema<number[]> = otherwise(
  v.pipe(
    v.array(v.pipe(v.number('expected a number'), v.safeInteger('expected a whole number'))),
    v.maxLength(MAX_ARGS, `expected at most ${MAX_ARGS} numbers`),
  ),
  [],
);

const hypercall = v.union(
  [v.picklist(HYPERCALL_NAMES), v.pipe(v.number(), v.safeInteger(), v.minValue(0))],
  'expected the name of a hypercall, __pkvm_…',
);

const smcFunction = named(SMC_FUNCTIONS, 'a function');
const pages = wholeNumber(1, MAX_PAGES);

const hostStep: Schema<Step> = step<Step>({ sysreg: { do: 'sysreg' } }, () => ({
  share_hyp: map(pages, (count) => ({ do: 'share_hyp', pages: count })),
  ffa_share: map(pages, (count) => ({ do: 'ffa_share', pages: count })),
  hvc: map(object({ call: hypercall, args }), (call) => ({ do: 'hvc', ...call })),
  smc: v.lazy((value) => (value instanceof Object ? smcWithArgs : smcAlone)),
  touch: map(
    v.picklist(['ram', 'mmio', 'hypervisor'], 'expected ram, mmio or hypervisor'),
    (what) => ({ do: 'touch', what }),
  ),
  run_vm: map(v.string('expected the name of a guest'), (guest) => ({ do: 'run_vm', guest })),
  suspend: map(
    object({
      depth: v.picklist(['standby', 'power_down'], 'expected standby or power_down'),
      for: duration,
    }),
    ({ depth, for: ns }) => ({ do: 'suspend', depth, ns }),
  ),
  cpu_on: map(otherCpu, (target) => ({ do: 'cpu_on', cpu: target })),
  cpu_off: map(otherCpu, (target) => ({ do: 'cpu_off', cpu: target })),
  sleep: map(duration, (ns) => ({ do: 'sleep', ns })),
  repeat: map(object({ times: wholeNumber(1, MAX_TIMES), steps: hostSteps }), (loop) => ({
    do: 'repeat',
    ...loop,
  })),
  any: map(
    v.pipe(
      list(object({ weight: wholeNumber(1, 1_000), step: v.lazy(() => hostStep) }), 'choices'),
      v.minLength(1, 'expected at least one choice'),
    ),
    (choices) => ({ do: 'any', choices }),
  ),
}));

const smcAlone: Schema<Step> = map(smcFunction, (id) => ({ do: 'smc', id, args: [] }));
const smcWithArgs: Schema<Step> = map(
  object({ function: smcFunction, args }),
  ({ function: id, args: given }) => ({ do: 'smc', id, args: given }),
);

/** At least one: a task that never traps would never let another one have its turn. */
const hostSteps: Schema<Step[]> = v.pipe(
  list(
    v.lazy(() => hostStep),
    'steps',
  ),
  v.minLength(1, 'expected at least one step'),
);

const FOR_EVER = Number.POSITIVE_INFINITY;
const taskTimes = v.union(
  [v.literal(FOR_EVER), wholeNumber(1, MAX_TIMES)],
  `expected a whole number from 1 to ${MAX_TIMES}`,
);

const task: Schema<HostTaskPlan> = map(
  object({
    cpus: otherwise(
      v.union([v.literal('all'), v.array(cpu)], 'expected all, or a list of CPUs'),
      'all',
    ),
    times: otherwise(taskTimes, FOR_EVER),
    steps: hostSteps,
  }),
  (plan) => plan,
);

const rate: Schema<number> = v.union(
  [map(v.literal('max'), () => Number.POSITIVE_INFINITY), v.pipe(v.number(), v.minValue(0))],
  'expected events a second on each CPU, or max',
);

export const scenarioSchema = object({
  description: v.string('expected a sentence'),
  cpus: v.optional(wholeNumber(1, MAX_CPU + 1)),
  rate: otherwise(rate, 100),
  offline: otherwise(list(otherCpu, 'CPUs'), []),
  guests: otherwise(v.record(v.string(), guestSchema, 'expected guests by name'), {}),
  tasks: v.pipe(list(task, 'tasks'), v.maxLength(MAX_TASKS, `expected at most ${MAX_TASKS} tasks`)),
});

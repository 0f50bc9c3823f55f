import { z } from 'zod';
import { sysregIss } from '../hypervisor-sim/esr.ts';
import { isGuestDevice, isGuestRam } from '../hypervisor-sim/guest-program.ts';
import { MAX_VCPUS } from '../hypervisor-sim/host-structs.ts';
import { HYPERCALL_NAMES } from '../hypervisor-sim/hypercalls.ts';
import { GUEST_FUNCTIONS, SMC_FUNCTIONS } from '../hypervisor-sim/smccc.ts';
import { NS_PER_MS, NS_PER_S, NS_PER_US, PAGE_SIZE } from '../units.ts';
import { assemble, type GuestStep, MAX_LOOP_DEPTH } from './guest-assembler.ts';
import type { Step } from './scenario.ts';

/** What a scenario file may say, and how each part of it becomes what runs. */

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: NS_PER_US,
  ms: NS_PER_MS,
  s: NS_PER_S,
};
const DURATION = /^(\d+(?:\.\d+)?)(ns|us|ms|s)$/;

/** "10ms" and the like, in ns; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = ''] = DURATION.exec(text) ?? [];
  return number === undefined ? undefined : Math.round(Number(number) * (UNITS[unit] ?? 0));
}

const duration = z.string('expected a time, such as 20us or 10ms').transform((text, context) => {
  const ns = parseDuration(text);
  if (ns !== undefined) return ns;
  context.addIssue('expected a time, such as 20us or 10ms');
  return z.NEVER;
});

const count = (max: number) =>
  z
    .int(`expected a whole number from 1 to ${max}`)
    .min(1, `expected a whole number from 1 to ${max}`)
    .max(max, `expected a whole number from 1 to ${max}`);

/** An object of these keys; of others it says which there are. */
const object = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, `expected only ${Object.keys(shape).join(', ')}`);

/** What is wrong, and where: an unknown key itself, and not the object that it is in. */
export function problemOf(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string } {
  const { path, message } = issue;
  const [key] = issue.code === 'unrecognized_keys' ? issue.keys : [];
  return { path: key === undefined ? path : [...path, key], message };
}

/** A name of a table, or for what has none a number. */
const named = (table: Readonly<Record<string, number>>, what: string) =>
  z
    .union([z.string(), z.int().min(0)], `expected the name of ${what}`)
    .transform((value, context) => {
      const id = typeof value === 'number' ? value : table[value];
      if (id !== undefined) return id;
      context.addIssue(`expected the name of ${what}: ${Object.keys(table).join(', ')}`);
      return z.NEVER;
    });

/** System registers by name, with the five numbers of their encodings. */
const SYSREGS = {
  ICC_SGI1R_EL1: sysregIss(3, 0, 12, 11, 5),
  CNTP_CTL_EL0: sysregIss(3, 3, 14, 2, 1),
  PMCR_EL0: sysregIss(3, 3, 9, 12, 0),
  ACTLR_EL1: sysregIss(3, 0, 1, 0, 1),
  DBGBVR0_EL1: sysregIss(2, 0, 0, 0, 4),
  OSLAR_EL1: sysregIss(2, 0, 1, 0, 4),
  TRBLIMITR_EL1: sysregIss(3, 0, 9, 11, 0),
};

const ram = address('guest memory, 0x800000 to 0xfffffc', isGuestRam, 4);
const ramPage = address('a page of guest memory, 0x800000 to 0xfff000', isGuestRam, PAGE_SIZE);
const device = address('a device, below 0x800000', isGuestDevice, 4);
const devicePage = address('a page of devices, below 0x800000', isGuestDevice, PAGE_SIZE);

function address(what: string, isThere: (ipa: number) => boolean, alignment: number) {
  const message = `expected an address of ${what}`;
  return z.int(message).refine((ipa) => isThere(ipa) && ipa % alignment === 0, message);
}

type Kinds<T> = Readonly<Record<string, z.ZodType<T>>>;

/** A step: its kind alone, as a word, or the kind as a key and what belongs to it. */
function step<T>(words: Readonly<Record<string, T>>, kinds: () => Kinds<T>) {
  return z.unknown().transform((value, context): T => {
    const [kind, ...others] =
      typeof value === 'string' ? [value] : Object.keys(Object(value) as object);
    const word = typeof value === 'string' ? words[value] : undefined;
    if (word !== undefined) return word;
    const schema = kind !== undefined && others.length === 0 ? kinds()[kind] : undefined;
    if (schema === undefined || typeof value === 'string') {
      const all = [...Object.keys(words), ...Object.keys(kinds())].join(', ');
      context.addIssue(`expected one step, of the kinds ${all}`);
      return z.NEVER;
    }
    const result = schema.safeParse((value as Record<string, unknown>)[kind as string]);
    if (result.success) return result.data;
    for (const { path, message } of result.error.issues.map(problemOf))
      context.issues.push({
        code: 'custom',
        message,
        path: [kind as string, ...path],
        input: value,
      });
    return z.NEVER;
  });
}

/** At most as deep as the guests' counters reach, which the reference to itself cannot tell. */
const guestSteps = (depth: number): z.ZodType<GuestStep[]> =>
  z.array(guestStep(depth), 'expected a list of steps');

function guestStep(depth: number): z.ZodType<GuestStep> {
  const words: Record<string, GuestStep> = {
    wfi: { do: 'wfi' },
    smc: { do: 'smc' },
    off: { do: 'off' },
  };
  const at =
    (kind: 'load' | 'store' | 'share' | 'unshare' | 'mmio_guard' | 'mmio') =>
    (ipa: number): GuestStep => ({ do: kind, ipa });
  return step<GuestStep>(words, () => ({
    work: duration.transform((ns): GuestStep => ({ do: 'work', ns })),
    load: ram.transform(at('load')),
    store: ram.transform(at('store')),
    share: ramPage.transform(at('share')),
    unshare: ramPage.transform(at('unshare')),
    mmio_guard: devicePage.transform(at('mmio_guard')),
    mmio: device.transform(at('mmio')),
    sysreg: named(SYSREGS, 'a system register').transform(
      (encoding): GuestStep => ({ do: 'sysreg', encoding }),
    ),
    illegal: named(SYSREGS, 'a system register').transform(
      (encoding): GuestStep => ({ do: 'illegal', encoding }),
    ),
    cpu_on: count(MAX_VCPUS - 1).transform((vcpu): GuestStep => ({ do: 'cpu_on', vcpu })),
    hvc: named(GUEST_FUNCTIONS, 'a call').transform((id): GuestStep => ({ do: 'hvc', id })),
    ...(depth < MAX_LOOP_DEPTH
      ? {
          repeat: object({ times: count(1_000_000), steps: guestSteps(depth + 1) }).transform(
            (loop): GuestStep => ({ do: 'repeat', ...loop }),
          ),
        }
      : {}),
  }));
}

const guest = object({
  protected: z.boolean('expected true or false').default(true),
  vcpus: count(MAX_VCPUS).default(1),
  boot: guestSteps(0),
  secondary: guestSteps(0).default([]),
}).transform(({ protected: isProtected, ...plan }) => assemble({ isProtected, ...plan }));

const cpuNumber = z
  .int('expected the number of a CPU')
  .min(0, 'expected the number of a CPU')
  .max(63);
/** Of a CPU that may go off, which the first one may not. */
const otherCpu = cpuNumber.min(1, 'expected the number of a CPU other than 0, which stays on');

const args = z
  .array(z.int('expected a whole number'), 'expected a list of numbers')
  .max(4)
  .default([]);

const hypercall = z.union(
  [z.enum(HYPERCALL_NAMES), z.int().min(0)],
  'expected the name of a hypercall, __pkvm_…',
);

const hostSteps: z.ZodType<Step[]> = z.array(
  z.lazy(() => hostStep),
  'expected a list of steps',
);

const hostStep: z.ZodType<Step> = step<Step>({ sysreg: { do: 'sysreg' } }, () => ({
  share_hyp: count(64).transform((pages): Step => ({ do: 'share_hyp', pages })),
  ffa_share: count(64).transform((pages): Step => ({ do: 'ffa_share', pages })),
  hvc: object({ call: hypercall, args }).transform((call): Step => ({ do: 'hvc', ...call })),
  smc: z
    .union([
      named(SMC_FUNCTIONS, 'a function').transform((id) => ({ function: id, args: [] })),
      object({ function: named(SMC_FUNCTIONS, 'a function'), args }),
    ])
    .transform((call): Step => ({ do: 'smc', id: call.function, args: call.args })),
  touch: z
    .enum(['ram', 'mmio', 'hypervisor'], 'expected ram, mmio or hypervisor')
    .transform((what): Step => ({ do: 'touch', what })),
  run_vm: z.string('expected the name of a guest').transform(
    (name): Step => ({
      do: 'run_vm',
      guest: name,
    }),
  ),
  suspend: object({
    depth: z.enum(['standby', 'power_down'], 'expected standby or power_down'),
    for: duration,
  }).transform(({ depth, for: ns }): Step => ({ do: 'suspend', depth, ns })),
  cpu_on: otherCpu.transform((cpu): Step => ({ do: 'cpu_on', cpu })),
  cpu_off: otherCpu.transform((cpu): Step => ({ do: 'cpu_off', cpu })),
  sleep: duration.transform((ns): Step => ({ do: 'sleep', ns })),
  repeat: object({ times: count(1_000_000), steps: hostSteps }).transform(
    (loop): Step => ({ do: 'repeat', ...loop }),
  ),
  any: z
    .array(object({ weight: count(1_000), step: z.lazy(() => hostStep) }))
    .min(1, 'expected at least one choice')
    .transform((choices): Step => ({ do: 'any', choices })),
}));

const task = object({
  cpus: z
    .union([z.literal('all'), z.array(cpuNumber)], 'expected all, or a list of CPUs')
    .default('all'),
  times: count(1_000_000).optional(),
  steps: hostSteps.refine((steps) => steps.length > 0, 'expected at least one step'),
}).transform(({ times = Number.POSITIVE_INFINITY, ...plan }) => ({ ...plan, times }));

export const scenarioSchema = object({
  description: z.string('expected a sentence'),
  cpus: count(64).optional(),
  rate: z
    .union(
      [z.literal('max').transform(() => Number.POSITIVE_INFINITY), z.number().min(0)],
      'expected events a second on each CPU, or max',
    )
    .default(100),
  offline: z.array(otherCpu, 'expected a list of CPUs').default([]),
  guests: z.record(z.string(), guest).default({}),
  tasks: z.array(task, 'expected a list of tasks'),
});

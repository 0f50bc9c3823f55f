import fc, { type Arbitrary } from 'fast-check';
import { stringify } from 'yaml';
import { HYPERCALL_NAMES } from '../../../src/hypervisor-sim/hypercalls.ts';
import { GUEST_FUNCTIONS, SMC_FUNCTIONS } from '../../../src/hypervisor-sim/smccc.ts';

/** Scenario files, as docs/scenarios.md describes them, with values that are nearly right. */

type Value = Arbitrary<unknown>;

const among = (...values: unknown[]): Value => fc.constantFrom(...values);
/** Mostly what belongs there, now and then anything. */
const mostly = (value: Value): Value =>
  fc.oneof(
    { arbitrary: value, weight: 40 },
    { arbitrary: fc.anything({ maxDepth: 2, maxKeys: 3 }), weight: 1 },
    { arbitrary: among(-1, 0, 1.5, 2 ** 53, 1e308, Number.NaN, '', null, [], {}), weight: 1 },
  );

const count = (max: number): Value => mostly(fc.integer({ min: 1, max }));
const time = mostly(
  fc.tuple(fc.nat(3_000), fc.constantFrom('ns', 'us', 'ms', 's')).map((parts) => parts.join('')),
);
const args = fc.array(mostly(fc.integer()), { maxLength: 5 });
const named = (kinds: Record<string, Value>): Value =>
  fc.oneof(
    ...Object.entries(kinds).map(([kind, value]) => value.map((given) => ({ [kind]: given }))),
  );
const oddStep = among('sysreg', 'dance', { dance: 1 }, {}, 7, null, { share_hyp: 1, sleep: '1ms' });

const GUESTS = ['web', 'vault'];

const hostStep = fc.letrec<{ step: unknown; steps: unknown[] }>((tie) => ({
  step: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    named({
      share_hyp: count(64),
      ffa_share: count(64),
      run_vm: mostly(among(...GUESTS)),
      hvc: fc.record(
        { call: mostly(among(...HYPERCALL_NAMES, 4095)), args },
        { requiredKeys: ['call'] },
      ),
      smc: fc.oneof(
        among(...Object.keys(SMC_FUNCTIONS), 0x8400_0000),
        fc.record(
          { function: among(...Object.keys(SMC_FUNCTIONS)), args },
          { requiredKeys: ['function'] },
        ),
      ),
      touch: mostly(among('ram', 'mmio', 'hypervisor')),
      suspend: fc.record({ depth: mostly(among('standby', 'power_down')), for: time }),
      cpu_on: count(4),
      cpu_off: count(4),
      sleep: time,
    }),
    oddStep,
    named({
      repeat: fc.record({ times: count(1_000_000), steps: tie('steps') }),
      any: fc.array(fc.record({ weight: count(1_000), step: tie('step') }), { maxLength: 3 }),
    }),
  ),
  steps: fc.array(tie('step'), { maxLength: 4 }) as Arbitrary<unknown[]>,
}));

const ram = mostly(fc.nat(2_047).map((page) => 0x80_0000 + page * 4096));
const device = mostly(fc.nat(2_047).map((page) => page * 4096));
const sysreg = mostly(among('ICC_SGI1R_EL1', 'CNTP_CTL_EL0', 'DBGBVR0_EL1', 'TRBLIMITR_EL1'));

const guestStep = fc.letrec<{ step: unknown; steps: unknown[] }>((tie) => ({
  step: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    named({
      work: time,
      load: ram,
      store: ram,
      share: ram,
      unshare: ram,
      mmio_guard: device,
      mmio: device,
      sysreg,
      illegal: sysreg,
      cpu_on: count(15),
      hvc: mostly(among(...Object.keys(GUEST_FUNCTIONS))),
    }),
    among('wfi', 'smc', 'off', 'dance'),
    named({ repeat: fc.record({ times: count(1_000_000), steps: tie('steps') }) }),
  ),
  steps: fc.array(tie('step'), { maxLength: 5 }) as Arbitrary<unknown[]>,
}));

const guest = fc.record(
  {
    protected: mostly(fc.boolean()),
    vcpus: count(16),
    boot: guestStep.steps,
    secondary: guestStep.steps,
  },
  { requiredKeys: ['boot'] },
);

const task = fc.record(
  {
    cpus: mostly(fc.oneof(among('all'), fc.array(fc.nat(4), { maxLength: 3 }))),
    times: count(5),
    steps: hostStep.steps,
  },
  { requiredKeys: ['steps'] },
);

const scenario = fc.record(
  {
    description: mostly(fc.string()),
    rate: mostly(among('max', 0, 100, 1e5, 1e9)),
    cpus: count(4),
    offline: fc.array(mostly(fc.integer({ min: 1, max: 4 })), { maxLength: 2 }),
    guests: fc.record({ web: guest, vault: guest }),
    tasks: fc.array(task, { maxLength: 3 }),
  },
  { requiredKeys: ['description', 'guests', 'tasks'] },
);

/** As a person writes it, and as JSON, which is YAML too. */
export const scenarioText: Arbitrary<string> = fc
  .tuple(scenario, fc.boolean())
  .map(([value, asJson]) => (asJson ? JSON.stringify(value, jsonable) : yamlOf(value)));

const jsonable = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `${value}` : value;

function yamlOf(value: unknown): string {
  try {
    return stringify(value);
  } catch {
    return JSON.stringify(value, jsonable); // Some of anything() has no YAML.
  }
}

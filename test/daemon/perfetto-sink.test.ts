import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { expect, onTestFinished, test } from 'vitest';
import { PERFETTO_PROTO } from '../../src/daemon/perfetto-schema.ts';
import { PerfettoSink } from '../../src/daemon/perfetto-sink.ts';
import { run, TextSink } from '../../src/daemon/run.ts';
import { loadScenario, scenarioNames } from '../../src/daemon/scenarios.ts';
import { NS_PER_MS } from '../../src/units.ts';

interface GenericField {
  readonly name: string;
  readonly int_value?: string;
  readonly uint_value?: string;
}

interface FtraceEvent {
  readonly timestamp: string;
  readonly event: string;
  readonly generic?: { event_name: string; field: GenericField[] };
  readonly [message: string]: unknown;
}

interface Trace {
  readonly packet: {
    readonly ftrace_events: { readonly cpu: number; readonly event: FtraceEvent[] };
    readonly trusted_packet_sequence_id: number;
  }[];
}

const optionsOf = (name: string) => ({
  scenario: loadScenario(name),
  seed: 3,
  forNs: 3 * NS_PER_MS,
  cpus: 2,
  memoryMib: 8,
  counterHz: 1_000_000_000,
  rate: undefined,
  events: undefined,
});

/** As a reader decodes it who knows Perfetto's messages; whole numbers as text, of any size. */
async function decoded(name: string): Promise<Trace> {
  const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-perfetto-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'trace.pb');
  await run(optionsOf(name), new PerfettoSink(file));
  const type = protobuf.parse(PERFETTO_PROTO, { keepCase: true }).root.lookupType('Trace');
  return type.toObject(type.decode(readFileSync(file)), { longs: String, oneofs: true }) as Trace;
}

async function textLines(name: string): Promise<string[]> {
  let text = '';
  const sink = new TextSink((bytes) => {
    text += Buffer.from(bytes).toString('latin1');
  });
  await run(optionsOf(name), sink);
  return text.split('\n').slice(0, -1);
}

/** The event as a line of text has it: CPU, µs and name. */
function summary(cpu: number, event: FtraceEvent): string {
  const name = event.generic?.event_name ?? event.event;
  return `${cpu} ${BigInt(event.timestamp) / 1000n} ${name}`;
}

test.each(scenarioNames())(
  'a trace of %s decodes to the events that the text has',
  async (name) => {
    const { packet } = await decoded(name);
    const events = packet.flatMap(({ ftrace_events: { cpu, event } }) =>
      event.map((each) => summary(cpu, each)),
    );
    const lines = (await textLines(name)).map((line) => {
      const [, cpu, time = '', event] = /^\[0*(\d+)\]\t *([\d.]+): (\w+)/.exec(line) ?? [];
      return `${cpu} ${Number(time.replace('.', ''))} ${event}`;
    });
    expect(events.length).toBe(lines.length);
    for (const cpu of ['0', '1']) {
      const of = (all: string[]): string[] => all.filter((each) => each.startsWith(`${cpu} `));
      expect(of(events)).toEqual(of(lines));
    }
  },
);

test('the fields are those of the events', async () => {
  const { packet } = await decoded('boot');
  const all = packet.flatMap(({ ftrace_events: { event } }) => event);
  const first = (name: string): unknown => all.find(({ event }) => event === name)?.[name];
  const lines = await textLines('boot');
  const line = (name: string): string => lines.find((each) => each.includes(`: ${name} `)) ?? '';
  expect(line('host_mem_abort')).toContain('esr=0x92000047 addr=0x40000000');
  expect(first('host_mem_abort')).toEqual({ esr: `${0x92000047}`, addr: `${0x40000000}` });
  expect(first('host_hcall')).toEqual({ id: 9, invalid: 0 });
  expect(first('psci_mem_protect')).toEqual({ count: '1', was: '0' });
  expect(first('iommu_idmap')).toEqual({ from: `${0x40000000}`, to: `${0x40001000}`, prot: 7 });
  expect(first('hyp_enter')).toEqual({});
  const said = all.find(({ generic }) => generic?.event_name === '__hyp_printk')?.generic;
  expect(said?.field.slice(0, 3)).toEqual([
    { name: 'fmt_id', uint_value: '0', value: 'uint_value' },
    { name: 'a', uint_value: `${0x1000}`, value: 'uint_value' },
    { name: 'b', uint_value: '2', value: 'uint_value' },
  ]);
});

// Known by their numbers: perfetto's ftrace_event.proto.
test('events have the numbers that Perfetto reads them by', () => {
  const { fields } = protobuf
    .parse(PERFETTO_PROTO, { keepCase: true })
    .root.lookupType('FtraceEvent');
  expect(Object.fromEntries(Object.values(fields).map(({ name, id }) => [name, id]))).toEqual({
    timestamp: 1,
    pid: 2,
    generic: 327,
    host_hcall: 582,
    host_smc: 583,
    hyp_exit: 584,
    iommu_idmap: 585,
    psci_mem_protect: 586,
    host_mem_abort: 587,
    hyp_enter: 588,
    iommu_idmap_complete: 589,
    vcpu_illegal_trap: 590,
  });
});

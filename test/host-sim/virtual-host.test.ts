import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { switchOnVirtual } from '../../src/daemon/machine.ts';
import { RawSink } from '../../src/daemon/raw-sink.ts';
import { type RunOptions, run, TextSink } from '../../src/daemon/run.ts';
import { loadScenario, scenarioNames } from '../../src/daemon/scenarios.ts';
import { statsTable } from '../../src/daemon/stats-table.ts';
import { VirtualHost } from '../../src/host-sim/virtual-host.ts';
import { HYP_EVENTS, HYP_REASON, hypEventId } from '../../src/hypervisor-sim/hyp-events.ts';
import { SMC_FUNCTIONS } from '../../src/hypervisor-sim/smccc.ts';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { MIB, NS_PER_MS, NS_PER_US, PAGE_SIZE } from '../../src/units.ts';
import { TraceChecker } from '../support/trace-checker.ts';

const SEEDS = 200;
const MEMORY_MIB = 8;

function options(name: string, seed: number, forNs: number): RunOptions {
  const scenario = loadScenario(name);
  return {
    scenario,
    seed,
    forNs,
    cpus: scenario.cpus ?? 2,
    memoryMib: MEMORY_MIB,
    counterHz: 1_000_000_000,
    rate: undefined,
    events: undefined,
  };
}

async function text(name: string, seed: number, forNs: number): Promise<string> {
  let written = '';
  await run(
    options(name, seed, forNs),
    new TextSink((bytes) => {
      written += Buffer.from(bytes).toString('latin1');
    }),
  );
  return written;
}

/** Long enough that each scenario comes by all that it has. */
const LONG: Record<string, number> = {
  storm: 1 * NS_PER_MS,
  io: 10 * NS_PER_MS,
  boot: 8 * NS_PER_MS,
  idle: 300 * NS_PER_MS,
};
const lengthOf = (name: string): number => LONG[name] ?? 50 * NS_PER_MS;

describe.each(scenarioNames())('%s', (name) => {
  test('is the same trace, byte for byte, from the same seed, and another from another', async () => {
    const forNs = 2 * lengthOf(name);
    const first = await text(name, 7, forNs);
    expect(first.length).toBeGreaterThan(1_000);
    expect(await text(name, 7, forNs)).toBe(first);
    expect(await text(name, 8, forNs)).not.toBe(first);
  });

  test('has no visit to the hypervisor that takes no time', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const checker = new TraceChecker();
      await run(options(name, seed, lengthOf(name)), {
        drain: (buffer) => checker.drain(buffer),
        close: () => {},
      });
      expect(checker.shortestVisitNs, `seed ${seed}`).toBeGreaterThan(0);
    }
  });

  test(`keeps every invariant from ${SEEDS} seeds, and all pages come back`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const checker = new TraceChecker();
      const owned = await run(options(name, seed, lengthOf(name)), {
        drain: (buffer) => checker.drain(buffer),
        close: () => {},
      });
      expect(checker.lost).toBe(0);
      const pages = (MEMORY_MIB * MIB) / PAGE_SIZE;
      expect(owned, `seed ${seed}`).toEqual({
        host: pages,
        hyp: 0,
        guest: 0,
        shared: 0,
        pending: 0,
        pinned: 0,
      });
    }
  }, 60_000);
});

test('a boot has a line of each event that it is about', async () => {
  const trace = await text('boot', 7, 20 * NS_PER_MS);
  const names = new Set(trace.split('\n').map((line) => line.split(/\s+/).at(2)));
  for (const name of ['host_hcall', 'host_mem_abort', 'psci_mem_protect', 'vcpu_illegal_trap'])
    expect(names).toContain(name);
  const guests = trace.split('\n').filter((line) => line.includes('reason=eret_guest'));
  expect(new Set(guests.map((line) => / vcpu=(\d+)$/.exec(line)?.[1])).size).toBeGreaterThan(3);
});

test('VMs come and go, each as well provided for as the first', async () => {
  const trace = await text('boot', 7, 100 * NS_PER_MS);
  const gone = [...trace.matchAll(/gone, (\d+) of its pages/g)].map(([, pages]) => pages);
  expect(gone.length).toBeGreaterThan(20);
  expect(new Set(gone)).toEqual(new Set(['2', '5'])); // Of the vault, and of the web server.
});

test('what only one CPU at a time can do shows in its order, whoever does it', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    let last = '0';
    for (const [, count = '', was] of (await text('boot', seed, 20 * NS_PER_MS)).matchAll(
      /psci_mem_protect count=(\d+) was=(\d+)/g,
    )) {
      expect(was, `seed ${seed}`).toBe(last);
      last = count;
    }
  }
});

test('between them the scenarios show every event but selftest', async () => {
  const seen = new Set<string>();
  for (const name of scenarioNames()) {
    const checker = new TraceChecker();
    await run(options(name, 1, 20 * NS_PER_MS), {
      drain: (buffer) => checker.drain(buffer),
      close: () => {},
    });
    for (const event of checker.events.keys()) seen.add(event);
  }
  const names = HYP_EVENTS.map((event) => event.name).filter((name) => name !== 'selftest');
  expect([...seen].sort()).toEqual(names.sort());
});

describe('virtual time', () => {
  const machine = (name: string) => {
    const scenario = loadScenario(name);
    const { hypervisor, time, pages } = switchOnVirtual(
      { cpus: 2, memoryMib: MEMORY_MIB, counterHz: 1_000_000_000 },
      scenario,
    );
    return { hypervisor, time, scenario, host: new VirtualHost(hypervisor, time, pages) };
  };

  test('goes by as far as it is told to, however much the CPUs have to do', async () => {
    const { time, host, scenario } = machine('storm');
    await host.run(scenario, 1);
    host.rate = Number.POSITIVE_INFINITY;
    for (const ns of [1, 999, 1_000_000]) {
      const before = time.now;
      host.advance(ns);
      expect(time.now).toBe(before + ns);
    }
  });

  test('in many pieces is the same as in one', async () => {
    const stats = await Promise.all(
      [1, 40].map(async (pieces) => {
        const { hypervisor, host, scenario } = machine('boot');
        await host.run(scenario, 7);
        host.rate = scenario.rate;
        for (let n = 0; n < pieces; n++) host.advance((10 * NS_PER_MS) / pieces);
        return statsTable(hypervisor, 1_000_000_000);
      }),
    );
    expect(stats[0]).toContain('__pkvm_teardown_vm');
    expect(stats[1]).toBe(stats[0]);
  });

  test('that is stopped after any step goes on as if it had not been', async () => {
    const stats = await Promise.all(
      [Number.POSITIVE_INFINITY, 1, 7].map(async (stepsAtOnce) => {
        const { hypervisor, time, host, scenario } = machine('boot');
        await host.run(scenario, 7);
        host.rate = scenario.rate;
        for (let left = 10 * NS_PER_MS, before = -1; left > 0; ) {
          let steps = 0;
          left = host.advance(left, () => ++steps < stepsAtOnce);
          expect(time.now).toBeGreaterThanOrEqual(before);
          before = time.now;
        }
        expect(time.now).toBe(10 * NS_PER_MS);
        return statsTable(hypervisor, 1_000_000_000);
      }),
    );
    expect(stats[0]).toContain('__pkvm_teardown_vm');
    expect(stats[1]).toBe(stats[0]);
    expect(stats[2]).toBe(stats[0]);
  });

  test('stands still for who looks in between, and for a host without a rate', async () => {
    const { hypervisor, time, host, scenario } = machine('idle');
    await host.run(scenario, 1);
    host.rate = 0;
    host.advance(NS_PER_MS);
    const before = hypervisor.trace.passed;
    host.advance(1_000 * NS_PER_MS);
    expect(hypervisor.trace.passed).toBe(before);
    hypervisor.hvc(0, 9, 0, 0);
    hypervisor.hvc(1, 9, 0, 0);
    expect(time.now).toBe(1_001 * NS_PER_MS);
    expect(time.counter()).toBe(1_001 * NS_PER_MS);
  });

  test('counts on in a suspend, in which no CPU does anything', async () => {
    const { hypervisor, time, host, scenario } = machine('storm');
    await host.run(scenario, 1);
    host.rate = Number.POSITIVE_INFINITY;
    host.advance(NS_PER_MS);
    const before = hypervisor.trace.passed;
    host.suspend(5_000 * NS_PER_MS);
    expect(time.now).toBe(5_001 * NS_PER_MS);
    // CPU 1 goes off, SYSTEM_SUSPEND, CPU 0 is back by PSCI's entry, and switches CPU 1 on.
    expect(hypervisor.trace.passed - before).toBeLessThan(20);
    for (const cpu of [0, 1])
      expect(hypervisor.cpu(cpu).stats.trap(HYP_REASON.psci).calls, `cpu ${cpu}`).toBe(1);
    host.advance(NS_PER_MS);
    expect(hypervisor.trace.passed).toBeGreaterThan(before + 1_000);
  });

  test('leaves off in a suspend what was off before', async () => {
    const { hypervisor, host, scenario } = machine('storm');
    await host.run(scenario, 1);
    hypervisor.smc(1, SMC_FUNCTIONS.PSCI_CPU_OFF);
    host.suspend(NS_PER_MS);
    expect([0, 1].map((cpu) => hypervisor.isOnline(cpu))).toEqual([true, false]);
  });

  test('goes by for a host that never traps, and for one that has no memory for its VM', async () => {
    const { hypervisor, time, host, scenario } = machine('boot');
    const touch = {
      cpus: 'all' as const,
      times: Number.POSITIVE_INFINITY,
      steps: [{ do: 'touch', what: 'ram' } as const],
    };
    await host.run({ ...scenario, tasks: [touch] }, 1);
    host.rate = Number.POSITIVE_INFINITY;
    host.advance(5 * NS_PER_MS);
    expect(time.now).toBe(5 * NS_PER_MS);

    const hungry = Object.entries(scenario.guests).map(([name, guest]) => [
      name,
      { ...guest, pages: -8 },
    ]);
    await host.run({ ...scenario, guests: Object.fromEntries(hungry) }, 1);
    host.advance(5 * NS_PER_MS);
    expect(time.now).toBe(10 * NS_PER_MS);
    await host.windDown();
    expect(hypervisor.cpu(0).vms.handles).toEqual([]);
  });

  test('asks for no more memory than there is, and gives back what it had', async () => {
    const scenario = loadScenario('boot');
    const { hypervisor, time, pages } = switchOnVirtual(
      { cpus: 64, memoryMib: 4, counterHz: 1_000_000_000 },
      scenario,
    );
    const host = new VirtualHost(hypervisor, time, pages);
    const greedy = {
      ...scenario,
      tasks: scenario.tasks.map((task) => ({ ...task, cpus: 'all' as const })),
    };
    const free = pages.freePages;
    await expect(host.run(greedy, 1)).rejects.toThrow('ENOMEM:');
    expect(pages.freePages).toBe(free);
  });
});

test('lines come in the order of time over all CPUs', async () => {
  const times = (await text('storm', 3, 2 * NS_PER_MS))
    .split('\n')
    .slice(0, -1)
    .map((line) => Number(/([\d.]+):/.exec(line)?.[1]));
  expect(times.length).toBeGreaterThan(10_000);
  expect(times.every((time, index) => index === 0 || time >= (times[index - 1] ?? 0))).toBe(true);
});

test('the raw pages hold the same events as the text, at the same times', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'pkvm-tracefs-raw-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const forNs = 5 * NS_PER_MS;
  await run(options('storm', 5, forNs), new RawSink(dir, 2));
  const lines = (await text('storm', 5, forNs)).split('\n').slice(0, -1);

  for (const cpu of [0, 1]) {
    const pages = readFileSync(join(dir, `cpu${cpu}`));
    expect(pages.length % PAGE_SIZE).toBe(0);
    const events: string[] = [];
    for (let at = 0; at < pages.length; at += PAGE_SIZE) {
      const image = getPageImage(pages.subarray(at, at + PAGE_SIZE));
      expect(image.lost).toBe(0);
      for (const { ts, at: payload } of pageEvents(image)) {
        const id = Buffer.from(image.data).readUInt16LE(payload);
        const us = Math.floor(ts / NS_PER_US);
        events.push(`${us} ${HYP_EVENTS[id - hypEventId(0)]?.name}`);
      }
    }
    const expected = lines
      .filter((line) => line.startsWith(`[00${cpu}]`))
      .map((line) => {
        const [, time = '', name] = line.split(/\s+/);
        return `${Number(time.slice(0, -1).replace('.', ''))} ${name}`;
      });
    expect(events).toEqual(expected);
  }
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { Benchmark } from './benchmark.ts';
import { Daemon } from './daemon.ts';
import type { HostTracefs } from './host-tracefs.ts';

const EVENTS = 6;

/** From the write(2) that makes an event until a `cat trace_pipe` that waits has passed it on. */
export function wakeUp(tracefs: HostTracefs | undefined): Benchmark {
  let daemon: Daemon;
  return {
    name: 'from an event to a woken reader',
    unit: 'ms',
    better: 'less',
    besides: 'the kernel',
    async setUp() {
      daemon = await Daemon.start(2, '--rate', '0');
      daemon.write('events/hypervisor/selftest/enable', '1');
      daemon.write('tracing_on', '1');
      tracefs?.empty(64);
      tracefs?.write('tracing_on', '1');
      return () => daemon.stop();
    },
    async round() {
      const ours = await wakeUpMs(daemon.path('trace_pipe'), daemon.path('selftest_event'));
      const { instance } = tracefs ?? {};
      const beside =
        instance && (await wakeUpMs(`${instance}/trace_pipe`, `${instance}/trace_marker`));
      return { ours, beside: beside || undefined };
    },
  };
}

async function wakeUpMs(pipe: string, producer: string): Promise<number> {
  const cat = spawn('cat', [pipe], { stdio: ['ignore', 'pipe', 'ignore'] });
  let sum = 0;
  for (let n = 0; n < EVENTS; n++) {
    const arrived = once(cat.stdout, 'data');
    // At no fixed moment of the timer that looks for events.
    await new Promise((done) => setTimeout(done, 20 + Math.random() * 50));
    const start = performance.now();
    writeFileSync(producer, '1');
    await arrived;
    sum += performance.now() - start;
  }
  const exited = once(cat, 'exit');
  cat.kill();
  await exited;
  return sum / EVENTS;
}

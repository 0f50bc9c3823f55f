import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { statsOf } from './host-tracefs.ts';
import { MountProcess } from './mount-process.ts';

const MAIN = 'dist/daemon/main.js';

/** Traps of no work but their two events, at a rate of 0 at first. */
export const TRAPS = ['--scenario', 'bench/traps.yaml'] as const;

/** A daemon with a mount of its own. */
export class Daemon extends MountProcess {
  readonly cpus: number;

  private constructor({ dir, process, readyMs }: MountProcess, cpus: number) {
    super(dir, process, readyMs);
    this.cpus = cpus;
  }

  static async start(cpus: number, ...options: string[]): Promise<Daemon> {
    const machine = ['--cpus', `${cpus}`, '--memory', '512', ...options];
    return new Daemon(await MountProcess.run((dir) => [MAIN, 'mount', dir, ...machine]), cpus);
  }

  path(file: string): string {
    return join(this.dir, 'hypervisor', file);
  }

  write(file: string, text: string): void {
    writeFileSync(this.path(file), text);
  }

  /** Of all CPUs: the events that wait to be read. */
  get entries(): number {
    return statsOf(this.path(''), this.cpus, 'entries');
  }

  /** Of all CPUs: the events that there were. */
  get written(): number {
    return this.entries + this.overrun + statsOf(this.path(''), this.cpus, 'read events');
  }

  /** Of all CPUs: the events that were lost. */
  get overrun(): number {
    return statsOf(this.path(''), this.cpus, 'overrun');
  }

  /** Traces all events into so many KiB a CPU, from now on. */
  trace(bufferKb: number): void {
    this.write('tracing_on', '0');
    this.write('trace', '');
    this.write('buffer_size_kb', `${bufferKb}`);
    this.write('events/enable', '1');
    this.write('tracing_on', '1');
  }

  /** Lets traps come until so many events wait to be read, and then there is silence. */
  async fill(events: number, bufferKb: number): Promise<void> {
    this.trace(bufferKb);
    this.write('../sim/rate', 'max');
    while (this.entries < events) await new Promise((again) => setTimeout(again, 5));
    this.write('../sim/rate', '0');
    this.write('tracing_on', '0');
  }
}

/** A `cat` that reads a pipe, to throw it away. */
export async function startCat(pipe: string): Promise<ChildProcess> {
  const cat = spawn('cat', [pipe], { stdio: 'ignore' });
  await once(cat, 'spawn');
  return cat;
}

/** Ends it, if it has not come to an end. */
export async function endCat(cat: ChildProcess): Promise<void> {
  if (cat.exitCode !== null) return;
  const exited = once(cat, 'exit');
  cat.kill();
  await exited;
}

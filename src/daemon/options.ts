import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../host-sim/duration.ts';
import type { HypEvent } from '../hypervisor-sim/hyp-event.ts';
import { HYP_EVENTS } from '../hypervisor-sim/hyp-events.ts';

export const MAX_CPUS = 64;
const MIN_MEMORY_MIB = 4;
const MAX_MEMORY_MIB = 2048;
const MIN_COUNTER_HZ = 1_000;
const MAX_COUNTER_HZ = 10_000_000_000;
export const MAX_SEED = 2 ** 32 - 1;

/** The parsers of option values; each throws what commander prints in one line. */
export const parseCpus = wholeNumber(1, MAX_CPUS);
export const parseMemoryMib = wholeNumber(MIN_MEMORY_MIB, MAX_MEMORY_MIB);
export const parseCounterHz = wholeNumber(MIN_COUNTER_HZ, MAX_COUNTER_HZ);

export const parseSeed = wholeNumber(0, MAX_SEED);

/** Events a second; `max` is as fast as it goes. */
export function parseRate(text: string): number {
  const rate = parseRateText(text);
  if (rate === undefined) throw new InvalidArgumentError('It must be a number, or max.');
  return rate;
}

/** The same, or undefined. */
export function parseRateText(text: string): number | undefined {
  if (text === 'max') return Number.POSITIVE_INFINITY;
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

export const formatRate = (rate: number): string =>
  rate === Number.POSITIVE_INFINITY ? 'max' : `${rate}`;

/** A time such as 50ms, in ns. */
export function parseTime(text: string): number {
  const ns = parseDuration(text);
  if (ns === undefined) throw new InvalidArgumentError('It must be a time, such as 20us or 50ms.');
  return ns;
}

/** A path; an empty one would be taken for the current directory. */
export function parsePath(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must be a path.');
  return text;
}

/** Some events' names, separated by commas. */
export function parseEvents(text: string): readonly HypEvent[] {
  return text.split(',').map((name) => {
    const event = HYP_EVENTS.find((candidate) => candidate.name === name);
    if (event) return event;
    const all = HYP_EVENTS.map((candidate) => candidate.name).join(', ');
    throw new InvalidArgumentError(`There is no event ${name}, only ${all}.`);
  });
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

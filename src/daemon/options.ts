import { InvalidArgumentError } from 'commander';

export const MAX_CPUS = 64;
const MIN_MEMORY_MIB = 4;
const MAX_MEMORY_MIB = 2048;
const MIN_COUNTER_HZ = 1_000;
const MAX_COUNTER_HZ = 10_000_000_000;

/** The parsers of option values; each throws what commander prints in one line. */
export const parseCpus = wholeNumber(1, MAX_CPUS);
export const parseMemoryMib = wholeNumber(MIN_MEMORY_MIB, MAX_MEMORY_MIB);
export const parseCounterHz = wholeNumber(MIN_COUNTER_HZ, MAX_COUNTER_HZ);

/** Events a second; `max` is as fast as it goes. */
export function parseRate(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY;
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError('It must be a number, or max.');
  return Number(text);
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

import { NS_PER_MS, NS_PER_S, NS_PER_US } from '../units.ts';

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

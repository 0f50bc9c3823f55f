import { ErrnoError } from '../errno.ts';
import {
  HYPERCALLS,
  type HypercallName,
  type HypercallResult,
} from '../hypervisor-sim/hypercalls.ts';
import { SMCCC_RET_SUCCESS } from '../hypervisor-sim/smccc.ts';

/** A hypercall as sim/hypercall takes it: `[cpu=N] NAME-or-number [ARGUMENT…]`, up to four. */
export interface HypercallText {
  readonly cpu: number | undefined;
  readonly name: string;
  readonly id: number;
  readonly args: readonly bigint[];
}

const MAX_ARGS = 4;
const U64_MAX = 2n ** 64n - 1n;
const NUMBER = /^(0x[0-9a-f]+|\d+)$/i;

/** @throws ErrnoError EINVAL */
export function parseHypercall(text: string, nrCpus: number): HypercallText {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const cpu = words[0]?.startsWith('cpu=')
    ? Number(words.shift()?.slice('cpu='.length))
    : undefined;
  const [name = '', ...rest] = words;
  const id = Object.hasOwn(HYPERCALLS, name) ? HYPERCALLS[name as HypercallName].id : number(name);
  const args = rest.map(number);
  const isCpu = cpu === undefined || (Number.isInteger(cpu) && cpu >= 0 && cpu < nrCpus);
  if (!isCpu || id === undefined || args.length > MAX_ARGS || args.includes(undefined))
    throw new ErrnoError('EINVAL', `not a hypercall: ${text}`);
  return { cpu, name, id: Number(id), args: args.filter((arg) => arg !== undefined) };
}

function number(word: string): bigint | undefined {
  const value = NUMBER.test(word) ? BigInt(word) : U64_MAX + 1n;
  return value <= U64_MAX ? value : undefined;
}

/** The call and what the host found in its registers. */
export function formatHypercall(
  cpu: number,
  { name, args }: HypercallText,
  { x0, x1 }: HypercallResult,
): string {
  const call = [name, ...args.map((arg) => `0x${arg.toString(16)}`)].join(' ');
  const errno = x1 < 0 ? ` (${ErrnoError.fromResult(x1, '').code})` : '';
  const unsupported = x0 === SMCCC_RET_SUCCESS ? '' : ' (NOT_SUPPORTED)';
  return `cpu=${cpu} ${call} = x0=${x0}${unsupported} x1=${x1}${errno}`;
}

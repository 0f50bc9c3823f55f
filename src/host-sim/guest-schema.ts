import * as v from 'valibot';
import { sysregIss } from '../hypervisor-sim/esr.ts';
import { isGuestDevice, isGuestRam } from '../hypervisor-sim/guest-program.ts';
import { MAX_VCPUS } from '../hypervisor-sim/host-structs.ts';
import { GUEST_FUNCTIONS } from '../hypervisor-sim/smccc.ts';
import { PAGE_SIZE } from '../units.ts';
import { assemble, type GuestStep, MAX_LOOP_DEPTH } from './guest-assembler.ts';
import type { Guest } from './scenario.ts';
import {
  duration,
  list,
  map,
  named,
  object,
  otherwise,
  type Schema,
  step,
  wholeNumber,
} from './schema-parts.ts';

/** What a scenario file may say of a guest. */

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
const sysreg = named(SYSREGS, 'a system register');

const WORD = 4;
const ram = address('guest memory, 0x800000 to 0xfffffc', isGuestRam, WORD);
const ramPage = address('a page of guest memory, 0x800000 to 0xfff000', isGuestRam, PAGE_SIZE);
const device = address('a device, below 0x800000', isGuestDevice, WORD);
const devicePage = address('a page of devices, below 0x800000', isGuestDevice, PAGE_SIZE);

function address(what: string, isThere: (ipa: number) => boolean, alignment: number) {
  const message = `expected an address of ${what}`;
  return v.pipe(
    v.number(message),
    v.check((ipa) => isThere(ipa) && ipa % alignment === 0, message),
  );
}

const WORDS: Readonly<Record<string, GuestStep>> = {
  wfi: { do: 'wfi' },
  smc: { do: 'smc' },
  off: { do: 'off' },
};

const MAX_TIMES = 1_000_000;

/** `depth` loops are around it; no more than the guests have counters for. */
const guestStep = (depth: number): Schema<GuestStep> =>
  step<GuestStep>(WORDS, () => ({
    work: map(duration, (ns) => ({ do: 'work', ns })),
    load: map(ram, (ipa) => ({ do: 'load', ipa })),
    store: map(ram, (ipa) => ({ do: 'store', ipa })),
    share: map(ramPage, (ipa) => ({ do: 'share', ipa })),
    unshare: map(ramPage, (ipa) => ({ do: 'unshare', ipa })),
    mmio_guard: map(devicePage, (ipa) => ({ do: 'mmio_guard', ipa })),
    mmio: map(device, (ipa) => ({ do: 'mmio', ipa })),
    sysreg: map(sysreg, (encoding) => ({ do: 'sysreg', encoding })),
    illegal: map(sysreg, (encoding) => ({ do: 'illegal', encoding })),
    cpu_on: map(wholeNumber(1, MAX_VCPUS - 1), (vcpu) => ({ do: 'cpu_on', vcpu })),
    hvc: map(named(GUEST_FUNCTIONS, 'a call'), (id) => ({ do: 'hvc', id })),
    ...(depth < MAX_LOOP_DEPTH ? { repeat: repeat(depth + 1) } : {}),
  }));

const program = (depth: number): Schema<GuestStep[]> => list(guestStep(depth), 'steps');

const repeat = (depth: number): Schema<GuestStep> =>
  map(object({ times: wholeNumber(1, MAX_TIMES), steps: program(depth) }), (loop) => ({
    do: 'repeat',
    ...loop,
  }));

export const guestSchema: Schema<Guest> = map(
  object({
    protected: otherwise(v.boolean('expected true or false'), true),
    vcpus: otherwise(wholeNumber(1, MAX_VCPUS), 1),
    boot: program(0),
    secondary: otherwise(program(0), []),
  }),
  ({ protected: isProtected, ...plan }) => assemble({ isProtected, ...plan }),
);

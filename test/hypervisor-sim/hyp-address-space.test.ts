import { describe, expect, test } from 'vitest';
import {
  fixmapSize,
  HypAddressSpace,
  RODATA_SIZE,
} from '../../src/hypervisor-sim/hyp-address-space.ts';
import { physToVirt } from '../../src/hypervisor-sim/memory.ts';
import { PageOwnership } from '../../src/hypervisor-sim/page-ownership.ts';
import { SharedMemory } from '../../src/ringbuffer/shared-memory.ts';
import { PAGE_SIZE } from '../../src/units.ts';

const CPUS = 2;

function space() {
  const image = new SharedMemory(new SharedArrayBuffer(RODATA_SIZE + fixmapSize(CPUS)));
  const ownership = new PageOwnership(PageOwnership.allocate(4));
  return { image, ownership, space: new HypAddressSpace(image, ownership, RODATA_SIZE) };
}

describe('the hypervisor’s read-only data', () => {
  test('cannot be written where the image is mapped', () => {
    const { space: el2, image } = space();
    expect(() => el2.store(el2.imageVa(0x140), 1)).toThrow('the image is writable there');
    el2.store(el2.imageVa(RODATA_SIZE + 4), 7);
    expect(image.load(RODATA_SIZE + 4)).toBe(7);
  });

  test('is changed through the CPU’s fixmap slot, at the same offset in the page', () => {
    const { space: el2, image } = space();
    const va = el2.fixmapMap(1, el2.imagePhys(0x144));
    expect(va % PAGE_SIZE).toBe(0x144);
    expect(el2.fixmapMap(0, el2.imagePhys(0x148)) - va).toBe(4 - PAGE_SIZE); // A page a CPU.
    el2.store(va, 42);
    expect(image.load(0x144)).toBe(42);
    el2.fixmapUnmap(1);
    expect(() => el2.store(va, 43)).toThrow('fixmap slot is mapped');
    expect(image.load(0x144)).toBe(42);
  });

  test('is changed by one at a time on a CPU, and the slot is free again afterwards', () => {
    const { space: el2, image } = space();
    el2.fixmapMap(0, el2.imagePhys(0));
    expect(() => el2.patchRodata(0, 0x140, 1)).toThrow('fixmap slot was free');
    el2.patchRodata(1, 0x140, 1);
    el2.patchRodata(1, 0x140, 5);
    expect(image.load(0x140)).toBe(5);
    expect(() => el2.patchRodata(1, RODATA_SIZE, 1)).toThrow('the word is read-only data');
  });
});

test('of RAM the hypervisor sees what it owns or borrows, where the host’s address says', () => {
  const { space: el2, ownership } = space();
  const va = el2.kernHypVa(physToVirt(2 * PAGE_SIZE + 8));
  expect(() => el2.ramAt(va, 8)).toThrow('EL2 maps page 2');
  ownership.hostShareHyp(2, 1);
  expect(el2.ramAt(va, 8)).toBe(2 * PAGE_SIZE + 8);
  expect(() => el2.ramAt(va, PAGE_SIZE)).toThrow('EL2 maps page 3');
  ownership.hostDonateHyp(3, 1);
  expect(el2.ramAt(va, PAGE_SIZE)).toBe(2 * PAGE_SIZE + 8);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageAllocator } from '../../src/host-sim/page-allocator.ts';
import { MIB, PAGE_SIZE } from '../../src/units.ts';

const PAGES = 64;

test('never hands out a page twice, and finds room while there is some in one piece', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant('free' as const)), {
        maxLength: 60,
      }),
      fc.infiniteStream(fc.nat()),
      (calls, dice) => {
        const allocator = new PageAllocator(PAGES);
        const used = new Array<boolean>(PAGES).fill(false);
        const held: { first: number; nr: number }[] = [];
        for (const call of calls) {
          if (call === 'free') {
            const [gone] = held.splice((dice.next().value ?? 0) % Math.max(held.length, 1), 1);
            if (gone === undefined) continue;
            allocator.free(gone.first * PAGE_SIZE, gone.nr * PAGE_SIZE);
            used.fill(false, gone.first, gone.first + gone.nr);
            continue;
          }
          const fits = used.some((_, at) => {
            const piece = used.slice(at, at + call);
            return piece.length === call && !piece.includes(true);
          });
          if (!fits) {
            expect(() => allocator.alloc(call * PAGE_SIZE)).toThrow('ENOMEM:');
            continue;
          }
          const first = allocator.alloc(call * PAGE_SIZE) / PAGE_SIZE;
          expect(used.slice(first, first + call)).toEqual(new Array(call).fill(false));
          used.fill(true, first, first + call);
          held.push({ first, nr: call });
        }
        expect(allocator.freePages).toBe(used.filter((page) => !page).length);
      },
    ),
    { numRuns: 500 },
  );
});

test('gives no piece over 4 MiB, as the kernel does', () => {
  const allocator = new PageAllocator((16 * MIB) / PAGE_SIZE);
  allocator.alloc(4 * MIB);
  expect(() => allocator.alloc(4 * MIB + 1)).toThrow('ENOMEM:');
});

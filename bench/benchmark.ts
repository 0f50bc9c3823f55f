/** What one round measured; `beside` is the same work done by what the benchmark is compared with. */
export interface Sample {
  readonly ours: number;
  readonly beside?: number | undefined;
}

/** What to meet: a limit of the value itself, or of its ratio to what it is measured beside. */
export interface Target {
  readonly of: 'value' | 'ratio';
  readonly limit: number;
}

export interface Benchmark {
  readonly name: string;
  readonly unit: string;
  /** Whether more is better, or less. */
  readonly better: 'more' | 'less';
  /** What the same work is done by in the same round. */
  readonly besides?: 'the kernel' | 'an empty FUSE read' | 'one CPU';
  readonly target?: Target;
  /** What it takes for the rounds; the function it resolves to undoes that. */
  setUp?(): Promise<() => Promise<void>>;
  /** The rounds are counted from 0. */
  round(n: number): Promise<Sample>;
}

/**
 * Rounds of which several benchmarks tell something: set up and measured for the first of them, and
 * the others look at what came of it.
 */
export function sameRounds<T>(
  setUp: NonNullable<Benchmark['setUp']>,
  measure: () => Promise<T>,
): (look: (measured: T) => Sample) => Pick<Benchmark, 'setUp' | 'round'> {
  const rounds: T[] = [];
  return (look) => ({
    setUp: () => (rounds.length > 0 ? Promise.resolve(async () => {}) : setUp()),
    async round(n) {
      rounds[n] ??= await measure();
      return look(rounds[n]);
    },
  });
}

/** A target that the value must be at most, or at least where more is better. */
export const value = (limit: number): Target => ({ of: 'value', limit });
export const ratio = (limit: number): Target => ({ of: 'ratio', limit });

const NS_PER_MS = 1e6;

/** How long something takes, in ns. */
export async function timeNs(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) * NS_PER_MS;
}

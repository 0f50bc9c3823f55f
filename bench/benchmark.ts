export interface Benchmark {
  readonly name: string;
  readonly unit: string;
  /** What the median may be at the most. */
  readonly target: number;
  run(): Promise<number[]>;
}

/** What is fuzzed: a tree of files, and two ways to read a scenario. */
export interface Fuzzed {
  /** A process that serves it and must not outlive this one; 0 without one. */
  readonly pid: number;
  /** The paths that can be written to. */
  readonly writable: readonly string[];
  /** printf BYTES > PATH, then reads it. */
  write(path: string, bytes: Buffer): Promise<void>;
  /** Lets time go by for a moment and reads what was traced, in both views. */
  look(): Promise<void>;
  /** Has the tree's machine run these bytes as a scenario; `file` is where they may be put. */
  scenario(bytes: Buffer, file: string): Promise<void>;
  /** What `run --scenario FILE` does. */
  run(bytes: Buffer, file: string): Promise<void>;
  /** @throws what has gone wrong meanwhile. */
  check(): void;
  stop(): Promise<void>;
}

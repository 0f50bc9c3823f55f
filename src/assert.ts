/** A violated invariant: a bug in this program, never in its input. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

export function assert(holds: boolean, invariant: string): asserts holds {
  if (!holds) throw new AssertionError(invariant);
}

/** What must be there, or else there is a bug. */
export function defined<T>(value: T | undefined, what: string): T {
  assert(value !== undefined, `${what} exists`);
  return value;
}

export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}

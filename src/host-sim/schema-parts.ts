import * as v from 'valibot';
import { parseDuration } from './duration.ts';

/** What the schemas of a scenario file are made of. Each message says what was expected. */

export type Schema<T> = v.GenericSchema<unknown, T>;

/** What is wrong, and where. */
export interface Problem {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

export const problemOf = ({ path, message }: v.BaseIssue<unknown>): Problem => ({
  path: (path ?? []).map(({ key }) => key as PropertyKey),
  message,
});

/** A string or number that `parse` knows how to read; undefined is what it cannot. */
const parsed = <T>(message: string, parse: (value: string | number) => T | undefined): Schema<T> =>
  v.pipe(
    v.union([v.string(), v.number()], message),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message });
      return NEVER;
    }),
  );

export const duration: Schema<number> = parsed('expected a time, such as 20us or 10ms', (value) =>
  typeof value === 'string' ? parseDuration(value) : undefined,
);

export function wholeNumber(min: number, max: number, what?: string): Schema<number> {
  const message = what ?? `expected a whole number from ${min} to ${max}`;
  return v.pipe(
    v.number(message),
    v.safeInteger(message),
    v.minValue(min, message),
    v.maxValue(max, message),
  );
}

/** A name of a table, or for what has none a number. */
export const named = (table: Readonly<Record<string, number>>, what: string): Schema<number> =>
  parsed(`expected the name of ${what}: ${Object.keys(table).join(', ')}`, (value) => {
    if (typeof value === 'string') return Object.hasOwn(table, value) ? table[value] : undefined;
    return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  });

/** An object of these keys; of others it says which there are. */
export function object<Entries extends v.ObjectEntries>(entries: Entries) {
  return v.strictObject(entries, ({ path, expected }) => {
    // A key that is missing lacks what its own schema expects.
    const key = expected?.startsWith('"') ? String(path?.at(-1)?.key) : '';
    const missing = entries[key] as { message?: unknown } | undefined;
    if (typeof missing?.message === 'string') return missing.message;
    return `expected only ${Object.keys(entries).join(', ')}`;
  });
}

/** What a key is when it is left out. */
export const otherwise = <T>(schema: Schema<T>, value: T): Schema<T> =>
  v.optional(schema, () => value);

export const list = <T>(item: Schema<T>, what: string): Schema<T[]> =>
  v.array(item, `expected a list of ${what}`);

export const map = <T, U>(schema: Schema<T>, change: (value: T) => U): Schema<U> =>
  v.pipe(schema, v.transform(change));

type Kinds<T> = Readonly<Record<string, Schema<T>>>;

/** A step: its kind alone, as a word, or the kind as a key and what belongs to it. */
export function step<T>(words: Readonly<Record<string, T>>, makeKinds: () => Kinds<T>): Schema<T> {
  let made: Kinds<T> | undefined;
  const kinds = (): Kinds<T> => {
    made ??= makeKinds();
    return made;
  };
  return v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
      if (typeof value === 'string' && Object.hasOwn(words, value)) return words[value] as T;
      const [kind = '', ...others] = value instanceof Object ? Object.keys(value) : [];
      const isKind = others.length === 0 && Object.hasOwn(kinds(), kind);
      const schema = isKind ? kinds()[kind] : undefined;
      if (schema === undefined) {
        const all = [...Object.keys(words), ...Object.keys(kinds())].join(', ');
        addIssue({ message: `expected one step, of the kinds ${all}` });
        return NEVER;
      }
      const input = value as Record<string, unknown>;
      const result = v.safeParse(schema, input[kind]);
      if (result.success) return result.output;
      const here = {
        type: 'object',
        origin: 'value',
        input,
        key: kind,
        value: input[kind],
      } as const;
      for (const { message, path = [] } of result.issues)
        addIssue({ message, path: [here, ...path] });
      return NEVER;
    }),
  );
}

import { err, ok, type Result } from "./result.ts";

/**
 * Reads a parsed JSON value as exactly what it should be and rebuilds it from the parts that were read, so that
 * nothing unread can ride along. Total. @param at where the value lies, for the error
 */
export type Reader<T> = (input: unknown, at: string) => Result<T, string>;

/** An object with exactly these keys, in this order. */
export function objectOf<T extends object>(
  fields: {
    readonly [K in keyof T]: Reader<T[K]>;
  },
): Reader<T> {
  const readers = Object.entries<Reader<unknown>>(fields);
  const expected = readers.map(([key]) => key).join(", ");
  return (input, at) => {
    if (typeof input !== "object" || input === null || Array.isArray(input))
      return err(`${at} is not an object`);
    if (Object.keys(input).join(", ") !== expected)
      return err(`${at} must have the keys ${expected}, in this order and no others`);
    const values = new Map<string, unknown>(Object.entries(input));
    const read: Record<string, unknown> = {};
    for (const [key, reader] of readers) {
      const value = reader(values.get(key), `${at}.${key}`);
      if (!value.ok) return value;
      read[key] = value.value;
    }
    // Each key of T was read by T's own reader for it.
    return ok(read as T);
  };
}

export function listOf<T>(item: Reader<T>, countMax: number): Reader<readonly T[]> {
  return (input, at) => {
    if (!Array.isArray(input)) return err(`${at} is not a list`);
    if (input.length > countMax) return err(`${at} has more than ${countMax} entries`);
    const read: T[] = [];
    for (const [i, entry] of input.entries()) {
      const value = item(entry, `${at}.${i}`);
      if (!value.ok) return value;
      read.push(value.value);
    }
    return ok(read);
  };
}

export function nullable<T>(reader: Reader<T>): Reader<T | null> {
  return (input, at) => (input === null ? ok(null) : reader(input, at));
}

/** A reader out of an id's parser. */
export function parsedBy<T>(
  parse: (input: unknown) => Result<T, { readonly message: string }>,
): Reader<T> {
  return (input, at) => {
    const read = parse(input);
    return read.ok ? read : err(`${at}: ${read.error.message}`);
  };
}

export function wordOf<T extends string>(words: readonly T[]): Reader<T> {
  return (input, at) => {
    const word = words.find((w) => w === input);
    return word === undefined ? err(`${at} must be one of ${words.join(", ")}`) : ok(word);
  };
}

/** Text that a pattern allows. @param what names it in the error */
export function textLike(pattern: RegExp, what: string): Reader<string> {
  return (input, at) =>
    typeof input === "string" && pattern.test(input) ? ok(input) : err(`${at} is not ${what}`);
}

export const wholeNumber: Reader<number> = (input, at) =>
  typeof input === "number" && Number.isSafeInteger(input) && input >= 0
    ? ok(input)
    : err(`${at} is not a whole number`);

export const trueOrFalse: Reader<boolean> = (input, at) =>
  typeof input === "boolean" ? ok(input) : err(`${at} is neither true nor false`);

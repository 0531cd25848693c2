/** The outcome of a parse or a check: a value, or a reason why there is none. Domain outcomes are values, never exceptions. */
export type Result<T, E> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function err<E>(error: E): { readonly ok: false; readonly error: E } {
  return { ok: false, error };
}

/** Takes the value out of a result that must be good here; a bad one is a bug and throws. */
export function unwrap<T, E>(result: Result<T, E>): T {
  if (result.ok) return result.value;
  const detail =
    typeof result.error === "object" ? JSON.stringify(result.error) : String(result.error);
  throw new AssertionError(`unwrap of a failed result: ${detail}`);
}

/** A broken invariant: always a bug in this program, never bad input. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Stops the program when an invariant does not hold. On in production. */
export function assert(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new AssertionError(reason);
}

/** Closes a switch over a union: the compiler proves it unreachable. */
export function assertNever(value: never): never {
  throw new AssertionError(`unreachable variant: ${JSON.stringify(value)}`);
}

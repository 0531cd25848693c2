/** What one part said, or why it could not be asked. */
export type Probe<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: string };

/** One thing looked at. `fail`: the process can't do its work. */
export interface DoctorCheck {
  readonly name: string;
  readonly level: "ok" | "warn" | "fail";
  readonly detail: string;
  /** What to do about it; null when there is nothing to do. */
  readonly advice: string | null;
}

export interface Diagnosis {
  /** False when any check failed. */
  readonly ok: boolean;
  readonly checks: readonly DoctorCheck[];
}

/** The longest one part may take, in ms. */
const PART_TIMEOUT_MS = 10_000;

export const check = (
  name: string,
  level: DoctorCheck["level"],
  detail: string,
  advice: string | null = null,
): DoctorCheck => ({ name, level, detail, advice });

/** Something else has to be well first. */
export function notChecked(name: string, why: string): DoctorCheck {
  return check(name, "warn", `not checked: ${why}`);
}

export function diagnosisOf(checks: readonly DoctorCheck[]): Diagnosis {
  return { ok: checks.every(({ level }) => level !== "fail"), checks };
}

/** What a part answered, or why not, in time. */
export async function probe<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  timeoutMs: number = PART_TIMEOUT_MS,
): Promise<Probe<T>> {
  const signal = AbortSignal.timeout(timeoutMs);
  const late = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => late.reject(new Error("it does not answer in time")));
  try {
    // Not every part hears the signal in time, and a doctor must not wait for ever.
    return { ok: true, value: await Promise.race([ask(signal), late.promise]) };
  } catch (error) {
    return { ok: false, problem: problemOf(error) };
  }
}

function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return "it does not answer in time";
  // fetch says only that it failed; why is in its cause.
  const { cause } = error;
  const code = cause instanceof Error && "code" in cause ? cause.code : null;
  if (error.name !== "TypeError" || !(cause instanceof Error)) return error.message;
  if (code === "ECONNREFUSED") return "the connection is refused";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "its host name is unknown";
  return typeof code === "string" ? code : cause.message;
}

export function mapped<T, U>(from: Probe<T>, to: (value: T) => U): Probe<U> {
  return from.ok ? { ok: true, value: to(from.value) } : from;
}

import {
  err,
  LIMITS,
  ok,
  type Result,
  SUBMISSION_MOVES,
  type SubmissionState,
} from "@quorate/core";

/** Submissions of one answer, unless asked for fewer or more. */
const LIMIT_DEFAULT = 100;
/** Submissions of one answer at most: half a kilobyte each. */
const LIMIT_MAX = 500;
/** Longer than any `next` this API gives out. */
const AFTER_CHARS_MAX = 200;

export interface PageRequest {
  readonly states?: readonly SubmissionState[];
  readonly after: string | null;
  readonly limit: number;
}

/** Reads `?state=A,B&after=…&limit=…`; says what is wrong with it. */
export function readPage(query: unknown): Result<PageRequest, string> {
  const given = typeof query === "object" && query !== null ? query : {};
  const text = (name: string): string | null | undefined => {
    if (!Object.hasOwn(given, name)) return undefined;
    const value: unknown = Reflect.get(given, name);
    return typeof value === "string" ? value : null;
  };
  const [state, after, limit] = [text("state"), text("after"), text("limit")];
  if (state === null || after === null || limit === null)
    return err("state, after and limit may each be given once");
  const states = state === undefined ? undefined : statesOf(state);
  if (states === null) return err(`state must be one or more of ${STATES.join(", ")}`);
  if (after !== undefined && (after === "" || after.length > AFTER_CHARS_MAX))
    return err("after must be the next of the page before");
  const count = limit === undefined ? LIMIT_DEFAULT : Number(limit);
  if (!/^[0-9]{1,3}$/.test(limit ?? "100") || count < 1 || count > LIMIT_MAX)
    return err(`limit must be a whole number from 1 to ${LIMIT_MAX}`);
  return ok({ ...(states === undefined ? {} : { states }), after: after ?? null, limit: count });
}

const STATES = Object.keys(SUBMISSION_MOVES);

function statesOf(text: string): readonly SubmissionState[] | null {
  const isState = (word: string): word is SubmissionState => Object.hasOwn(SUBMISSION_MOVES, word);
  const words = text.split(",").map((word) => word.trim().toUpperCase());
  return words.every(isState) ? words : null;
}

/** Who does it, and why; both are kept for ever. */
export interface OperatorRequest {
  readonly operator: string;
  readonly reason: string;
}

export function readOperator(body: unknown): Result<OperatorRequest, string> {
  const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const reason = lineOf(fields["reason"], LIMITS.liftReasonCharsMax);
  const operator = lineOf(fields["operator"], LIMITS.operatorCharsMax);
  if (reason === null)
    return err(`reason must be one line of 1 to ${LIMITS.liftReasonCharsMax} characters`);
  if (operator === null)
    return err(`operator must be one line of 1 to ${LIMITS.operatorCharsMax} characters`);
  return ok({ operator, reason });
}

/** Text in one line; null when there is none or too much. */
function lineOf(input: unknown, charsMax: number): string | null {
  if (typeof input !== "string") return null;
  const text = input.trim();
  return text.length >= 1 && text.length <= charsMax && !/\p{Cc}/u.test(text) ? text : null;
}

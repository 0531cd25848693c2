import { StoreError } from "@quorate/ports";

interface Meaning {
  readonly code: StoreError["code"];
  readonly retryable: boolean;
}

const UNAVAILABLE: Meaning = { code: "UNAVAILABLE", retryable: true };
const TIMEOUT: Meaning = { code: "TIMEOUT", retryable: true };
const REFUSED: Meaning = { code: "REFUSED", retryable: false };
const SCHEMA: Meaning = { code: "SCHEMA", retryable: false };
const CORRUPT: Meaning = { code: "CORRUPT", retryable: false };

/**
 * The one table of what went wrong: SQLSTATEs (five characters), their classes
 * (two), Node's system codes, and the few errors that pg gives only as text.
 */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  // The connection broke or the server is going, coming or a standby: the next attempt may do.
  ["08", UNAVAILABLE],
  ["25006", UNAVAILABLE],
  ["40", UNAVAILABLE],
  ["53", UNAVAILABLE],
  ["57P01", UNAVAILABLE],
  ["57P02", UNAVAILABLE],
  ["57P03", UNAVAILABLE],
  ["57P05", UNAVAILABLE],
  ["58", UNAVAILABLE],
  ["25P03", TIMEOUT],
  ["25P04", TIMEOUT],
  ["55P03", TIMEOUT],
  ["57014", TIMEOUT],
  // The schema was not migrated, or is of another version.
  ["3D", SCHEMA],
  ["3F", SCHEMA],
  ["42", SCHEMA],
  ["42501", REFUSED],
  ["22", REFUSED],
  ["23", REFUSED],
  ["28", REFUSED],
  // The guards in sql/: an illegal move, a change to what is written once.
  ["QU", REFUSED],
  ["XX001", CORRUPT],
  ["XX002", CORRUPT],
  ["EAI_AGAIN", UNAVAILABLE],
  ["ECONNABORTED", UNAVAILABLE],
  ["ECONNREFUSED", UNAVAILABLE],
  ["ECONNRESET", UNAVAILABLE],
  ["EHOSTUNREACH", UNAVAILABLE],
  ["ENETUNREACH", UNAVAILABLE],
  ["ENOTFOUND", UNAVAILABLE],
  ["EPIPE", UNAVAILABLE],
  ["ETIMEDOUT", TIMEOUT],
  ["Connection terminated", UNAVAILABLE],
  ["Connection terminated unexpectedly", UNAVAILABLE],
  ["Client has encountered a connection error and is not queryable", UNAVAILABLE],
  ["Client was closed and is not queryable", UNAVAILABLE],
  ["Cannot use a pool after calling end on the pool", { code: "UNAVAILABLE", retryable: false }],
  ["Connection terminated due to connection timeout", TIMEOUT],
  ["Query read timeout", TIMEOUT],
  ["timeout exceeded when trying to connect", TIMEOUT],
  ["timeout expired", TIMEOUT],
]);

/**
 * What PostgreSQL, pg or the operating system threw, as a StoreError. An error that
 * the table does not know is REFUSED and not retryable: repeating it blindly could
 * hide a bug for ever.
 */
export function toStoreError(error: unknown, doing: string): StoreError {
  if (error instanceof StoreError) return error;
  const meaning = meaningOf(error) ?? REFUSED;
  const detail = error instanceof Error ? error.message : String(error);
  return new StoreError(meaning.code, `${doing}: ${detail}`, {
    retryable: meaning.retryable,
    cause: error,
  });
}

function meaningOf(error: unknown): Meaning | undefined {
  // Node gives an AggregateError without text when every address of a host refused.
  if (error instanceof AggregateError) return meaningOf(error.errors[0]);
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "string") {
    const known = MEANINGS.get(error.code) ?? MEANINGS.get(error.code.slice(0, 2));
    if (known !== undefined) return known;
  }
  return MEANINGS.get(error.message);
}

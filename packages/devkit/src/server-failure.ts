/**
 * What a server's own last words mean for whoever started it.
 *
 * - `port-taken`: another process holds the port; new ports may help.
 * - `previous-instance-alive`: processes of a killed predecessor still hold the data; waiting helps.
 * - `other`: starting it again would fail the same way.
 */
export type ServerFailure = "port-taken" | "previous-instance-alive" | "other";

// The one place where the text of a server's log is matched.
const FAILURE_TEXTS: ReadonlyArray<readonly [RegExp, ServerFailure]> = [
  // PostgreSQL names the cause of both failures beside each other; the more specific one is first.
  [/pre-existing shared memory block/i, "previous-instance-alive"],
  [/lock file "[^"]*postmaster\.pid" already exists/i, "previous-instance-alive"],
  [/address already in use/i, "port-taken"],
  [/could not bind/i, "port-taken"],
];

/** Classifies the log of a server that ended during start-up. */
export function classifyServerFailure(logText: string): ServerFailure {
  for (const [pattern, failure] of FAILURE_TEXTS) {
    if (pattern.test(logText)) return failure;
  }
  return "other";
}

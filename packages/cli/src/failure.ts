/** Exit codes of the command. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Something the user has to know; printed as it is, without a stack. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  constructor(
    message: string,
    options: { readonly exitCode?: number; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}

/** A wrong argument: exit code 2, as for a wrong flag. */
export function usageError(message: string): CliError {
  return new CliError(message, { exitCode: EXIT.usage });
}

/** Several wrong arguments at once. */
export function usageErrors(problems: readonly string[]): CliError {
  const [only] = problems;
  if (problems.length === 1 && only !== undefined) return usageError(only);
  return usageError(
    `${problems.length} problems:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
  );
}

/** What a person reads about an error; the stack only when asked for. */
export function describeError(error: unknown, { debug }: { readonly debug: boolean }): string {
  if (!(error instanceof Error)) return String(error);
  if (debug) return `${error.stack ?? error.message}${causesOf(error)}`;
  // A bug's message says little without its name.
  return error.constructor === Error || "code" in error || error instanceof CliError
    ? error.message
    : `${error.name}: ${error.message}`;
}

function causesOf(error: Error): string {
  if (!(error.cause instanceof Error)) return "";
  return `\ncaused by ${error.cause.stack ?? error.cause.message}${causesOf(error.cause)}`;
}

/** The code to end with. */
export function exitCodeOf(error: unknown): number {
  return error instanceof CliError ? error.exitCode : EXIT.failed;
}

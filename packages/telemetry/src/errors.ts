/** Logs, metrics, traces or the operations server could not do their work. */
export class TelemetryError extends Error {
  override readonly name = "TelemetryError";
  readonly code:
    | "ADDRESS_IN_USE"
    | "LISTEN_FAILED"
    | "STOPPED"
    | "LOG_DESTINATION"
    | "LOG_FLUSH"
    | "OTLP_URL"
    | "TOKENS_FILE";
  readonly retryable: boolean;
  constructor(
    code: TelemetryError["code"],
    message: string,
    options: { readonly retryable: boolean; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
  }
}

/** The `code` of a system error such as EADDRINUSE, if it has one. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}

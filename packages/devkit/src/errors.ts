/** Why a local server could not be found, started or stopped. */
export type DevkitErrorCode =
  | "ETCD_NOT_FOUND"
  | "POSTGRES_NOT_FOUND"
  | "ANVIL_NOT_FOUND"
  | "NO_UNPRIVILEGED_USER"
  | "DATA_DIR_MISMATCH"
  | "PORT_TAKEN"
  | "SERVER_EXITED"
  | "COMMAND_FAILED"
  | "WAIT_TIMEOUT";

/** A failed operation on a local server. `retryable` says whether the same call may succeed later. */
export class DevkitError extends Error {
  readonly code: DevkitErrorCode;
  readonly retryable: boolean;

  constructor(
    code: DevkitErrorCode,
    message: string,
    { cause, retryable = false }: { cause?: unknown; retryable?: boolean } = {},
  ) {
    super(message, { cause });
    this.name = "DevkitError";
    this.code = code;
    this.retryable = retryable;
  }
}

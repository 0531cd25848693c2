/** A backup that can't be made, is not good, or can't be restored. Nothing was changed. */
export class BackupError extends Error {
  override readonly name = "BackupError";
  readonly code: "EXISTS" | "NOT_GOOD" | "WRONG_CLUSTER" | "NO_CLUSTER" | "ETCD_TOOL" | "WRITE";
  readonly retryable: boolean;
  /** All that is wrong, when it is more than the message tells. */
  readonly problems: readonly string[];
  constructor(
    code: BackupError["code"],
    message: string,
    options: {
      readonly problems?: readonly string[];
      readonly retryable?: boolean;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.problems = options.problems ?? [];
  }
}

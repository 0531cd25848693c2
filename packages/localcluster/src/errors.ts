/** Why a local cluster could not be made, started or read. */
export type LocalClusterErrorCode =
  | "DIRECTORY_NOT_EMPTY"
  | "CLUSTER_FILE_INVALID"
  | "APP_ENDED"
  | "APP_NOT_READY"
  | "PEER_FAILED"
  | "ETCD_READ_FAILED"
  | "CHAIN_CALL_FAILED";

/** A failed step of making or running a local cluster; the message says what and where. */
export class LocalClusterError extends Error {
  override readonly name = "LocalClusterError";
  readonly code: LocalClusterErrorCode;
  readonly retryable: boolean;
  constructor(
    code: LocalClusterErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly retryable?: boolean } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

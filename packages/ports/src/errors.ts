/** A store could not be reached or refused the call. Retryable ones may have taken effect: repeat the same call. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  /** NO_SPACE: the store is full up to its quota and takes no writes until room is made; retryable. */
  readonly code: "UNAVAILABLE" | "TIMEOUT" | "REFUSED" | "CORRUPT" | "SCHEMA" | "NO_SPACE";
  readonly retryable: boolean;
  constructor(
    code: StoreError["code"],
    message: string,
    options: { readonly retryable: boolean; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
  }
}

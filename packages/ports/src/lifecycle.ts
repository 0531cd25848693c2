/** Passed to every asynchronous call: an aborted call rejects with the signal's reason and may or may not have taken effect. */
export interface AbortOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Something that runs. `start` and `stop` are each idempotent; a stopped part is not started again. */
export interface Lifecycle {
  start(options?: AbortOptions): Promise<void>;
  stop(options?: AbortOptions): Promise<void>;
}

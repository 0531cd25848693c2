/** Why the gossip adapter refused a call. None of them is worth retrying unchanged. */
export class GossipError extends Error {
  override readonly name = "GossipError";
  readonly code: "CONFIG_INVALID" | "NOT_RUNNING" | "STOPPED" | "FRAME_TOO_LARGE" | "FRAME_EMPTY";
  readonly retryable = false;

  constructor(code: GossipError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

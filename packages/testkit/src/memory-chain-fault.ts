export type ChainOperation = "start" | "read" | "simulate" | "send";

/** What happens to one call. */
export interface ChainFault {
  /** It never reaches the chain: RPC_UNREACHABLE, or for `send` the outcome "unreachable". */
  readonly fail?: boolean;
  /** `send` only: it reaches the pool, and the caller hears "unreachable". */
  readonly loseReply?: boolean;
  /** `send` only: the caller hears "accepted", and the pool never gets it. */
  readonly drop?: boolean;
  /** Reads with `agreed` only: the endpoints say different things (RPC_DISAGREE). */
  readonly disagree?: boolean;
  /** Before it takes effect, in ms. */
  readonly delayMs?: number;
}

import { LIMITS } from "@quorate/core";

/** Every bound of this package, each with the reason for its number. */
export const TELEMETRY_LIMITS = {
  /** Log bytes waiting for a slow reader. Beyond it lines are dropped and counted: logs must never stop the node. */
  logBufferBytesMax: 16 * 1024 * 1024,
  /** One string in a log line, in characters: a stack fits, a message dump does not. */
  logStringCharsMax: 8_192,
  /** Nesting of a log field: an error, its cause, the cause's fields, and room to spare. */
  logDepthMax: 6,
  /** Values in one log line, over all its fields: more is a data dump, not a log line. */
  logValuesMax: 512,
  /** Open connections of the operations server: scrapers, probes, operators and clients of one trustee. */
  httpConnectionsMax: 1_000,
  /** Time to receive one whole request, in ms. A client that dribbles bytes must not hold a connection. */
  httpRequestTimeoutMs: 10_000,
  /** Idle life of a kept-alive connection, in ms. */
  httpKeepAliveTimeoutMs: 5_000,
  /** A path parameter, in characters as sent: a transaction id with every character percent-encoded. */
  httpParamCharsMax: 3 * LIMITS.txIdCharsMax,
  /** One attempt to hand spans to the collector, in ms; also bounds the last export at shutdown. */
  otlpTimeoutMs: 5_000,
  /** Longest single timer of Node, in ms (2^31 - 1). A longer one fires at once, so longer waits are cut into pieces. */
  timerMsMax: 2_147_483_647,
} as const;

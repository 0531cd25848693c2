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
  /** Tokens of the HTTP API: people and programs that use one trustee's node. Each request with a token is compared with all. */
  apiTokensMax: 1_000,
  /** How often it is looked whether the token file has changed, in ms: so long a token that was taken away may still work. */
  tokensLookIntervalMs: 1_000,
  /** Requests a second of one caller. A client's mistake must not starve gossip; votes come up to 256 in a request. */
  apiRequestsPerSecondMax: 2_000,
  /** Requests a second of one caller that read much of etcd or write to it by a person's order. */
  apiCostlyPerSecondMax: 100,
  /** Callers whose rate is remembered: more than there can be tokens. */
  apiCallersMax: 2_000,
  /** Listeners of the event feed: web pages and programs of one trustee. */
  feedClientsMax: 50,
  /** Bytes that may wait for one listener: some seconds at full load. Beyond it, it is cut off. */
  feedBufferBytesMax: 1_048_576,
  /** How often a listener is asked whether it is still there, in ms; one that has not answered by the next time is dropped. */
  feedPingIntervalMs: 30_000,
  /** A message of a listener, in bytes: none is expected. */
  feedRequestBytesMax: 1_024,
  /** One attempt to hand spans to the collector, in ms; also bounds the last export at shutdown. */
  otlpTimeoutMs: 5_000,
  /** Longest single timer of Node, in ms (2^31 - 1). A longer one fires at once, so longer waits are cut into pieces. */
  timerMsMax: 2_147_483_647,
} as const;

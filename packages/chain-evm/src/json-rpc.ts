import type { AbortOptions, Clock } from "@quorate/ports";

import { DeadlineError, withDeadline } from "./abort.ts";
import { parseRpcUrl } from "./rpc-url.ts";

// Written on fetch: viem's http transport lets the caller's signal displace its own timeout,
// stops timing once the headers are there, and puts URL and request body into its errors.

/** Largest answer that is read, in bytes: 2,000 blocks of our events stay far below it. */
const RESPONSE_BYTES_MAX = 16 * 1_024 * 1_024;
/** Longest text of an endpoint that is kept, in characters. */
const TEXT_CHARS_MAX = 200;

/** One endpoint failed at one call. Internal: it becomes a ChainError or a SendOutcome. */
export class RpcFailure extends Error {
  override readonly name = "RpcFailure";
  /** "unreachable": no usable HTTP answer; "malformed": not what JSON-RPC or the method promises; "error": the endpoint said no. */
  readonly kind: "unreachable" | "malformed" | "error";
  /** The endpoint's own words (or what went wrong on the way), without secrets. */
  readonly text: string;
  readonly rpcCode: number | null;
  /** Of an answer that was refused for its HTTP status. */
  readonly httpStatus: number | null;
  readonly data: unknown;
  /** The answer was larger than what is read: to ask for less may help. */
  readonly tooLong: boolean;
  constructor(
    kind: RpcFailure["kind"],
    text: string,
    details: {
      readonly rpcCode?: number | null;
      readonly httpStatus?: number;
      readonly data?: unknown;
      readonly tooLong?: boolean;
      readonly cause?: unknown;
    } = {},
  ) {
    super(text, { cause: details.cause });
    this.kind = kind;
    this.text = text;
    this.rpcCode = details.rpcCode ?? null;
    this.httpStatus = details.httpStatus ?? null;
    this.data = details.data ?? null;
    this.tooLong = details.tooLong ?? false;
  }
}

/** One JSON-RPC call. Rejects with RpcFailure, or with the signal's reason when aborted. Never retries. */
export type RpcCall = (
  method: string,
  params: readonly unknown[],
  options?: AbortOptions,
) => Promise<unknown>;

export interface RpcEndpoint {
  /** Host and port; safe to log. */
  readonly label: string;
  readonly call: RpcCall;
}

/** One HTTP JSON-RPC endpoint. Each call ends within `timeoutMs`, body included. */
export function createRpcEndpoint(
  options: {
    readonly url: string;
    readonly timeoutMs: number;
    /** Aborts all calls, with RpcFailure. */
    readonly stopSignal?: AbortSignal | undefined;
    /** The authorization header, in place of the URL's user and password. In no log and no error. */
    readonly authorization?: string | undefined;
    /** Largest answer that is read, in bytes. Default 16 MiB. */
    readonly responseBytesMax?: number | undefined;
  },
  dependencies: { readonly clock: Clock },
): RpcEndpoint {
  const target = parseRpcUrl(options.url);
  const headers: Record<string, string> = { "content-type": "application/json" };
  const authorization = options.authorization ?? target.authorization;
  if (authorization !== null) headers["authorization"] = authorization;
  // A server may repeat what it was sent: the header whole, or what follows the scheme.
  const secrets = (authorization ?? "").split(/\s+/).filter((part) => part.length >= 6);
  const redact = (text: string): string =>
    secrets.reduce((out, secret) => out.replaceAll(secret, "[redacted]"), target.redact(text));
  let lastId = 0;

  const exchange = async (body: string, signal: AbortSignal): Promise<[Response, string]> => {
    // Redirects are refused: a moved endpoint must not carry the authorization elsewhere.
    const response = await fetch(target.url, {
      method: "POST",
      headers,
      body,
      signal,
      redirect: "error",
    });
    return [response, await readBounded(response, options.responseBytesMax ?? RESPONSE_BYTES_MAX)];
  };

  const call: RpcCall = async (method, params, { signal } = {}) => {
    signal?.throwIfAborted();
    const id = ++lastId;
    const body = JSON.stringify({ jsonrpc: "2.0", id, method, params });
    try {
      const [response, text] = await withDeadline((inner) => exchange(body, inner), {
        clock: dependencies.clock,
        timeoutMs: options.timeoutMs,
        signals: [signal, options.stopSignal],
      });
      return readAnswer(response, text, id, redact);
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      if (error instanceof RpcFailure) throw error;
      throw new RpcFailure("unreachable", redact(reasonOf(error)), { cause: error });
    }
  };
  return { label: target.label, call };
}

async function readBounded(response: Response, bytesMax: number): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > bytesMax) {
      throw new RpcFailure("malformed", `the answer is longer than ${bytesMax} bytes`, {
        tooLong: true,
      });
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function readAnswer(
  response: Response,
  text: string,
  id: number,
  redact: (text: string) => string,
): unknown {
  const body = parseJson(text);
  // Some endpoints send JSON-RPC errors with HTTP 4xx: the body says more than the status.
  if (isRecord(body) && isRecord(body["error"])) {
    const { code, message, data } = body["error"];
    if (typeof code === "number" && typeof message === "string") {
      if (response.status === 429)
        throw new RpcFailure("unreachable", `HTTP 429: ${shorten(redact(message))}`);
      throw new RpcFailure("error", shorten(redact(message)), { rpcCode: code, data });
    }
  }
  if (!response.ok) {
    throw new RpcFailure("unreachable", `HTTP ${response.status}`, { httpStatus: response.status });
  }
  if (!isRecord(body) || body["id"] !== id || !("result" in body)) {
    throw new RpcFailure("malformed", "the answer is not JSON-RPC");
  }
  return body["result"];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof DeadlineError) return error.message;
  // fetch hides the reason (ECONNREFUSED …) in the cause.
  const cause = error instanceof Error ? error.cause : null;
  const code = isRecord(cause) && typeof cause["code"] === "string" ? cause["code"] : null;
  return shorten(code ?? (error instanceof Error ? error.message : String(error)));
}

function shorten(text: string): string {
  return text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

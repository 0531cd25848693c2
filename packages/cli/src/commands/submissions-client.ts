import type { AttemptKind, SlotState, SubmissionState } from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";

/** One value on its way to the chain. Numbers beyond 2^53 are decimal text, times ISO 8601. */
export interface SubmissionView {
  readonly txId: string;
  /** The contract's key. */
  readonly key: string;
  readonly value: string;
  readonly state: SubmissionState;
  readonly epoch: number;
  readonly decisionRevision: string;
  readonly nonce: string | null;
  readonly txHash: string | null;
  readonly blockNumber: string | null;
  /** How often it was queued again. */
  readonly tries: number;
  /** Why it is QUARANTINED or ABORTED. */
  readonly reason: string | null;
  readonly queuedAt: string;
  readonly finalizedAt: string | null;
  readonly confirmedAt: string | null;
  readonly archivedAt: string | null;
}

/** One nonce that a submission had, with all that was signed for it. */
export interface SlotView {
  readonly nonce: string;
  readonly state: SlotState;
  readonly gasLimit: string;
  /** Results in the batch, this one among them. */
  readonly results: number;
  readonly included: {
    readonly hash: string;
    readonly blockNumber: string;
    readonly blockHash: string;
  } | null;
  readonly attempts: readonly {
    readonly hash: string;
    readonly kind: AttemptKind;
    readonly maxFeePerGasWei: string;
    readonly maxPriorityFeePerGasWei: string;
    readonly createdAt: string;
    readonly sentCount: number;
  }[];
}

export interface SubmissionDetailView extends SubmissionView {
  readonly slots: readonly SlotView[];
  readonly history: readonly {
    readonly nonce: string;
    readonly from: SlotState | null;
    readonly to: SlotState;
    readonly leaderEpoch: string;
    readonly blockNumber: string | null;
    readonly reason: string | null;
    readonly at: string;
  }[];
}

export interface SubmissionPage {
  readonly submissions: readonly SubmissionView[];
  readonly next: string | null;
}

/** The account that writes to the chain: what PostgreSQL says of it, next to what the chain says. */
export interface SenderView {
  readonly chainId: number;
  readonly address: string;
  readonly contractAddress: string;
  /** Whether the process that was asked leads. */
  readonly leading: boolean;
  /** False when no submitter has ever led with this account. */
  readonly known: boolean;
  readonly leaderEpoch: string | null;
  readonly nextNonce: string | null;
  readonly importedThroughBlock: string | null;
  readonly frozen: { readonly reason: string; readonly since: string } | null;
  /** Whether the database was held against the chain since it last had reason to be, and whether something differed. */
  readonly history: { readonly checked: boolean; readonly differs: boolean } | null;
  readonly liveNonces: readonly string[];
  readonly gaps: readonly string[];
  readonly counts: Readonly<Record<SubmissionState, number>>;
  /** Null where the chain does not answer; `problem` then says why. */
  readonly chain: {
    readonly latestNonce: string | null;
    readonly pendingNonce: string | null;
    readonly finalizedBlock: string | null;
    readonly problem: string | null;
  };
}

export interface OperatorRequest {
  readonly operator: string;
  readonly reason: string;
}

export interface Released extends OperatorRequest {
  readonly txId: string;
  readonly by: string;
}

/** The submitter refused, or could not be asked. */
export class SubmitterApiError extends Error {
  override readonly name = "SubmitterApiError";
  /** The server's code, or UNREACHABLE, or NOT_A_SUBMITTER when something else answers there. */
  readonly code: string;
  readonly retryable: boolean;
  constructor(
    code: string,
    message: string,
    options: { readonly retryable?: boolean; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? code === "UNREACHABLE";
  }
}

/** The submitter's HTTP API; a standby answers as the leader does. Every call may reject with a SubmitterApiError. */
export interface SubmitterClient {
  readonly url: string;
  list(
    page: {
      readonly states?: readonly SubmissionState[];
      readonly after?: string | undefined;
      readonly limit: number;
    },
    options?: AbortOptions,
  ): Promise<SubmissionPage>;
  /** Rejects with TX_UNKNOWN when it was never queued. */
  submission(txId: string, options?: AbortOptions): Promise<SubmissionDetailView>;
  /** Queues a quarantined one again. Rejects with TX_UNKNOWN, NOT_QUARANTINED or SLOT_LIVE. */
  retry(txId: string, request: OperatorRequest, options?: AbortOptions): Promise<Released>;
  sender(options?: AbortOptions): Promise<SenderView>;
  /** Rejects with SENDER_UNKNOWN when no submitter has ever led. Idempotent. */
  freeze(request: OperatorRequest, options?: AbortOptions): Promise<SenderView>;
  thaw(request: OperatorRequest, options?: AbortOptions): Promise<SenderView>;
}

/** The API itself waits up to 5 s for PostgreSQL and for the chain, one after the other, in ms. */
const TIMEOUT_MS = 30_000;

const SENDER_KEYS = ["address", "counts", "chain"] as const;

/** @throws TypeError when the URL is none. */
export function createSubmitterClient(
  url: string,
  { token }: { readonly token?: string | undefined } = {},
): SubmitterClient {
  const base = new URL(url).href.replace(/\/+$/, "");
  const ask = async <T extends object>(
    path: string,
    keys: readonly (keyof T & string)[],
    options: CallOptions = {},
  ): Promise<T> => {
    const answer = await call(base, path, { ...options, token });
    const has = (value: unknown): value is T =>
      isRecord(value) && keys.every((key) => Object.hasOwn(value, key));
    if (has(answer)) return answer;
    throw notASubmitter(base);
  };
  return {
    url: base,
    list: ({ states, after, limit }, options) => {
      const query = new URLSearchParams({ limit: String(limit) });
      if (states !== undefined) query.set("state", states.join(","));
      if (after !== undefined) query.set("after", after);
      return ask<SubmissionPage>(
        `/v1/submissions?${query.toString()}`,
        ["submissions", "next"],
        options,
      );
    },
    submission: (txId, options) =>
      ask<SubmissionDetailView>(
        `/v1/submissions/${encodeURIComponent(txId)}`,
        ["txId", "state", "slots"],
        options,
      ),
    retry: (txId, body, options) =>
      ask<Released>(`/v1/submissions/${encodeURIComponent(txId)}/retry`, ["txId", "by"], {
        ...options,
        body,
      }),
    sender: (options) => ask<SenderView>("/v1/sender", SENDER_KEYS, options),
    freeze: (body, options) =>
      ask<SenderView>("/v1/sender/freeze", SENDER_KEYS, { ...options, body }),
    thaw: (body, options) => ask<SenderView>("/v1/sender/thaw", SENDER_KEYS, { ...options, body }),
  };
}

type CallOptions = AbortOptions & { readonly body?: object };

async function call(
  base: string,
  path: string,
  { signal, body, token }: CallOptions & { readonly token: string | undefined },
): Promise<unknown> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${base}${path}`, {
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    text = await response.text();
  } catch (cause) {
    signal?.throwIfAborted();
    throw new SubmitterApiError(
      "UNREACHABLE",
      `no submitter answers at ${base}: ${reasonOf(cause)} (--submitter URL or QUORATE_SUBMITTER names another)`,
      { cause },
    );
  }
  const answer = parseJson(text);
  if (response.ok) return answer;
  const error = isRecord(answer) ? answer["error"] : undefined;
  const [code, message] = isRecord(error) ? [error["code"], error["message"]] : [];
  if (typeof code !== "string" || code === "NOT_FOUND") throw notASubmitter(base);
  throw new SubmitterApiError(code, typeof message === "string" ? message : code, {
    retryable: response.status === 503,
  });
}

function notASubmitter(base: string): SubmitterApiError {
  return new SubmitterApiError(
    "NOT_A_SUBMITTER",
    `what answers at ${base} is not a Quorate submitter of this version`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Error && cause.name === "TimeoutError") return "it does not reply in time";
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = inner instanceof Error && "code" in inner ? String(inner.code) : null;
  if (code === "ECONNREFUSED") return "the connection is refused";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "its host name is unknown";
  return code ?? (inner instanceof Error ? inner.message : String(inner));
}

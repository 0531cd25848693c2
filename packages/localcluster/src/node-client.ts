import {
  type BanReason,
  type Evidence,
  type EvidenceGrade,
  type EvidenceVerdict,
  type ProtocolConfig,
  parseEvidenceId,
  type Receipt,
  type ReceiptJson,
  type RefusalReason,
  receiptFromJson,
  type TxStatus,
  type ViolationType,
} from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";

/** What a node says about one transaction. */
export interface TransactionView {
  readonly txId: string;
  readonly status: TxStatus;
  readonly value: string | null;
  readonly reason: string | null;
  readonly policy: ProtocolConfig["policy"] | null;
  readonly profile: ProtocolConfig["profile"] | null;
  readonly epoch: number | null;
  readonly openedAt: string | null;
  readonly deadlineAt: string | null;
  readonly unanimous: boolean;
  readonly offenders: readonly string[];
  readonly absent: readonly string[] | null;
  readonly votes: readonly {
    readonly nodeId: string;
    readonly value: string;
    readonly issuedAt: string;
  }[];
  readonly violations: readonly {
    readonly nodeId: string;
    readonly type: ViolationType;
    readonly grade: string;
  }[];
  readonly chain: { readonly txHash: string; readonly blockNumber: string } | null;
}

/** What a node says about itself and its cluster. */
export interface NodeStatus {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly peerId: string;
  readonly version: string;
  readonly epoch: number;
  readonly threshold: number;
  readonly totalNodes: number;
  readonly faultBounds: {
    readonly specified: number;
    readonly safety: number;
    readonly liveness: number;
    readonly warnings: readonly string[];
  };
  readonly ready: boolean;
  readonly checks: readonly {
    readonly name: string;
    readonly ok: boolean;
    readonly detail: string;
  }[];
  readonly trustees: readonly {
    readonly nodeId: string;
    readonly peerId: string;
    readonly online: boolean;
    readonly banned: boolean;
    readonly banReason: string | null;
    readonly version: string | null;
    readonly apiUrl: string | null;
    /** These three are not told by nodes of earlier versions. */
    readonly upSince?: string | null;
    /** On how many of the newest decided transactions it voted. */
    readonly participation?: { readonly votes: number; readonly transactions: number };
    readonly lastVoteAt?: string | null;
    /** Nor this one: the asked node's clock minus the time in the trustee's last vote, in ms. */
    readonly clockOffsetMs?: number | null;
  }[];
  /** Live nodes that have no say: not admitted yet, or removed. */
  readonly observers: readonly {
    readonly nodeId: string;
    readonly peerId: string;
    readonly addresses: readonly string[];
    readonly version: string;
    readonly since: string;
    /** A removed trustee that is still needed by transactions of its epoch. */
    readonly draining: boolean;
  }[];
  readonly openTransactions: number;
  readonly pendingVotes: number;
}

/** A vote that was taken. */
export interface VoteReceipt {
  readonly txId: string;
  readonly nodeId: string;
  readonly value: string;
  readonly outcome: "RECORDED" | "PENDING";
  readonly status: TxStatus | null;
}

/** One recorded violation. */
export interface EvidenceSummary {
  /** `txId/peerId/TYPE`. */
  readonly id: string;
  readonly txId: string;
  readonly peerId: string;
  readonly nodeId: string | null;
  readonly type: ViolationType;
  readonly grade: EvidenceGrade;
  readonly detectedAt: string;
}

/** A page of violations; it may be short or even empty: only `next: null` is the end. */
export interface EvidencePage {
  readonly evidence: readonly EvidenceSummary[];
  readonly next: string | null;
}

/** One violation with its evidence as stored, and what it proves. */
export interface EvidenceDetail extends EvidenceSummary {
  /** Null when the evidence bears nothing out; `problem` then says why. */
  readonly finding: string | null;
  readonly problem: string | null;
  readonly rule: string | null;
  readonly trusteeSets: EvidenceVerdict["sets"];
  readonly evidence: Evidence;
}

export interface EvidenceQuery {
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
  readonly tx?: string | undefined;
  /** A node id or a peer id. */
  readonly node?: string | undefined;
}

export interface BanView {
  readonly peerId: string;
  readonly nodeId: string | null;
  readonly reason: BanReason;
  readonly grade: EvidenceGrade;
  readonly bannedAt: string;
  /** Null for a ban that rests on no single violation. */
  readonly evidenceId: string | null;
}

/** The end of a ban. */
export interface LiftView {
  readonly peerId: string;
  readonly nodeId: string | null;
  readonly banReason: BanReason | null;
  readonly by: string;
  readonly reason: string;
  readonly liftedAt: string;
}

export interface BanList {
  readonly bans: readonly BanView[];
  /** Only when asked for. */
  readonly lifts?: readonly (LiftView & { readonly kind: "OPERATOR" | "UNPROVEN" })[];
}

/** A node's signed word on what it refused, and whether a known trustee signed it. */
export type ReceiptView = ReceiptJson & { readonly verified: boolean };

export interface ReceiptList {
  /** Newest first. */
  readonly receipts: readonly ReceiptView[];
  /** False when there may be more than were looked through, or etcd does not answer. */
  readonly complete: boolean;
}

export interface ReceiptQuery {
  readonly limit?: number | undefined;
  readonly tx?: string | undefined;
  readonly reason?: RefusalReason | undefined;
  /** Who refused: a node id or a peer id. */
  readonly node?: string | undefined;
}

/** A node refused, or could not be asked. */
export class NodeApiError extends Error {
  override readonly name = "NodeApiError";
  /** The server's code, or UNREACHABLE, or NOT_A_NODE when something else answers there. */
  readonly code: string;
  readonly httpStatus: number | null;
  readonly retryable: boolean;
  /** The node's receipt for a refused vote. Nothing of it has been verified. */
  readonly receipt: Receipt | null;
  constructor(
    code: string,
    message: string,
    options: {
      readonly httpStatus?: number;
      readonly receipt?: Receipt | null;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.httpStatus = options.httpStatus ?? null;
    this.receipt = options.receipt ?? null;
    this.retryable = code === "UNREACHABLE" || options.httpStatus === 503;
  }
}

/** A node's HTTP API. Every call may reject with a NodeApiError. */
export interface NodeClient {
  readonly url: string;
  /** Casts the node's own vote. Idempotent for the same value. */
  vote(txId: string, value: string, options?: AbortOptions): Promise<VoteReceipt>;
  /**
   * A transaction's present state; null when nobody has voted on it.
   * @param until statuses to wait for, at most `timeoutMs`
   */
  transaction(
    txId: string,
    options?: AbortOptions & { readonly until?: readonly TxStatus[]; readonly timeoutMs?: number },
  ): Promise<TransactionView | null>;
  status(options?: AbortOptions): Promise<NodeStatus>;
  /** A page of recorded violations. */
  evidence(query?: EvidenceQuery, options?: AbortOptions): Promise<EvidencePage>;
  /** One violation; rejects with EVIDENCE_UNKNOWN when it is not recorded. @param id `txId/peerId/TYPE` */
  evidenceOf(id: string, options?: AbortOptions): Promise<EvidenceDetail>;
  /** Its evidence file, byte for byte as the node signed it. Nothing of it has been checked. */
  evidenceFile(id: string, options?: AbortOptions): Promise<string>;
  bans(options?: AbortOptions & { readonly withLifts?: boolean }): Promise<BanList>;
  /** Ends a ban by opinion. @param peer a peer id or a node id. Rejects with BAN_PERMANENT or NOT_BANNED. */
  liftBan(
    peer: string,
    lift: { readonly reason: string; readonly operator: string },
    options?: AbortOptions,
  ): Promise<LiftView>;
  /** What all nodes have refused in the last hour. */
  receipts(query?: ReceiptQuery, options?: AbortOptions): Promise<ReceiptList>;
}

/** How much longer than it asked for a call waits for its answer, in ms. */
const GRACE_MS = 15_000;
const LONG_POLL_MS_DEFAULT = 5_000;

/** @throws TypeError when the URL is none. */
export function createNodeClient(
  url: string,
  { token }: { readonly token?: string | undefined } = {},
): NodeClient {
  const base = new URL(url).href.replace(/\/+$/, "");
  const exchange = (path: string, options: CallOptions) => request(base, path, token, options);
  const call = async (path: string, options: CallOptions) => (await exchange(path, options)).answer;
  return {
    url: base,
    vote: async (txId, value, options) =>
      expectKeys<VoteReceipt>(
        base,
        await call("/v1/votes", { ...options, body: { txId, value } }),
        ["txId", "outcome"],
      ),
    transaction: async (txId, { until, timeoutMs = LONG_POLL_MS_DEFAULT, signal } = {}) => {
      const query =
        until === undefined ? "" : `?wait=${until.join(",")}&timeoutMs=${Math.round(timeoutMs)}`;
      try {
        const path = `/v1/transactions/${encodeURIComponent(txId)}${query}`;
        const answer = await call(path, {
          signal,
          waitMs: until === undefined ? 0 : timeoutMs,
        });
        return expectKeys<TransactionView>(base, answer, ["txId", "status", "votes"]);
      } catch (error) {
        if (error instanceof NodeApiError && error.code === "TX_UNKNOWN") return null;
        throw error;
      }
    },
    status: async (options) =>
      expectKeys<NodeStatus>(base, await call("/v1/status", options ?? {}), [
        "clusterId",
        "trustees",
        "checks",
      ]),
    evidence: async (query = {}, options = {}) => {
      const answer = await call(`/v1/evidence?${parametersOf(query)}`, options);
      return expectKeys<EvidencePage>(base, answer, ["evidence", "next"]);
    },
    evidenceOf: async (id, options = {}) =>
      expectKeys<EvidenceDetail>(base, await call(`/v1/evidence/${pathOf(id)}`, options), [
        "id",
        "finding",
        "evidence",
      ]),
    evidenceFile: async (id, options = {}) =>
      (await exchange(`/v1/evidence/${pathOf(id)}/file`, options)).text,
    bans: async ({ withLifts = false, ...options } = {}) =>
      expectKeys<BanList>(
        base,
        await call(withLifts ? "/v1/bans?lifts=true" : "/v1/bans", options),
        ["bans"],
      ),
    liftBan: async (peer, { reason, operator }, options = {}) => {
      const path = `/v1/bans/${encodeURIComponent(peer)}/lift`;
      const answer = await call(path, { ...options, body: { reason, operator } });
      return expectKeys<LiftView>(base, answer, ["peerId", "liftedAt"]);
    },
    receipts: async (query = {}, options = {}) => {
      const answer = await call(`/v1/receipts?${parametersOf(query)}`, options);
      return expectKeys<ReceiptList>(base, answer, ["receipts", "complete"]);
    },
  };
}

function parametersOf(query: object): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) parameters.set(name, String(value));
  return parameters.toString();
}

/** @throws TypeError when it is no evidence id: a path could otherwise lead elsewhere. */
function pathOf(id: string): string {
  const parsed = parseEvidenceId(id);
  if (!parsed.ok) throw new TypeError(parsed.error.message);
  const { txId, peerId, type } = parsed.value;
  return `${encodeURIComponent(txId)}/${peerId}/${type}`;
}

type CallOptions = AbortOptions & { readonly body?: object; readonly waitMs?: number };

/** One request and its good answer, as text and as JSON. */
async function request(
  base: string,
  path: string,
  token: string | undefined,
  options: CallOptions,
): Promise<{ readonly text: string; readonly answer: unknown }> {
  const timeout = AbortSignal.timeout(Math.ceil((options.waitMs ?? 0) + GRACE_MS));
  const { signal, body } = options;
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
    throw new NodeApiError("UNREACHABLE", `no node answers at ${base}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  const answer = parseJson(text);
  if (response.ok && answer !== null) return { text, answer };
  throw refusalOf(base, response.status, answer);
}

function refusalOf(base: string, httpStatus: number, answer: unknown): NodeApiError {
  const error = isRecord(answer) ? answer["error"] : undefined;
  const code = isRecord(error) ? error["code"] : undefined;
  const message = isRecord(error) ? error["message"] : undefined;
  if (typeof code !== "string")
    return new NodeApiError(
      "NOT_A_NODE",
      `what answers at ${base} (HTTP ${httpStatus}) is not a Quorate node`,
      { httpStatus },
    );
  const receipt = receiptFromJson(isRecord(error) ? error["receipt"] : undefined);
  return new NodeApiError(code, typeof message === "string" ? message : code, {
    httpStatus,
    receipt: receipt.ok ? receipt.value : null,
  });
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

/** The answer as its documented shape, once the fields that tell it from any other are there. */
function expectKeys<T extends object>(
  base: string,
  answer: unknown,
  keys: readonly (keyof T & string)[],
): T {
  const has = (value: unknown): value is T =>
    isRecord(value) && keys.every((key) => Object.hasOwn(value, key));
  if (has(answer)) return answer;
  throw new NodeApiError("NOT_A_NODE", `what answers at ${base} is not a Quorate node`);
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Error && cause.name === "TimeoutError") return "it does not reply in time";
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = inner instanceof Error && "code" in inner ? String(inner.code) : null;
  if (code === "ECONNREFUSED") return "the connection is refused";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "its host name is unknown";
  return code ?? (inner instanceof Error ? inner.message : String(inner));
}

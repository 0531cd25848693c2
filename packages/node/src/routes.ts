import {
  assert,
  type FinalDecision,
  LIMITS,
  type NodeId,
  type PeerId,
  parseTxId,
  parseValue,
  type ReceiptJson,
  type RefusalReason,
  type TxId,
  type TxSnapshot,
} from "@quorate/core";
import type { CastOutcome, TrusteeNode } from "@quorate/engine";
import type { TallyStore } from "@quorate/ports";
import { type ErrorBody, errorBody, type OpsServer } from "@quorate/telemetry";
import { addBanRoutes, type BanContext } from "./ban-routes.ts";
import { addEvidenceRoutes, type EvidenceContext } from "./evidence-routes.ts";
import { refusalReasonOf, refuseRequest } from "./local-refusal.ts";
import { addReceiptRoutes, type ReceiptContext } from "./receipt-routes.ts";
import { recentTransactions, statusJson, transactionJson } from "./views.ts";

type App = OpsServer["app"];

/** How long POST /v1/votes waits for the record before it answers PENDING, in ms. */
const VOTE_WAIT_MS = 10_000;
/** Body of a batch of votes, in bytes: 256 votes with the longest ids are under 50 KiB. */
const BATCH_BODY_BYTES_MAX = 65_536;
/** The longest a GET with `wait` stays open, in ms. */
const LONG_POLL_MS_MAX = 60_000;
/** Transactions of one answer, unless asked for fewer or more: a screen or two. */
const RECENT_DEFAULT = 50;
/** Transactions of one answer at most: half a kilobyte each, and 50 bytes a vote. */
const RECENT_MAX = 200;

export interface RouteContext extends BanContext, EvidenceContext, ReceiptContext {
  readonly node: TrusteeNode;
  readonly store: TallyStore;
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly version: string;
}

/** The node's HTTP API. */
export function addRoutes(app: App, context: RouteContext): void {
  app.post("/v1/votes", { config: { access: "vote" } }, async (request, reply) => {
    const result = await castOne(context, request.body);
    const { httpStatus, ...rest } = result;
    return reply
      .code(httpStatus)
      .send("error" in rest ? rest : { ...rest, nodeId: context.nodeId });
  });

  const batch = { bodyLimit: BATCH_BODY_BYTES_MAX, config: { access: "vote" } } as const;
  app.post("/v1/votes/batch", batch, async (request, reply) => {
    const body = request.body;
    const votes = typeof body === "object" && body !== null && "votes" in body ? body.votes : null;
    if (!Array.isArray(votes) || votes.length < 1 || votes.length > LIMITS.votesPerFrameMax)
      return reply
        .code(400)
        .send(
          errorBody("BATCH_INVALID", `votes must be a list of 1 to ${LIMITS.votesPerFrameMax}`),
        );
    const results = await Promise.all(votes.map((vote: unknown) => castOne(context, vote)));
    return { nodeId: context.nodeId, results };
  });

  app.get("/v1/transactions/:txId", async (request, reply) => {
    const params = request.params as Record<string, string>;
    const query = request.query as Record<string, string | undefined>;
    const txId = parseTxId(params["txId"]);
    if (!txId.ok) return reply.code(400).send(errorBody(txId.error.code, txId.error.message));
    if (query["wait"] !== undefined)
      await waitFor(
        context.node,
        txId.value,
        query["wait"].split(","),
        Number(query["timeoutMs"] ?? 5_000),
      );
    const snapshot = await snapshotOf(context, txId.value);
    if (snapshot.status === null && snapshot.decision !== null)
      return reply
        .code(410)
        .send(errorBody("TX_ARCHIVED", archivedText(txId.value, snapshot.decision)));
    if (snapshot.status === null)
      return reply.code(404).send(errorBody("TX_UNKNOWN", `nobody has voted on ${txId.value}`));
    return transactionJson(snapshot);
  });

  app.get("/v1/transactions", async (request, reply) => {
    const { limit = String(RECENT_DEFAULT) } = request.query as Record<string, unknown>;
    if (typeof limit !== "string" || !/^[1-9][0-9]{0,2}$/.test(limit) || Number(limit) > RECENT_MAX)
      return reply
        .code(400)
        .send(errorBody("QUERY_INVALID", `limit must be a whole number from 1 to ${RECENT_MAX}`));
    const found = recentTransactions(context.node.view, Number(limit));
    return { transactions: found.map(transactionJson) };
  });

  app.get("/v1/status", () => statusJson(context));

  addBanRoutes(app, context);
  addEvidenceRoutes(app, context);
  addReceiptRoutes(app, context);
}

/** What the answer would be if the vote had come alone. */
type CastResult = { readonly httpStatus: number } & (
  | { readonly error: ErrorBody["error"] & { readonly receipt: ReceiptJson | null } }
  | {
      readonly txId: TxId;
      readonly value: string;
      readonly outcome: "RECORDED" | "PENDING";
      readonly status: string | null;
    }
);

/** Casts one vote of a request. One bad vote of a batch spoils none of the others. */
async function castOne(context: RouteContext, vote: unknown): Promise<CastResult> {
  const fields = typeof vote === "object" && vote !== null ? (vote as Record<string, unknown>) : {};
  const txId = parseTxId(fields["txId"]);
  const value = parseValue(fields["value"]);
  const refused = (httpStatus: number, { error }: ErrorBody, reason: RefusalReason): CastResult => {
    const who = { ...context, txId: txId.ok ? txId.value : null };
    const receipt = refuseRequest(context.node.receipts, reason, vote, who);
    return { httpStatus, error: { ...error, receipt } };
  };
  if (!txId.ok) return refused(400, errorBody(txId.error.code, txId.error.message), "malformed");
  if (!value.ok) return refused(400, errorBody(value.error.code, value.error.message), "malformed");
  const outcome = await withTimeout(context.node.cast(txId.value, value.value), VOTE_WAIT_MS);
  const answer = answerOf(outcome, txId.value, context);
  const reason = refusalReasonOf(outcome);
  if ("error" in answer) {
    assert(reason !== null, "what was not refused is no error");
    return refused(answer.code, answer.error, reason);
  }
  return {
    httpStatus: answer.code,
    txId: txId.value,
    value: value.value.toString(),
    outcome: answer.outcome,
    status: context.node.view.status(txId.value),
  };
}

async function withTimeout(outcome: Promise<CastOutcome>, ms: number): Promise<CastOutcome | null> {
  const timeout = AbortSignal.timeout(ms);
  const expired = new Promise<null>((resolve) => {
    timeout.addEventListener("abort", () => resolve(null), { once: true });
  });
  return Promise.race([outcome, expired]);
}

type Answer =
  | { readonly code: 200 | 202; readonly outcome: "RECORDED" | "PENDING" }
  | { readonly code: number; readonly error: ReturnType<typeof errorBody> };

function answerOf(outcome: CastOutcome | null, txId: TxId, context: RouteContext): Answer {
  if (outcome === null) return { code: 202, outcome: "PENDING" };
  if (outcome.kind === "RECORDED") return { code: 200, outcome: "RECORDED" };
  const refuse = (code: number, name: string, message: string): Answer => ({
    code,
    error: errorBody(name, message),
  });
  if (outcome.kind === "EQUIVOCATION")
    return refuse(409, "EQUIVOCATION", `another value by this trustee is recorded for ${txId}`);
  if (outcome.kind === "ALREADY_VOTED")
    return refuse(
      409,
      "ALREADY_VOTED",
      `this trustee has voted ${outcome.value} for ${txId}; a second value would be a double vote`,
    );
  if (outcome.kind === "NOT_A_TRUSTEE")
    return refuse(403, "NOT_A_TRUSTEE", whyNoSay(txId, context));
  switch (outcome.code) {
    case "BANNED":
      return refuse(403, "BANNED", "this trustee is banned");
    case "WRONG_EPOCH":
      return refuse(409, "WRONG_EPOCH", `${txId} belongs to another epoch`);
    case "UNKNOWN_TRUSTEE":
      return refuse(403, "NOT_A_TRUSTEE", whyNoSay(txId, context));
    case "RECORD_FORGED":
      return refuse(
        409,
        "RECORD_FORGED",
        `etcd holds a vote for ${txId} in this trustee's name that its key did not sign`,
      );
    case "ARCHIVED":
      return refuse(
        410,
        "TX_ARCHIVED",
        `${txId} was decided long ago and its votes are archived; an id is used once`,
      );
    case "QUEUE_FULL":
      return refuse(503, "QUEUE_FULL", "too many votes wait to be recorded; try again later");
    case "JOURNAL_FAILED":
      return refuse(503, "JOURNAL_FAILED", "the vote journal can't be written; nothing was signed");
    case "STOPPED":
      return refuse(503, "STOPPED", "this node is shutting down");
    default:
      return outcome.code satisfies never;
  }
}

/** A transaction keeps the trustees it opened under, which may not be those in force. */
function whyNoSay(txId: TxId, { node, peerId }: RouteContext): string {
  const { epoch, byPeerId } = node.set;
  const opened = node.view.record(txId)?.epoch ?? epoch;
  if (opened !== epoch && byPeerId.has(peerId))
    return `${txId} opened in epoch ${opened} and is decided by that epoch's trustees; this node has been one since a later epoch`;
  return `this node's key is not in the trustee set of epoch ${opened}, so it can't vote on ${txId}`;
}

function archivedText(txId: TxId, decision: FinalDecision): string {
  const how = decision.kind === "SUBMIT" ? `with value ${decision.value}` : decision.reason;
  return `${txId} was ${decision.kind === "SUBMIT" ? "submitted" : "aborted:"} ${how} long ago and is archived`;
}

async function waitFor(
  node: TrusteeNode,
  txId: TxId,
  statuses: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const bounded = Number.isFinite(timeoutMs)
    ? Math.min(Math.max(timeoutMs, 0), LONG_POLL_MS_MAX)
    : 5_000;
  const signal = AbortSignal.timeout(bounded);
  const isOver = (): boolean =>
    node.view.isArchived(txId) || statuses.includes(node.view.status(txId) ?? "");
  while (!signal.aborted && !isOver()) await node.nextChange(txId, { signal });
}

/** From the view when it has all of it, else from etcd: an old transaction is not kept in memory. */
async function snapshotOf(context: RouteContext, txId: TxId): Promise<TxSnapshot> {
  const known = context.node.view.snapshot(txId);
  if (known !== null && known.snapshot.status !== null) return known.snapshot;
  return (await context.store.read(txId, { signal: AbortSignal.timeout(5_000) })).snapshot;
}

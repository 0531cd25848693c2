import { type EvmAddress, isoTime, parseTxId, scoreAt } from "@quorate/core";
import {
  type AuditLog,
  type Chain,
  ChainError,
  type Clock,
  type FinalityMode,
  StoreError,
  type Submission,
  type SubmissionDetail,
  type SubmissionStore,
} from "@quorate/ports";
import { COSTLY, errorBody, type OpsServer } from "@quorate/telemetry";
import { readOperator, readPage } from "./api-requests.ts";

/** The longest one read of PostgreSQL or of the chain may take, in ms: a caller waits for the answer. */
const TIMEOUT_MS = 5_000;
/** Nonces without a slot that an answer names; whoever has more has other worries. */
const GAPS_SHOWN_MAX = 20;

export interface SubmitterApiContext {
  readonly clusterId: string;
  readonly version: string;
  readonly schema: string;
  readonly address: EvmAddress;
  readonly finality: FinalityMode;
  readonly submissions: Pick<
    SubmissionStore,
    | "list"
    | "detail"
    | "get"
    | "release"
    | "senderState"
    | "freeze"
    | "thaw"
    | "gaps"
    | "liveSlots"
    | "counts"
  >;
  readonly chain: Pick<
    Chain,
    "chainId" | "contractAddress" | "transactionCount" | "nonceFloor" | "finalizedHead"
  >;
  readonly history: Pick<AuditLog, "reputations">;
  readonly clock: Clock;
  readonly service: {
    readonly leading: boolean;
    readonly projectedRevision: bigint | null;
    checks(): readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  };
}

interface Answer {
  readonly httpStatus: number;
  readonly body: object;
}

const refusal = (httpStatus: number, code: string, message: string): Answer => ({
  httpStatus,
  body: errorBody(code, message),
});

/**
 * `GET /v1/status`, `GET /v1/reputations`, `GET /v1/submissions[/{tx}]`, `POST /v1/submissions/{tx}/retry`, `GET /v1/sender` and
 * `POST /v1/sender/freeze|thaw`. All of it is told and done by PostgreSQL and the chain, so a standby answers as the leader does.
 */
export function addSubmitterRoutes(app: OpsServer["app"], context: SubmitterApiContext): void {
  app.get("/v1/status", async (_request, reply) => {
    const { httpStatus, body } = await answerOf(() => statusOf(context));
    return reply.code(httpStatus).send(body);
  });
  app.get("/v1/reputations", COSTLY, async (_request, reply) => {
    const { httpStatus, body } = await answerOf(() => reputationsOf(context));
    return reply.code(httpStatus).send(body);
  });
  app.get("/v1/submissions", async (request, reply) => {
    const { httpStatus, body } = await answerOf(() => list(context, request.query));
    return reply.code(httpStatus).send(body);
  });
  app.get("/v1/submissions/:txId", async (request, reply) => {
    const { txId = "" } = request.params as Record<string, string>;
    const { httpStatus, body } = await answerOf(() => show(context, txId));
    return reply.code(httpStatus).send(body);
  });
  app.post("/v1/submissions/:txId/retry", COSTLY, async (request, reply) => {
    const { txId = "" } = request.params as Record<string, string>;
    const { httpStatus, body } = await answerOf(() => retry(context, txId, request.body));
    return reply.code(httpStatus).send(body);
  });
  app.get("/v1/sender", async (_request, reply) => {
    const { httpStatus, body } = await answerOf(() => senderAnswer(context));
    return reply.code(httpStatus).send(body);
  });
  app.post("/v1/sender/freeze", COSTLY, async (request, reply) => {
    const { httpStatus, body } = await answerOf(() => freeze(context, request.body));
    return reply.code(httpStatus).send(body);
  });
  app.post("/v1/sender/thaw", COSTLY, async (request, reply) => {
    const { httpStatus, body } = await answerOf(() => thaw(context, request.body));
    return reply.code(httpStatus).send(body);
  });
}

const within = (): { readonly signal: AbortSignal } => ({
  signal: AbortSignal.timeout(TIMEOUT_MS),
});

/** What PostgreSQL's failure means to a caller; a bug goes on and is logged. */
async function answerOf(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreError)
      return refusal(error.retryable ? 503 : 500, `POSTGRES_${error.code}`, error.message);
    if (error instanceof Error && error.name === "TimeoutError")
      return refusal(503, "POSTGRES_TIMEOUT", "PostgreSQL did not answer in time");
    throw error;
  }
}

async function statusOf(context: SubmitterApiContext): Promise<Answer> {
  const { clusterId, version, address, chain, schema, submissions, service } = context;
  return {
    httpStatus: 200,
    body: {
      clusterId,
      version,
      leading: service.leading,
      address,
      chainId: chain.chainId,
      contractAddress: chain.contractAddress,
      schema,
      counts: await submissions.counts(within()),
      projectorRevision: service.projectedRevision?.toString() ?? null,
      checks: service.checks(),
    },
  };
}

async function reputationsOf({ history, clock }: SubmitterApiContext): Promise<Answer> {
  const rows = await history.reputations(within());
  const reputations = rows.map((row) => ({
    peerId: row.peerId,
    nodeId: row.nodeId,
    score: scoreAt(row.state, clock.nowMs()),
    totalVotes: row.totalVotes,
    violations: row.violationsCount,
    lastSeenAt: isoTime(row.lastSeenMs),
  }));
  return { httpStatus: 200, body: { reputations } };
}

async function list({ submissions }: SubmitterApiContext, query: unknown): Promise<Answer> {
  const page = readPage(query);
  if (!page.ok) return refusal(400, "QUERY_INVALID", page.error);
  const found = await submissions.list(page.value, within());
  return {
    httpStatus: 200,
    body: { submissions: found.submissions.map(submissionJson), next: found.next },
  };
}

async function show({ submissions }: SubmitterApiContext, name: string): Promise<Answer> {
  const txId = parseTxId(name);
  if (!txId.ok) return refusal(400, txId.error.code, txId.error.message);
  const detail = await submissions.detail(txId.value, within());
  if (detail !== null) return { httpStatus: 200, body: detailJson(detail) };
  const archived = await submissions.get(txId.value, within());
  if (archived === null)
    return refusal(404, "TX_UNKNOWN", `${txId.value} was never queued for the chain`);
  return { httpStatus: 200, body: detailJson({ submission: archived, slots: [], history: [] }) };
}

async function retry(
  { submissions }: SubmitterApiContext,
  name: string,
  body: unknown,
): Promise<Answer> {
  const txId = parseTxId(name);
  if (!txId.ok) return refusal(400, txId.error.code, txId.error.message);
  const read = readOperator(body);
  if (!read.ok) return refusal(400, "RETRY_INVALID", read.error);
  const { operator, reason } = read.value;
  const outcome = await submissions.release(txId.value, operator, reason, within());
  if (outcome === "released")
    return {
      httpStatus: 200,
      body: { txId: txId.value, outcome: "released", by: operator, reason },
    };
  if (outcome === "unknown")
    return refusal(404, "TX_UNKNOWN", `${txId.value} was never queued for the chain`);
  const found = await submissions.get(txId.value, within());
  if (outcome === "slot-live")
    return refusal(
      409,
      "SLOT_LIVE",
      `${txId.value} was signed under nonce ${found?.nonce ?? "unknown"}, which is not final: that transaction may still be mined, and a second one could not be told from it. It can be retried once the nonce is final.`,
    );
  const state = found === null ? "gone" : found.archivedAtMs === null ? found.state : "archived";
  return refusal(
    409,
    "NOT_QUARANTINED",
    `${txId.value} is ${state}; only what is QUARANTINED can be retried`,
  );
}

async function senderAnswer(context: SubmitterApiContext): Promise<Answer> {
  return { httpStatus: 200, body: await senderJson(context) };
}

async function freeze(context: SubmitterApiContext, body: unknown): Promise<Answer> {
  const read = readOperator(body);
  if (!read.ok) return refusal(400, "FREEZE_INVALID", read.error);
  const { operator, reason } = read.value;
  // Begins as no reason of the program's own does, after which a leader may thaw by itself.
  const frozen = `by ${operator}: ${reason}`;
  if (!(await context.submissions.freeze(senderOf(context), frozen, within())))
    return unknownSender(context);
  return { httpStatus: 200, body: await senderJson(context) };
}

async function thaw(context: SubmitterApiContext, body: unknown): Promise<Answer> {
  const read = readOperator(body);
  if (!read.ok) return refusal(400, "THAW_INVALID", read.error);
  const { operator, reason } = read.value;
  const by = `${operator}: ${reason}`;
  if (!(await context.submissions.thaw(senderOf(context), by, within())))
    return unknownSender(context);
  return { httpStatus: 200, body: await senderJson(context) };
}

function unknownSender({ address, chain }: SubmitterApiContext): Answer {
  return refusal(
    404,
    "SENDER_UNKNOWN",
    `${address} has never led on chain ${chain.chainId}: there is nothing to freeze or thaw yet`,
  );
}

function senderOf({ address, chain }: SubmitterApiContext) {
  return { chainId: chain.chainId, address };
}

/** What PostgreSQL says of the sender, next to what the chain says; the chain's part is null where it does not answer. */
async function senderJson(context: SubmitterApiContext): Promise<object> {
  const { submissions, chain, service, address } = context;
  const sender = senderOf(context);
  const state = await submissions.senderState(sender, within());
  const [onChain, counts] = await Promise.all([chainSide(context), submissions.counts(within())]);
  const frozen = state?.frozen ?? null;
  const live = state === null ? [] : await submissions.liveSlots(sender, within());
  const from = onChain.latest ?? live[0]?.nonce ?? state?.nextNonce ?? 0n;
  const gaps = state === null ? [] : await submissions.gaps(sender, from, GAPS_SHOWN_MAX, within());
  return {
    chainId: chain.chainId,
    address,
    contractAddress: chain.contractAddress,
    leading: service.leading,
    known: state !== null,
    leaderEpoch: state?.leaderEpoch.toString() ?? null,
    nextNonce: state?.nextNonce.toString() ?? null,
    importedThroughBlock: state?.importedThroughBlock?.toString() ?? null,
    frozen: frozen === null ? null : { reason: frozen.reason, since: isoTime(frozen.sinceMs) },
    // Whether the database was held against the chain since it last had reason to be; until then nothing is signed.
    history:
      state === null ? null : { checked: state.historyChecked, differs: state.historyDiffers },
    liveNonces: live.map(({ nonce }) => nonce.toString()),
    gaps: gaps.map(String),
    counts,
    chain: {
      latestNonce: onChain.latest?.toString() ?? null,
      pendingNonce: onChain.pending?.toString() ?? null,
      finalizedBlock: onChain.finalizedBlock?.toString() ?? null,
      problem: onChain.problem,
    },
  };
}

async function chainSide({ chain, address, finality }: SubmitterApiContext) {
  try {
    const [latest, pending, finalized] = await Promise.all([
      chain.transactionCount(address, "latest", within()),
      chain.nonceFloor(address, within()),
      chain.finalizedHead(finality, within()),
    ]);
    return { latest, pending, finalizedBlock: finalized?.number ?? null, problem: null };
  } catch (error) {
    const isTimeout = error instanceof Error && error.name === "TimeoutError";
    if (!(error instanceof ChainError) && !isTimeout) throw error;
    const problem = error instanceof ChainError ? error.message : "no endpoint answered in time";
    return { latest: null, pending: null, finalizedBlock: null, problem };
  }
}

function submissionJson(submission: Submission): object {
  const { txId, key, value, state, epoch, decisionRevision, nonce, txHash, blockNumber } =
    submission;
  return {
    txId,
    key,
    value: value.toString(),
    state,
    epoch,
    decisionRevision: decisionRevision.toString(),
    nonce: nonce?.toString() ?? null,
    txHash,
    blockNumber: blockNumber?.toString() ?? null,
    tries: submission.tries,
    reason: submission.reason,
    queuedAt: isoTime(submission.queuedAtMs),
    finalizedAt: timeOrNull(submission.finalizedAtMs),
    confirmedAt: timeOrNull(submission.confirmedAtMs),
    archivedAt: timeOrNull(submission.archivedAtMs),
  };
}

function detailJson({ submission, slots, history }: SubmissionDetail): object {
  return {
    ...submissionJson(submission),
    slots: slots.map((slot) => ({
      nonce: slot.nonce.toString(),
      state: slot.state,
      gasLimit: slot.gasLimit.toString(),
      results: slot.items.length,
      included:
        slot.included === null
          ? null
          : { ...slot.included, blockNumber: slot.included.blockNumber.toString() },
      attempts: slot.attempts.map((attempt) => ({
        hash: attempt.hash,
        kind: attempt.kind,
        maxFeePerGasWei: attempt.maxFeePerGasWei.toString(),
        maxPriorityFeePerGasWei: attempt.maxPriorityFeePerGasWei.toString(),
        createdAt: isoTime(attempt.createdAtMs),
        sentCount: attempt.sentCount,
      })),
    })),
    history: history.map(({ nonce, from, to, leaderEpoch, blockNumber, reason, atMs }) => ({
      nonce: nonce.toString(),
      from,
      to,
      leaderEpoch: leaderEpoch.toString(),
      blockNumber: blockNumber?.toString() ?? null,
      reason,
      at: isoTime(atMs),
    })),
  };
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}

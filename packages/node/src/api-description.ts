import {
  type EvidenceGrade,
  LIMITS,
  REFUSAL_REASONS,
  TX_STATUSES,
  VIOLATION_TYPES,
} from "@quorate/core";
import {
  type ApiDescription,
  CHECK,
  decimal,
  flag,
  list,
  OPERATIONS_ROUTES,
  oneOf,
  orNull,
  REFUSAL,
  type RouteDescription,
  type Schema,
  shape,
  text,
  time,
  whole,
} from "@quorate/telemetry";

export function nodeApi(version: string): ApiDescription {
  return {
    title: "Quorate node",
    version,
    routes: NODE_ROUTES,
    description:
      "One trustee's node. `GET` needs a token with any role, votes one with the role `vote`, and what changes the cluster one with the role `operate`. `/v1/events` is a WebSocket of what is committed: first `{type: hello, revision, …}`, then `{type: revision, revision, events: […]}` with events of the types transaction, ban, unban, violation, presence and epoch. A listener that is too slow is cut off (1013) and should read the present state and connect again.",
  };
}

const EVIDENCE_GRADES: readonly EvidenceGrade[] = ["PROOF", "OPINION"];
const txId = text("Transaction id.", { pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$" });
const value = text("Whole number from 0 to 18446744073709551615.", { pattern: "^[0-9]{1,20}$" });
const status = oneOf(TX_STATUSES);
const evidenceSummary = {
  id: text("txId/peerId/TYPE"),
  txId,
  peerId: text(),
  nodeId: orNull(text()),
  type: oneOf(VIOLATION_TYPES),
  grade: oneOf(EVIDENCE_GRADES),
  detectedAt: time,
};

const transaction = shape({
  txId,
  status,
  settled: flag,
  archived: { ...flag, description: "Its votes are in history only." },
  value: orNull(value),
  reason: orNull(text("Why it was aborted.")),
  policy: orNull(text()),
  profile: orNull(text()),
  epoch: orNull(whole()),
  openedAt: orNull(time),
  deadlineAt: orNull(time),
  unanimous: flag,
  offenders: list(text()),
  absent: orNull(list(text())),
  votes: list(shape({ nodeId: text(), value, issuedAt: time })),
  violations: list(shape({ nodeId: text(), type: text(), grade: text() })),
  chain: orNull(shape({ txHash: text(), blockNumber: decimal })),
});

const receipt: Schema = { type: "object", description: "A refusal that this node has signed." };
const refusedVote: Schema = {
  description: "Refused; the receipt is the node's signed word on it.",
  ...shape({ error: shape({ code: text(), message: text(), receipt: orNull(receipt) }) }),
};
const cast = {
  txId,
  value,
  outcome: oneOf(
    ["RECORDED", "PENDING"],
    "PENDING: published, and not recorded within ten seconds; ask for the transaction.",
  ),
  status: orNull(status),
};
const vote = shape({ txId, value });
const lift = {
  peerId: text(),
  nodeId: orNull(text()),
  banReason: orNull(text()),
  by: text(),
  reason: text(),
  liftedAt: time,
};
const evidencePath = shape({ tx: txId, peer: text("Peer id."), type: oneOf(VIOLATION_TYPES) });
const limit = (max: number): Schema => ({ type: "integer", minimum: 1, maximum: max });

/** What the OpenAPI document says of each route of a node. */
const NODE_ROUTES: Readonly<Record<string, RouteDescription>> = {
  ...OPERATIONS_ROUTES,
  "POST /v1/votes": {
    summary: "Cast this trustee's vote",
    description:
      "Idempotent for the same value; a second value is refused, for it would be a double vote.",
    tags: ["Votes"],
    body: vote,
    response: {
      200: shape({ ...cast, nodeId: text() }),
      202: shape({ ...cast, nodeId: text() }),
      default: refusedVote,
    },
  },
  "POST /v1/votes/batch": {
    summary: "Cast many votes",
    description: "One bad vote spoils none of the others: each has its own result, in order.",
    tags: ["Votes"],
    body: shape({ votes: { ...list(vote), minItems: 1, maxItems: LIMITS.votesPerFrameMax } }),
    response: {
      200: shape({
        nodeId: text(),
        results: list({
          anyOf: [
            shape({ httpStatus: whole(), ...cast }),
            shape({
              httpStatus: whole(),
              error: shape({ code: text(), message: text(), receipt: orNull(receipt) }),
            }),
          ],
        }),
      }),
      default: REFUSAL,
    },
  },
  "GET /v1/transactions": {
    summary: "The newest transactions this node has in view",
    tags: ["Transactions"],
    querystring: shape({ limit: limit(200) }, ["limit"]),
    response: { 200: shape({ transactions: list(transaction) }), default: REFUSAL },
  },
  "GET /v1/transactions/:txId": {
    summary: "One transaction",
    description:
      "410 when it was decided long ago and is archived, 404 when nobody has voted on it.",
    tags: ["Transactions"],
    params: shape({ txId }),
    querystring: shape(
      {
        wait: text("Statuses to wait for, separated by commas."),
        timeoutMs: whole("How long to wait, at most 60000."),
      },
      ["wait", "timeoutMs"],
    ),
    response: { 200: transaction, default: REFUSAL },
  },
  "GET /v1/status": {
    summary: "This node and its cluster",
    tags: ["Operations"],
    response: {
      200: shape({
        clusterId: text(),
        nodeId: text(),
        peerId: text(),
        version: text(),
        epoch: whole(),
        threshold: whole(),
        totalNodes: whole(),
        faultBounds: shape({
          specified: whole(),
          safety: whole(),
          liveness: whole(),
          warnings: list(text()),
        }),
        ready: flag,
        checks: list(CHECK),
        trustees: list(
          shape({
            nodeId: text(),
            peerId: text(),
            online: flag,
            banned: flag,
            banReason: orNull(text()),
            version: orNull(text()),
            apiUrl: orNull(text()),
            upSince: orNull(time),
            participation: shape({
              votes: whole("Of the newest decided transactions in view, how many it voted on."),
              transactions: whole("How many those are, at most 100."),
            }),
            clockOffsetMs: orNull(
              whole(
                "This node's clock minus the time in the trustee's last vote, way and batching included; null until one was heard.",
              ),
            ),
            lastVoteAt: orNull(time),
          }),
        ),
        observers: list(
          shape({
            nodeId: text(),
            peerId: text(),
            addresses: list(text()),
            version: text(),
            since: time,
            draining: flag,
          }),
        ),
        openTransactions: whole(),
        pendingVotes: whole(),
      }),
      default: REFUSAL,
    },
  },
  "GET /v1/submitter": {
    summary: "What the configured submitter answers, for the web page",
    tags: ["Operations"],
    response: {
      200: shape({
        configured: flag,
        problem: orNull(text("Why `status` is null.")),
        explorerUrl: orNull(text()),
        status: orNull({ type: "object", description: "Its `GET /v1/status`." }),
        sender: orNull({ type: "object", description: "Its `GET /v1/sender`." }),
        reputations: list({ type: "object" }),
        submissions: list({ type: "object" }),
      }),
      default: REFUSAL,
    },
  },
  "GET /v1/submitter/submissions/:txId": {
    summary: "What the configured submitter answers on one submission",
    tags: ["Operations"],
    params: shape({ txId }),
    response: { 200: { type: "object" }, default: REFUSAL },
  },
  "GET /v1/bans": {
    summary: "Who is banned, and by what evidence",
    tags: ["Violations"],
    querystring: shape({ lifts: text("Present: ends of bans are told too.") }, ["lifts"]),
    response: {
      200: shape(
        {
          bans: list(
            shape({
              peerId: text(),
              nodeId: orNull(text()),
              reason: text(),
              grade: oneOf(EVIDENCE_GRADES),
              bannedAt: time,
              evidenceId: orNull(text()),
            }),
          ),
          lifts: list(shape({ ...lift, kind: oneOf(["OPERATOR", "UNPROVEN"]) })),
        },
        ["lifts"],
      ),
      default: REFUSAL,
    },
  },
  "POST /v1/bans/:peer/lift": {
    summary: "End a ban by opinion",
    description:
      "Kept for ever with who did it and why. 409 for a ban that rests on proof: it is permanent.",
    tags: ["Violations"],
    params: shape({ peer: text("Peer id or node id.") }),
    body: shape({
      reason: text(undefined, { maxLength: LIMITS.liftReasonCharsMax }),
      operator: text(undefined, { maxLength: LIMITS.operatorCharsMax }),
    }),
    response: { 200: shape(lift), default: REFUSAL },
  },
  "GET /v1/evidence": {
    summary: "Recorded violations",
    description: "A page may be short or even empty: only `next: null` is the end.",
    tags: ["Violations"],
    querystring: shape(
      {
        after: text("The `next` of the page before."),
        limit: limit(1_000),
        tx: txId,
        node: text("A node id or a peer id."),
      },
      ["after", "limit", "tx", "node"],
    ),
    response: {
      200: shape({ evidence: list(shape(evidenceSummary)), next: orNull(text()) }),
      default: REFUSAL,
    },
  },
  "GET /v1/evidence/:tx/:peer/:type": {
    summary: "One violation, with what its evidence proves",
    tags: ["Violations"],
    params: evidencePath,
    response: {
      200: shape({
        ...evidenceSummary,
        finding: orNull(text("What was found proven.")),
        problem: orNull(text("Why the evidence proves nothing.")),
        rule: orNull(text()),
        trusteeSets: list({ type: "object" }),
        evidence: { type: "object" },
      }),
      default: REFUSAL,
    },
  },
  "GET /v1/evidence/:tx/:peer/:type/file": {
    summary: "The signed evidence file, for `quorate evidence verify`",
    tags: ["Violations"],
    params: evidencePath,
    response: { 200: { type: "object" }, default: REFUSAL },
  },
  "GET /v1/receipts": {
    summary: "What all nodes have refused in the last hour",
    tags: ["Violations"],
    querystring: shape(
      {
        limit: limit(500),
        tx: txId,
        reason: oneOf(REFUSAL_REASONS),
        node: text("Who refused: a node id or a peer id."),
      },
      ["limit", "tx", "reason", "node"],
    ),
    response: {
      200: shape({
        receipts: list({ type: "object" }),
        complete: { ...flag, description: "False when there may be more." },
      }),
      default: REFUSAL,
    },
  },
};

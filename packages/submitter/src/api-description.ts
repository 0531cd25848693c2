import { LIMITS, SUBMISSION_MOVES } from "@quorate/core";
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
  shape,
  text,
  time,
  whole,
} from "@quorate/telemetry";

export function submitterApi(version: string): ApiDescription {
  return {
    title: "Quorate submitter",
    version,
    routes: SUBMITTER_ROUTES,
    description:
      "What is decided, on its way to the chain. A standby answers as the leader does. `GET` needs a token with any role, the rest one with the role `operate`.",
  };
}

const STATES = Object.keys(SUBMISSION_MOVES);
const txId = text("Transaction id.", { pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$" });
const counts = shape(Object.fromEntries(STATES.map((state) => [state, whole()])));

const submission = {
  txId,
  key: text("The contract's key."),
  value: decimal,
  state: oneOf(STATES),
  epoch: whole(),
  decisionRevision: decimal,
  nonce: orNull(decimal),
  txHash: orNull(text()),
  blockNumber: orNull(decimal),
  tries: whole("How often it was queued again."),
  reason: orNull(text("Why it is QUARANTINED or ABORTED.")),
  queuedAt: time,
  finalizedAt: orNull(time),
  confirmedAt: orNull(time),
  archivedAt: orNull(time),
};

const slot = shape({
  nonce: decimal,
  state: text(),
  gasLimit: decimal,
  results: whole("Results in its batch."),
  included: orNull(shape({ hash: text(), blockNumber: decimal, blockHash: text() })),
  attempts: list(
    shape({
      hash: text(),
      kind: text(),
      maxFeePerGasWei: decimal,
      maxPriorityFeePerGasWei: decimal,
      createdAt: time,
      sentCount: whole(),
    }),
  ),
});

const move = shape({
  nonce: decimal,
  from: orNull(text()),
  to: text(),
  leaderEpoch: decimal,
  blockNumber: orNull(decimal),
  reason: orNull(text()),
  at: time,
});

const sender = shape({
  chainId: whole(),
  address: text(),
  contractAddress: text(),
  leading: flag,
  known: flag,
  leaderEpoch: orNull(decimal),
  nextNonce: orNull(decimal),
  importedThroughBlock: orNull(decimal),
  frozen: orNull(shape({ reason: text(), since: time })),
  history: orNull(shape({ checked: flag, differs: flag })),
  liveNonces: list(decimal),
  gaps: list(decimal),
  counts,
  chain: shape({
    latestNonce: orNull(decimal),
    pendingNonce: orNull(decimal),
    finalizedBlock: orNull(decimal),
    problem: orNull(text("Why the chain's part is null.")),
  }),
});

/** Who orders it, and why; both are kept for ever. */
const order = shape({
  operator: text(undefined, { maxLength: LIMITS.operatorCharsMax }),
  reason: text(undefined, { maxLength: LIMITS.liftReasonCharsMax }),
});

const SUBMITTER_ROUTES: Readonly<Record<string, RouteDescription>> = {
  ...OPERATIONS_ROUTES,
  "GET /v1/status": {
    summary: "This submitter",
    tags: ["Operations"],
    response: {
      200: shape({
        clusterId: text(),
        version: text(),
        leading: flag,
        address: text(),
        chainId: whole(),
        contractAddress: text(),
        schema: text(),
        counts,
        projectorRevision: orNull(decimal),
        checks: list(CHECK),
      }),
      default: REFUSAL,
    },
  },
  "GET /v1/reputations": {
    summary: "What history makes of each peer, the worst first",
    tags: ["Trustees"],
    response: {
      200: shape({
        reputations: list(
          shape({
            peerId: text(),
            nodeId: orNull(text()),
            score: { type: "number", minimum: 0, maximum: 1 },
            totalVotes: whole(),
            violations: whole("Those that are borne out."),
            lastSeenAt: time,
          }),
        ),
      }),
      default: REFUSAL,
    },
  },
  "GET /v1/submissions": {
    summary: "Submissions, a page at a time",
    tags: ["Submissions"],
    querystring: shape(
      {
        state: text(`One or more of ${STATES.join(", ")}, separated by commas.`),
        after: text("The `next` of the page before."),
        limit: { type: "integer", minimum: 1, maximum: 500 },
      },
      ["state", "after", "limit"],
    ),
    response: {
      200: shape({ submissions: list(shape(submission)), next: orNull(text()) }),
      default: REFUSAL,
    },
  },
  "GET /v1/submissions/:txId": {
    summary: "One submission, with every nonce and every signed transaction it had",
    tags: ["Submissions"],
    params: shape({ txId }),
    response: {
      200: shape({ ...submission, slots: list(slot), history: list(move) }),
      default: REFUSAL,
    },
  },
  "POST /v1/submissions/:txId/retry": {
    summary: "Queue a quarantined submission again",
    tags: ["Submissions"],
    params: shape({ txId }),
    body: order,
    response: {
      200: shape({ txId, outcome: text(), by: text(), reason: text() }),
      default: REFUSAL,
    },
  },
  "GET /v1/sender": {
    summary: "The account that writes to the chain",
    tags: ["Sender"],
    response: { 200: sender, default: REFUSAL },
  },
  "POST /v1/sender/freeze": {
    summary: "Sign nothing new with the account until it is thawed",
    tags: ["Sender"],
    body: order,
    response: { 200: sender, default: REFUSAL },
  },
  "POST /v1/sender/thaw": {
    summary: "Let the account sign again",
    tags: ["Sender"],
    body: order,
    response: { 200: sender, default: REFUSAL },
  },
};

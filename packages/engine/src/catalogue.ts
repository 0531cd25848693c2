import { REFUSAL_REASONS, SUBMISSION_MOVES } from "@quorate/core";
import type { Counter, Gauge, Histogram, MetricsFactory } from "@quorate/ports";

const VIOLATIONS = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "INVALID_SIGNATURE",
  "SILENT_FAILURE",
] as const;
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The metrics of a trustee node. Names as the specification prints them. @see spec §13.1 */
export interface NodeMetrics {
  readonly votesReceived: Counter<"source">;
  readonly framesPublished: Counter;
  readonly votesRejected: Counter<"reason">;
  readonly votesRejectedByzantine: Counter<"type">;
  readonly thresholdReached: Counter;
  readonly transactionsAborted: Counter<"reason">;
  readonly activeVotes: Gauge;
  readonly bannedPeers: Gauge;
  readonly pendingVotes: Gauge;
  readonly outages: Counter;
  readonly strikes: Counter;
  readonly commitConflicts: Counter;
  readonly commitTransactions: Histogram;
  readonly recordLatency: Histogram;
  readonly banLatency: Histogram;
}

export function nodeMetrics(factory: MetricsFactory): NodeMetrics {
  return {
    votesReceived: factory.counter({
      name: "votes_received_total",
      help: "Votes that reached this node, by where they came from.",
      labels: ["source"],
      initial: [{ source: "local" }, { source: "gossip" }],
    }),
    framesPublished: factory.counter({
      name: "vote_frames_published_total",
      help: "Gossip messages with own votes, each under one signature.",
      initial: [{}],
    }),
    votesRejected: factory.counter({
      name: "votes_rejected_total",
      help: "Messages refused at admission, by reason; the copies of one already taken as duplicate.",
      labels: ["reason"],
      initial: [...REFUSAL_REASONS, "duplicate"].map((reason) => ({ reason })),
    }),
    votesRejectedByzantine: factory.counter({
      name: "votes_rejected_byzantine_total",
      help: "Violations this node committed to the record, by type.",
      labels: ["type"],
      initial: VIOLATIONS.map((type) => ({ type })),
    }),
    thresholdReached: factory.counter({
      name: "threshold_reached_total",
      help: "Transactions this node brought to THRESHOLD_REACHED.",
      initial: [{}],
    }),
    transactionsAborted: factory.counter({
      name: "transactions_aborted_byzantine_total",
      help: "Transactions this node aborted, by reason.",
      labels: ["reason"],
      initial: [
        "DOUBLE_VOTING",
        "MINORITY_VOTE",
        "SPLIT_VOTE",
        "QUORUM_UNREACHABLE",
        "SILENT_FAILURE",
      ].map((reason) => ({ reason })),
    }),
    activeVotes: factory.gauge({
      name: "active_votes",
      help: "Transactions that are open in this node's view.",
    }),
    bannedPeers: factory.gauge({ name: "banned_peers_total", help: "Peers that are banned." }),
    pendingVotes: factory.gauge({
      name: "pending_votes",
      help: "Votes that wait in this node to be recorded.",
    }),
    outages: factory.counter({
      name: "outage_judgements_total",
      help: "Deadlines at which so many were absent, or the tally so troubled, that nobody was blamed.",
      initial: [{}],
    }),
    strikes: factory.counter({
      name: "bans_struck_total",
      help: "Bans in etcd whose own evidence did not bear them out: somebody with access forged them.",
      initial: [{}],
    }),
    commitConflicts: factory.counter({
      name: "commit_conflicts_total",
      help: "Commits that lost the race for a transaction and were decided again.",
      initial: [{}],
    }),
    commitTransactions: factory.histogram({
      name: "commit_batch_transactions",
      help: "Transactions in one commit call.",
      buckets: [1, 2, 5, 10, 20, 50, 100],
    }),
    recordLatency: factory.histogram({
      name: "vote_record_seconds",
      help: "From a vote's reception to its record in etcd, for votes this node wrote.",
      buckets: SECONDS,
    }),
    banLatency: factory.histogram({
      name: "ban_enforcement_seconds",
      help: "From the commit of a ban to its enforcement on this node.",
      buckets: SECONDS,
    }),
  };
}

/** The metrics of the submitter. @see spec §13.1 */
export interface SubmitterMetrics {
  readonly submissions: Counter<"outcome">;
  readonly latency: Histogram<"stage">;
  readonly claims: Counter<"outcome">;
  readonly attempts: Counter<"kind">;
  readonly sends: Counter<"outcome">;
  readonly leader: Gauge;
  readonly frozen: Gauge;
  readonly headOfLineAge: Gauge;
  readonly feeCapReached: Gauge;
  readonly differences: Gauge;
  readonly queue: Gauge<"state">;
  readonly projectorRevision: Gauge;
  readonly projectorLag: Gauge;
  readonly historyRestarts: Counter;
  readonly peerReputation: Gauge<"node">;
  readonly reputationBans: Counter;
  readonly reputationBansWithheld: Gauge;
}

export function submitterMetrics(factory: MetricsFactory): SubmitterMetrics {
  return {
    submissions: factory.counter({
      name: "blockchain_submissions_total",
      help: "Transactions that became final on the chain, or failed for good.",
      labels: ["outcome"],
      initial: [{ outcome: "finalized" }, { outcome: "quarantined" }],
    }),
    latency: factory.histogram({
      name: "submission_latency_seconds",
      help: "From the queue to broadcast, inclusion and finality, each by itself.",
      labels: ["stage"],
      initial: ["broadcast", "included", "finalized"].map((stage) => ({ stage })),
      buckets: [...SECONDS, 60, 120, 300, 900],
    }),
    claims: factory.counter({
      name: "submission_claims_total",
      help: "Decided transactions looked at by the submitter, by outcome.",
      labels: ["outcome"],
      initial: ["claim", "unbacked", "dissent", "conflict", "archived"].map((outcome) => ({
        outcome,
      })),
    }),
    attempts: factory.counter({
      name: "submission_attempts_total",
      help: "Signed chain transactions, by kind.",
      labels: ["kind"],
      initial: ["ORIGINAL", "BUMP", "CANCEL", "GAPFILL"].map((kind) => ({ kind })),
    }),
    sends: factory.counter({
      name: "submission_sends_total",
      help: "Answers of RPC endpoints to raw transactions.",
      labels: ["outcome"],
      initial: [
        "accepted",
        "already-known",
        "nonce-too-low",
        "underpriced",
        "fee-too-low",
        "insufficient-funds",
        "rejected",
        "unreachable",
        "unknown",
      ].map((outcome) => ({ outcome })),
    }),
    leader: factory.gauge({ name: "submitter_leader", help: "1 while this process leads." }),
    frozen: factory.gauge({
      name: "submitter_frozen",
      help: "1 while the sender is frozen: nothing new is signed until its history is checked or a person thaws it.",
    }),
    headOfLineAge: factory.gauge({
      name: "submitter_head_of_line_seconds",
      help: "How long the lowest unmined nonce has been waiting, as this process saw it; 0 when none waits.",
    }),
    feeCapReached: factory.gauge({
      name: "submitter_fee_cap_reached",
      help: "1 while a transaction waits that can't be replaced without going over the fee cap: a person must decide.",
    }),
    differences: factory.gauge({
      name: "submitter_history_differences",
      help: "Records on the chain that the database did not know when it was last held against it.",
    }),
    queue: factory.gauge({
      name: "submissions",
      help: "Submissions by state.",
      labels: ["state"],
      initial: Object.keys(SUBMISSION_MOVES).map((state) => ({ state })),
    }),
    projectorRevision: factory.gauge({
      name: "projector_revision",
      help: "Last etcd revision in PostgreSQL.",
    }),
    projectorLag: factory.gauge({
      name: "projector_lag_revisions",
      help: "etcd revisions that are not in PostgreSQL yet.",
    }),
    historyRestarts: factory.counter({
      name: "history_restarts_total",
      help: "Times that history began again here: another etcd than it was projected from (a restored snapshot), or one compacted beyond it.",
      initial: [{}],
    }),
    peerReputation: factory.gauge({
      name: "peer_reputation",
      help: "Score of each trustee, from 1 (spotless) to 0 (banned). Only the leading projector's process has it.",
      labels: ["node"],
    }),
    reputationBans: factory.counter({
      name: "reputation_bans_total",
      help: "Trustees that this process banned for a low score.",
      initial: [{}],
    }),
    reputationBansWithheld: factory.gauge({
      name: "reputation_bans_withheld",
      help: "Trustees below the bound that are not banned, because too many would be out: an outage or a forgery.",
    }),
  };
}

import {
  LIMITS,
  type NodeId,
  type PeerId,
  type ReputationEvent,
  type ReputationState,
  reputationAfter,
  SPOTLESS,
  scoreAt,
} from "@quorate/core";
import type { ReputationRow } from "@quorate/ports";

import {
  bigintOf,
  booleanOf,
  nodeIdOrNull,
  numberOf,
  peerIdOf,
  type Row,
  timeMsOf,
  timeParameter,
} from "../row.ts";
import type { Queries } from "../session.ts";
import type { NewLift } from "./lifts.ts";
import type { Noticed } from "./noticed.ts";
import type { Decided } from "./transactions.ts";
import type { NewViolation } from "./violations.ts";

const STATE = `r.peer_id, r.penalty, r.penalty_at, r.proven, b.peer_id IS NOT NULL AS banned`;

const PENALISED = `SELECT peer_id FROM node_reputation WHERE penalty > 0`;

// Votes that were recorded later than the decision don't count, in the same batch or another.
const GOOD_VOTES = `
  SELECT v.peer_id, d.revision
  FROM unnest($1::text[], $2::numeric[], $3::bigint[]) AS d (tx_id, value, revision)
  JOIN vote_history v
    ON v.tx_id = d.tx_id AND v.value = d.value AND v.revision <= d.revision
  WHERE v.peer_id = ANY($4::text[])`;

const LOCK_STATES = `
  SELECT ${STATE} FROM node_reputation r LEFT JOIN banned_peers b ON b.peer_id = r.peer_id
  WHERE r.peer_id = ANY($1::text[]) ORDER BY r.peer_id FOR UPDATE OF r`;

const WRITE_STATES = `
  INSERT INTO node_reputation AS r
    (peer_id, node_id, reputation_score, penalty, penalty_at, proven, violations_count, last_seen)
  SELECT * FROM unnest(
    $1::text[], $2::text[], $3::float8[], $4::float8[], $5::timestamptz[], $6::boolean[],
    $7::integer[], $8::timestamptz[])
  ON CONFLICT (peer_id) DO UPDATE SET
    node_id = COALESCE(excluded.node_id, r.node_id),
    reputation_score = excluded.reputation_score,
    penalty = excluded.penalty, penalty_at = excluded.penalty_at, proven = excluded.proven,
    violations_count = r.violations_count + excluded.violations_count,
    last_seen = CASE WHEN r.total_votes = 0 THEN LEAST(r.last_seen, excluded.last_seen)
      ELSE r.last_seen END`;

const READ = `
  SELECT ${STATE}, r.node_id, r.total_votes, r.violations_count, r.last_seen
  FROM node_reputation r LEFT JOIN banned_peers b ON b.peer_id = r.peer_id
  ORDER BY r.reputation_score, r.peer_id LIMIT $1`;

/** What a batch brought that was not there before, bans and lifts already in `banned_peers`. */
export interface News {
  readonly violations: readonly NewViolation[];
  readonly lifts: readonly NewLift[];
  /** Whose ban is new or has ended. */
  readonly bans: readonly Noticed[];
  readonly decided: readonly Decided[];
}

/** All that is new of one peer. */
interface Dossier {
  nodeId: NodeId | null;
  noticedAtMs: number;
  violations: number;
  readonly steps: { readonly revision: bigint; readonly event: ReputationEvent }[];
}

/**
 * Folds news into the scores with core's rules, peer by peer in order of revision, and within
 * one revision violations before lifts before good conduct, so that it is the same however changes
 * are cut into batches.
 */
export async function foldReputations(tx: Queries, news: News): Promise<void> {
  const dossiers = dossiersOf(news);
  await addGoodConduct(tx, news.decided, dossiers);
  if (dossiers.size === 0) return;
  const peerIds = [...dossiers.keys()].sort();
  const stored = await tx.query("locking reputations", LOCK_STATES, [peerIds]);
  const states = new Map(stored.map((row) => [peerIdOf(row, "peer_id"), stateOf(row)]));
  const banned = new Set(await bannedAmong(tx, peerIds));
  const written = peerIds.map((peerId) => {
    const dossier = dossiers.get(peerId) ?? freshDossier(0);
    const folded = dossier.steps
      // Stable: within a revision the order in which they were put in.
      .toSorted((a, b) => (a.revision < b.revision ? -1 : a.revision > b.revision ? 1 : 0))
      .reduce((state, { event }) => reputationAfter(state, event), states.get(peerId) ?? SPOTLESS);
    return { peerId, dossier, state: { ...folded, banned: banned.has(peerId) } };
  });
  await tx.query("recording reputations", WRITE_STATES, [
    peerIds,
    written.map(({ dossier }) => dossier.nodeId),
    written.map(({ state }) => scoreAt(state, state.penaltyAtMs)),
    written.map(({ state }) => state.penalty),
    written.map(({ state }) => timeParameter(state.penaltyAtMs)),
    written.map(({ state }) => state.proven),
    written.map(({ dossier }) => dossier.violations),
    written.map(({ dossier }) => timeParameter(dossier.noticedAtMs)),
  ]);
}

function freshDossier(noticedAtMs: number): Dossier {
  return { nodeId: null, noticedAtMs, violations: 0, steps: [] };
}

function dossiersOf({ violations, lifts, bans }: News): Map<PeerId, Dossier> {
  const dossiers = new Map<PeerId, Dossier>();
  const open = ({ peerId, nodeId, noticedAtMs }: Noticed): Dossier => {
    const dossier = dossiers.get(peerId) ?? freshDossier(noticedAtMs);
    dossier.nodeId ??= nodeId;
    dossier.noticedAtMs = Math.min(dossier.noticedAtMs, noticedAtMs);
    dossiers.set(peerId, dossier);
    return dossier;
  };
  for (const violation of violations) {
    const dossier = open(violation);
    if (!violation.borneOut) continue;
    const { revision, type, noticedAtMs: atMs } = violation;
    dossier.violations += 1;
    dossier.steps.push({ revision, event: { kind: "violation", type, atMs } });
  }
  // A ban's only effect on a score is that the ban is there, which banned_peers tells.
  for (const ban of bans) open(ban);
  for (const lift of lifts) {
    const { revision, liftKind, noticedAtMs: atMs } = lift;
    open(lift).steps.push({ revision, event: { kind: "lift", liftKind, atMs } });
  }
  return dossiers;
}

/** Only peers that have something to be forgiven are looked up: mostly none. */
async function addGoodConduct(
  tx: Queries,
  decided: readonly Decided[],
  dossiers: Map<PeerId, Dossier>,
): Promise<void> {
  if (decided.length === 0) return;
  const penalised = await tx.query("looking for penalties", PENALISED);
  const peerIds = new Set([
    ...penalised.map((row) => peerIdOf(row, "peer_id")),
    ...[...dossiers].filter(([, { steps }]) => steps.length > 0).map(([peerId]) => peerId),
  ]);
  if (peerIds.size === 0) return;
  const votes = await tx.query("looking up good conduct", GOOD_VOTES, [
    decided.map(({ txId }) => txId),
    decided.map(({ value }) => value),
    decided.map(({ revision }) => revision),
    [...peerIds],
  ]);
  for (const row of votes) {
    const peerId = peerIdOf(row, "peer_id");
    const dossier = dossiers.get(peerId) ?? freshDossier(0);
    dossiers.set(peerId, dossier);
    const revision = bigintOf(row, "revision");
    dossier.steps.push({ revision, event: { kind: "good-conduct" } });
  }
}

const BANNED_AMONG = `SELECT peer_id FROM banned_peers WHERE peer_id = ANY($1::text[])`;

async function bannedAmong(tx: Queries, peerIds: readonly PeerId[]): Promise<readonly PeerId[]> {
  const rows = await tx.query("reading who is banned", BANNED_AMONG, [peerIds]);
  return rows.map((row) => peerIdOf(row, "peer_id"));
}

/** By peer id. */
export async function readReputations(queries: Queries): Promise<readonly ReputationRow[]> {
  const rows = await queries.query("reading reputations", READ, [LIMITS.reputationsMax]);
  return rows
    .map((row) => ({
      peerId: peerIdOf(row, "peer_id"),
      nodeId: nodeIdOrNull(row, "node_id"),
      state: stateOf(row),
      totalVotes: numberOf(row, "total_votes"),
      violationsCount: numberOf(row, "violations_count"),
      lastSeenMs: timeMsOf(row, "last_seen"),
    }))
    .sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
}

function stateOf(row: Row): ReputationState {
  return {
    penalty: numberOf(row, "penalty"),
    penaltyAtMs: timeMsOf(row, "penalty_at"),
    proven: booleanOf(row, "proven"),
    banned: booleanOf(row, "banned"),
  };
}

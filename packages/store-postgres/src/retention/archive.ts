import type { RetentionStore } from "@quorate/ports";

import { bigintOf, numberOf } from "../row.ts";
import type { Queries } from "../session.ts";

const SUBMISSION_COLUMNS = `
  tx_id, seq, key, value, trustee_epoch, decision_revision, state, chain_id, sender, nonce,
  batch_index, tries, queued_at, finalized_at, finalized_block, finalized_tx, confirmed_at, reason`;

// One statement, and so one transaction: a row is in one of the two tables, always.
const ARCHIVE_SUBMISSIONS = `
  WITH old AS (
    SELECT tx_id FROM submission
    WHERE confirmed_at IS NOT NULL AND confirmed_at < now() - make_interval(secs => $1) AND state = 'FINALIZED'
    ORDER BY confirmed_at, tx_id LIMIT $2 FOR UPDATE SKIP LOCKED
  ), moved AS (
    DELETE FROM submission s USING old WHERE s.tx_id = old.tx_id RETURNING s.*
  ), archived AS (
    INSERT INTO submission_archive (${SUBMISSION_COLUMNS})
    SELECT ${SUBMISSION_COLUMNS} FROM moved RETURNING 1
  )
  SELECT count(*)::integer AS count FROM archived`;

const VOTE_COLUMNS = `
  tx_id, node_id, peer_id, epoch, value, signature, proof, issued_at, revision, received_at`;

const OLD_VOTES = `
  old AS (
    SELECT tx_id, node_id FROM vote_history WHERE received_at < now() - make_interval(secs => $1)
    ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM vote_history v USING old
    WHERE v.tx_id = old.tx_id AND v.node_id = old.node_id RETURNING v.*
  )`;
const DELETE_VOTES = `WITH ${OLD_VOTES} SELECT count(*)::integer AS count FROM gone`;
const ARCHIVE_VOTES = `
  WITH ${OLD_VOTES}, archived AS (
    INSERT INTO vote_history_archive (${VOTE_COLUMNS})
    SELECT ${VOTE_COLUMNS} FROM gone RETURNING 1
  )
  SELECT count(*)::integer AS count FROM archived`;

// Counting reads the whole table; beyond this what autovacuum last found is near enough for a gauge.
const EXACT_MAX = 200_000n;
const ESTIMATE = `
  SELECT reltuples::bigint AS rows FROM pg_class
  WHERE oid = format('%I.%I', current_schema(), $1::text)::regclass`;
const COUNTS = {
  submission: `SELECT count(*) AS rows FROM submission`,
  submission_archive: `SELECT count(*) AS rows FROM submission_archive`,
} as const;

/** See `RetentionStore.archiveSubmissions`. */
export async function archiveSubmissions(
  queries: Queries,
  { confirmedForMs, limit }: Parameters<RetentionStore["archiveSubmissions"]>[0],
): Promise<number> {
  const values = [confirmedForMs / 1_000, limit];
  const [row = {}] = await queries.query("archiving submissions", ARCHIVE_SUBMISSIONS, values);
  return numberOf(row, "count");
}

/** See `RetentionStore.retireVotes`. */
export async function retireVotes(
  queries: Queries,
  { recordedForMs, limit, to }: Parameters<RetentionStore["retireVotes"]>[0],
): Promise<number> {
  const text = to === "archive" ? ARCHIVE_VOTES : DELETE_VOTES;
  const values = [recordedForMs / 1_000, limit];
  const [row = {}] = await queries.query("retiring votes", text, values);
  return numberOf(row, "count");
}

/** Exact while they are few. */
export async function countSubmissions(
  queries: Queries,
): Promise<{ readonly active: number; readonly archived: number }> {
  return {
    active: await countOf(queries, "submission"),
    archived: await countOf(queries, "submission_archive"),
  };
}

async function countOf(queries: Queries, table: keyof typeof COUNTS): Promise<number> {
  const [estimate = {}] = await queries.query("estimating submissions", ESTIMATE, [table]);
  const rows = bigintOf(estimate, "rows");
  if (rows > EXACT_MAX) return Number(rows);
  const [exact = {}] = await queries.query("counting submissions", COUNTS[table]);
  return Number(bigintOf(exact, "rows"));
}

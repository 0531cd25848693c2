import type { TxId } from "@quorate/core";
import type { PurgeablePage, PurgeLevel, RetentionStore } from "@quorate/ports";
import { StoreError } from "@quorate/ports";

import { textOf, txIdOf } from "../row.ts";
import type { Queries } from "../session.ts";

// Only what can't be submitted any more: an abort that has no submission under way, and
// a confirmation that the submission itself, active or archived, and the tombstone bear out.
const purgeableBy = (due: string): string => `
  SELECT t.tx_id, t.settled_at::text AS settled_at FROM transaction_history t
  WHERE t.${due} IS NULL AND t.settled_at IS NOT NULL AND t.settled_at < now() - make_interval(secs => $1)
    AND ($2::timestamptz IS NULL OR (t.settled_at, t.tx_id) > ($2::timestamptz, $3::text))
    AND CASE t.status
      WHEN 'ABORTED_BYZANTINE' THEN
        NOT EXISTS (SELECT 1 FROM submission s WHERE s.tx_id = t.tx_id AND s.state <> 'ABORTED')
        AND NOT EXISTS (SELECT 1 FROM submission_archive a WHERE a.tx_id = t.tx_id)
      WHEN 'CONFIRMED' THEN
        EXISTS (SELECT 1 FROM tombstone b WHERE b.tx_id = t.tx_id)
        AND (EXISTS (SELECT 1 FROM submission s
            WHERE s.tx_id = t.tx_id AND s.state = 'FINALIZED' AND s.confirmed_at IS NOT NULL)
          OR EXISTS (SELECT 1 FROM submission_archive a WHERE a.tx_id = t.tx_id))
      ELSE false
    END
  ORDER BY t.settled_at, t.tx_id LIMIT $4`;

const PURGEABLE: Readonly<Record<PurgeLevel, string>> = {
  votes: purgeableBy("votes_purged_at"),
  all: purgeableBy("purged_at"),
};

const NOTE_PURGED = `
  UPDATE transaction_history SET
    votes_purged_at = COALESCE(votes_purged_at, now()),
    purged_at = CASE WHEN $2 THEN COALESCE(purged_at, now()) ELSE purged_at END
  WHERE tx_id = ANY ($1::text[]) AND settled_at IS NOT NULL
    AND (votes_purged_at IS NULL OR ($2 AND purged_at IS NULL))`;

/** See `RetentionStore.purgeable`. */
export async function readPurgeable(
  queries: Queries,
  query: Parameters<RetentionStore["purgeable"]>[0],
): Promise<PurgeablePage> {
  const { level, settledForMs, after, limit } = query;
  const [settledAt = null, txId = null] = after === null ? [] : placeOf(after);
  const rows = await queries.query("listing what may be purged", PURGEABLE[level], [
    settledForMs / 1_000,
    settledAt,
    txId,
    limit + 1,
  ]);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    txIds: page.map((row) => txIdOf(row, "tx_id")),
    next:
      rows.length > limit && last !== undefined
        ? `${textOf(last, "settled_at")}|${textOf(last, "tx_id")}`
        : null,
  };
}

function placeOf(after: string): readonly [settledAt: string, txId: string] {
  const bar = after.indexOf("|");
  if (bar > 0) return [after.slice(0, bar), after.slice(bar + 1)];
  throw new StoreError("REFUSED", "unknown place to continue the list at", { retryable: false });
}

export async function notePurged(
  queries: Queries,
  txIds: readonly TxId[],
  level: PurgeLevel,
): Promise<void> {
  if (txIds.length === 0) return;
  // In the order of ids: the projector locks them in that order too.
  await queries.query("noting what is purged", NOTE_PURGED, [[...txIds].sort(), level === "all"]);
}

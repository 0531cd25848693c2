import { DIFFERS_REASON, mayThawItself, type TxId } from "@quorate/core";
import type { AbortOptions, ReleaseOutcome, Sender } from "@quorate/ports";
import type { Pool } from "pg";

import { booleanOf, type Row, textOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";
import { accountOf } from "./lease.ts";

// Under the sender's lock: what a leader committed before has its nonce, and none comes after.
const LOCK_FROZEN = `
  SELECT frozen, frozen_reason, history_differs FROM sender
  WHERE chain_id = $1 AND address = $2 FOR UPDATE`;

const HISTORY_UNCHECKED = `
  UPDATE sender SET history_checked = false WHERE chain_id = $1 AND address = $2`;

const FREEZE = `
  UPDATE sender SET frozen = true, frozen_reason = $3, frozen_at = now()
  WHERE chain_id = $1 AND address = $2`;

const THAW = `
  UPDATE sender SET frozen = false, frozen_reason = NULL, frozen_at = NULL, history_differs = false
  WHERE chain_id = $1 AND address = $2`;

const LOCK_FOR_RELEASE = `
  SELECT s.state, slot_is_live(l.state) AS slot_live
  FROM submission s LEFT JOIN slot l
    ON l.chain_id = s.chain_id AND l.sender = s.sender AND l.nonce = s.nonce
  WHERE s.tx_id = $1 FOR UPDATE OF s`;

const IS_ARCHIVED = `SELECT 1 FROM submission_archive WHERE tx_id = $1`;

const RELEASE = `
  UPDATE submission
  SET state = 'QUEUED', reason = NULL, sender = NULL, nonce = NULL, batch_index = NULL
  WHERE tx_id = $1`;

const LOG = `INSERT INTO operator_log (action, subject, by, reason) VALUES ($1, $2, $3, $4)`;

export async function freeze(
  pool: Pool,
  sender: Sender,
  reason: string,
  options: AbortOptions,
): Promise<boolean> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const row = await lockFrozen(tx, sender);
      if (row === undefined) return false;
      if (mayThawItself(reason)) {
        await tx.query("asking for a check", HISTORY_UNCHECKED, accountOf(sender));
      }
      if (booleanOf(row, "frozen")) {
        // The reason stays, but for one that needs a person in place of one that does not.
        if (!mayThawItself(textOf(row, "frozen_reason")) || mayThawItself(reason)) return true;
      }
      await tx.query("freezing the sender", FREEZE, [...accountOf(sender), reason]);
      await log(tx, "FREEZE", subjectOf(sender), null, reason);
      return true;
    }),
  );
}

export async function thaw(
  pool: Pool,
  sender: Sender,
  by: string,
  options: AbortOptions & { readonly onlyIf?: string },
): Promise<boolean> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const row = await lockFrozen(tx, sender);
      if (row === undefined) return false;
      const reason = booleanOf(row, "frozen") ? textOf(row, "frozen_reason") : null;
      const differs = booleanOf(row, "history_differs");
      const { onlyIf } = options;
      // Only a person accepts what differed, and may do so before anybody froze for it.
      if (onlyIf !== undefined && (differs || onlyIf !== reason)) return true;
      if (reason === null && !differs) return true;
      await tx.query("thawing the sender", THAW, accountOf(sender));
      const ended = reason ?? `${DIFFERS_REASON}not frozen for it yet`;
      await log(tx, "THAW", subjectOf(sender), by, ended);
      return true;
    }),
  );
}

async function lockFrozen(tx: Queries, sender: Sender): Promise<Row | undefined> {
  return (await tx.query("locking the sender", LOCK_FROZEN, accountOf(sender)))[0];
}

export async function release(
  pool: Pool,
  txId: TxId,
  by: string,
  reason: string,
  options: AbortOptions,
): Promise<ReleaseOutcome> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const [row] = await tx.query("locking a submission", LOCK_FOR_RELEASE, [txId]);
      if (row === undefined) {
        const archived = await tx.query("looking into the archive", IS_ARCHIVED, [txId]);
        return archived.length > 0 ? "not-quarantined" : "unknown";
      }
      if (textOf(row, "state") !== "QUARANTINED") return "not-quarantined";
      // NULL when it never had a nonce. One that becomes final just now is seen at the next call.
      if (row["slot_live"] === true) return "slot-live";
      await tx.query("releasing a submission", RELEASE, [txId]);
      await log(tx, "RELEASE", txId, by, reason);
      return "released";
    }),
  );
}

async function log(
  tx: Queries,
  action: "RELEASE" | "THAW" | "FREEZE",
  subject: string,
  by: string | null,
  reason: string,
): Promise<void> {
  await tx.query("writing the operator's log", LOG, [action, subject, by, reason]);
}

function subjectOf({ chainId, address }: Sender): string {
  return `${chainId}/${address}`;
}

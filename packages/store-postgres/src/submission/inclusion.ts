import { isLiveSlot } from "@quorate/core";
import type {
  AbortOptions,
  FencedOutcome,
  Hex,
  SenderLease,
  SubmissionStore,
} from "@quorate/ports";
import type { Pool } from "pg";

import { bytesOfHex, hexOf, hexOrNull, type Row } from "../row.ts";
import type { Queries } from "../session.ts";
import { accountOf, fenced } from "./lease.ts";
import { refused } from "./refused.ts";
import { attemptKindOf, slotStateOf } from "./slots.ts";

type Inclusion = Parameters<SubmissionStore["markIncluded"]>[2];

const LOCK_SLOT = `
  SELECT state, receipt_hash, payload FROM slot
  WHERE chain_id = $1 AND sender = $2 AND nonce = $3
  FOR UPDATE`;

const SLOT_ATTEMPTS = `
  SELECT hash, kind FROM attempt WHERE chain_id = $1 AND sender = $2 AND nonce = $3`;

const INCLUDE_SLOT = `
  UPDATE slot
  SET state = 'INCLUDED', receipt_hash = $4, block_number = $5, block_hash = $6,
    receipt_status = $7, epoch = $8, reason = 'receipt in a canonical block'
  WHERE chain_id = $1 AND sender = $2 AND nonce = $3
    AND (state, receipt_hash, block_hash) IS DISTINCT FROM ('INCLUDED', $4::bytea, $6::bytea)`;

const REORG_SLOT = `
  UPDATE slot
  SET state = 'SIGNED', receipt_hash = NULL, block_number = NULL, block_hash = NULL,
    receipt_status = NULL, epoch = $4, reason = $5
  WHERE chain_id = $1 AND sender = $2 AND nonce = $3`;

// In the order of ids, as every statement that locks several of them.
const MOVE_SUBMISSIONS = `
  WITH moving AS (
    SELECT tx_id FROM submission
    WHERE chain_id = $1 AND sender = $2 AND nonce = $3 AND state = $4
    ORDER BY tx_id FOR UPDATE
  )
  UPDATE submission s SET state = $5 FROM moving WHERE s.tx_id = moving.tx_id`;

/** Locks one slot inside the caller's transaction. A nonce without one is the caller's bug. */
export async function lockSlot(tx: Queries, lease: SenderLease, nonce: bigint): Promise<Row> {
  const [row] = await tx.query("locking the slot", LOCK_SLOT, slotKey(lease, nonce));
  if (row === undefined) throw refused(`nonce ${nonce} has no slot`);
  return row;
}

/** The first three parameters of every statement that names a slot. */
export function slotKey(lease: SenderLease, nonce: bigint): readonly unknown[] {
  return [...accountOf(lease), nonce];
}

export async function markIncluded(
  pool: Pool,
  lease: SenderLease,
  nonce: bigint,
  inclusion: Inclusion,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    const slot = await lockSlot(tx, lease, nonce);
    const state = slotStateOf(slot, "state");
    if (!isLiveSlot(state)) {
      // Repeated after finality: the same transaction is no news, another one cannot be.
      if (hexOrNull(slot, "receipt_hash") === inclusion.hash) return;
      throw refused(`slot ${nonce} is ${state} and cannot be included by ${inclusion.hash}`);
    }
    const records = (await carriesBatch(tx, lease, nonce, inclusion.hash)) && isSuccess(inclusion);
    await tx.query("marking the slot included", INCLUDE_SLOT, [
      ...slotKey(lease, nonce),
      bytesOfHex(inclusion.hash),
      inclusion.blockNumber,
      bytesOfHex(inclusion.blockHash),
      inclusion.status,
      lease.leaderEpoch,
    ]);
    // A reverted or cancelling transaction takes the nonce but records nothing; its
    // items wait, ASSIGNED, until that is final.
    const [from, to] = records ? ["ASSIGNED", "INCLUDED"] : ["INCLUDED", "ASSIGNED"];
    await tx.query("moving submissions", MOVE_SUBMISSIONS, [...slotKey(lease, nonce), from, to]);
  });
}

function isSuccess({ status }: Inclusion): boolean {
  return status === "success";
}

/** Whether the mined attempt carries the batch, and not a cancel or gap-filler. */
async function carriesBatch(
  tx: Queries,
  lease: SenderLease,
  nonce: bigint,
  hash: Hex,
): Promise<boolean> {
  const attempts = await tx.query("reading attempts", SLOT_ATTEMPTS, slotKey(lease, nonce));
  const mined = attempts.find((row) => hexOf(row, "hash") === hash);
  if (mined === undefined) throw refused(`transaction ${hash} is no attempt of nonce ${nonce}`);
  const kind = attemptKindOf(mined, "kind");
  return kind === "ORIGINAL" || kind === "BUMP";
}

export async function markReorged(
  pool: Pool,
  lease: SenderLease,
  nonce: bigint,
  reason: string,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    const state = slotStateOf(await lockSlot(tx, lease, nonce), "state");
    if (state === "SIGNED" || state === "RESERVED") return;
    if (state !== "INCLUDED") throw refused(`slot ${nonce} is ${state}, which no reorg undoes`);
    const key = slotKey(lease, nonce);
    await tx.query("marking the slot reorged", REORG_SLOT, [...key, lease.leaderEpoch, reason]);
    await tx.query("moving submissions", MOVE_SUBMISSIONS, [...key, "INCLUDED", "ASSIGNED"]);
  });
}

import { isLiveSlot, type SubmissionState, type TxId } from "@quorate/core";
import type {
  AbortOptions,
  FencedOutcome,
  FinalizedItem,
  SenderLease,
  SubmissionStore,
} from "@quorate/ports";
import type { Pool } from "pg";

import { bytesOfHex, txIdOf } from "../row.ts";
import type { Queries } from "../session.ts";
import { lockSlot, slotKey } from "./inclusion.ts";
import { fenced } from "./lease.ts";
import { refused } from "./refused.ts";
import { slotStateOf } from "./slots.ts";
import { recordItemsOf, submissionStateOf } from "./submission-row.ts";

type Final = Parameters<SubmissionStore["markFinalized"]>[2];

const FINALIZE_SLOT = `
  UPDATE slot
  SET state = $4, block_number = COALESCE($5, block_number), epoch = $6, reason = 'final'
  WHERE chain_id = $1 AND sender = $2 AND nonce = $3`;

const LOCK_SLOT_SUBMISSIONS = `
  SELECT tx_id, state FROM submission
  WHERE chain_id = $1 AND sender = $2 AND nonce = $3
  ORDER BY tx_id FOR UPDATE`;

const FINALIZE_SUBMISSIONS = `
  UPDATE submission s
  SET state = 'FINALIZED', finalized_at = now(), finalized_block = $3, finalized_tx = item.hash
  FROM unnest($1::text[], $2::bytea[]) AS item (tx_id, hash)
  WHERE s.tx_id = item.tx_id`;

const BACK_TO_ASSIGNED = `
  UPDATE submission SET state = 'ASSIGNED'
  WHERE tx_id = ANY ($1::text[]) AND state = 'INCLUDED'`;

// seq stays: who waited longest is first again.
const REQUEUE = `
  UPDATE submission
  SET state = 'QUEUED', sender = NULL, nonce = NULL, batch_index = NULL, tries = tries + 1
  WHERE tx_id = ANY ($1::text[]) AND state = 'ASSIGNED'`;

// Before the others are queued again: what it leaves ASSIGNED may be.
const QUARANTINE_EXHAUSTED = `
  UPDATE submission
  SET state = 'QUARANTINED', reason = $3 || ', after ' || tries || ' earlier tries'
  WHERE tx_id = ANY ($1::text[]) AND tries >= $2`;

const QUARANTINE = `
  UPDATE submission SET state = 'QUARANTINED', reason = $2
  WHERE tx_id = ANY ($1::text[])`;

const LOCK_SUBMISSION = `SELECT state FROM submission WHERE tx_id = $1 FOR UPDATE`;

export async function markFinalized(
  pool: Pool,
  lease: SenderLease,
  nonce: bigint,
  final: Final,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    const slot = await lockSlot(tx, lease, nonce);
    const state = slotStateOf(slot, "state");
    // Slot and items moved in one transaction, so a slot that is final needs nothing more.
    if (state === final.state) return;
    if (!isLiveSlot(state)) {
      throw refused(`slot ${nonce} is ${state} and cannot become ${final.state}`);
    }
    if (state === "RESERVED" && final.state !== "FINALIZED_FOREIGN") {
      throw refused(`slot ${nonce} was never signed and cannot become ${final.state}`);
    }
    const batch = new Set(recordItemsOf(slot, "payload").map(({ txId }) => txId));
    const moving = await settle(tx, lease, nonce, final.items, batch);
    await tx.query("finalizing the slot", FINALIZE_SLOT, [
      ...slotKey(lease, nonce),
      final.state,
      final.blockNumber,
      lease.leaderEpoch,
    ]);
    await finalizeItems(tx, moving, final.blockNumber);
    const became = `nonce ${nonce} became ${final.state}`;
    await quarantineExhausted(tx, moving, final.requeuesMax, `${became} without recording it`);
    await requeueItems(tx, moving);
    await quarantineItems(tx, moving, `found when ${became}`);
  });
}

/**
 * The items that are to move. One that was settled or quarantined meanwhile stays
 * as it is; one of the slot that `items` forgets would wait for ever, so that is refused.
 */
async function settle(
  tx: Queries,
  lease: SenderLease,
  nonce: bigint,
  items: readonly FinalizedItem[],
  batch: ReadonlySet<TxId>,
): Promise<readonly FinalizedItem[]> {
  const outcomes = new Map(items.map((item) => [item.txId, item]));
  for (const txId of outcomes.keys()) {
    if (!batch.has(txId)) throw refused(`submission ${txId} is not in the batch of nonce ${nonce}`);
  }
  const rows = await tx.query("locking submissions", LOCK_SLOT_SUBMISSIONS, slotKey(lease, nonce));
  return rows
    .filter((row) => isOpen(submissionStateOf(row, "state")))
    .map((row) => {
      const txId = txIdOf(row, "tx_id");
      const outcome = outcomes.get(txId);
      if (outcome === undefined) throw refused(`nothing is said of ${txId} in nonce ${nonce}`);
      return outcome;
    });
}

function isOpen(state: SubmissionState): boolean {
  return state === "QUEUED" || state === "ASSIGNED" || state === "INCLUDED";
}

async function finalizeItems(
  tx: Queries,
  items: readonly FinalizedItem[],
  blockNumber: bigint | null,
): Promise<void> {
  const finalized = items.filter(({ outcome }) => outcome === "finalized");
  if (finalized.length === 0) return;
  await tx.query("finalizing submissions", FINALIZE_SUBMISSIONS, [
    finalized.map(({ txId }) => txId),
    finalized.map(({ txHash }) => (txHash === null ? null : bytesOfHex(txHash))),
    blockNumber,
  ]);
}

/** What was queued again that often will not be helped by another nonce. */
async function quarantineExhausted(
  tx: Queries,
  items: readonly FinalizedItem[],
  requeuesMax: number,
  reason: string,
): Promise<void> {
  const ids = idsOf(items, "requeue");
  if (ids.length === 0) return;
  await tx.query("giving up on submissions", QUARANTINE_EXHAUSTED, [ids, requeuesMax, reason]);
}

function idsOf(items: readonly FinalizedItem[], wanted: FinalizedItem["outcome"]): readonly TxId[] {
  return items.filter(({ outcome }) => outcome === wanted).map(({ txId }) => txId);
}

async function requeueItems(tx: Queries, items: readonly FinalizedItem[]): Promise<void> {
  const ids = idsOf(items, "requeue");
  if (ids.length === 0) return;
  // The state machine has no way from INCLUDED to QUEUED but through ASSIGNED.
  await tx.query("taking back an inclusion", BACK_TO_ASSIGNED, [ids]);
  await tx.query("queueing again", REQUEUE, [ids]);
}

async function quarantineItems(
  tx: Queries,
  items: readonly FinalizedItem[],
  reason: string,
): Promise<void> {
  const ids = idsOf(items, "quarantine");
  if (ids.length === 0) return;
  await tx.query("quarantining", QUARANTINE, [ids, reason]);
}

export async function markAlreadyRecorded(
  pool: Pool,
  lease: SenderLease,
  txId: TxId,
  blockNumber: bigint,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    const state = await lockSubmission(tx, txId);
    if (state === "FINALIZED") return;
    if (!isOpen(state)) throw refused(`submission ${txId} is ${state}`);
    const item = { txId, outcome: "finalized", txHash: null } as const;
    await finalizeItems(tx, [item], blockNumber);
  });
}

export async function quarantine(
  pool: Pool,
  lease: SenderLease,
  txId: TxId,
  reason: string,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    const state = await lockSubmission(tx, txId);
    if (state === "QUARANTINED") return;
    if (!isOpen(state)) throw refused(`submission ${txId} is ${state}`);
    await quarantineItems(tx, [{ txId, outcome: "quarantine", txHash: null }], reason);
  });
}

async function lockSubmission(tx: Queries, txId: TxId): Promise<SubmissionState> {
  const [row] = await tx.query("locking a submission", LOCK_SUBMISSION, [txId]);
  if (row === undefined) throw refused(`there is no submission ${txId}`);
  return submissionStateOf(row, "state");
}

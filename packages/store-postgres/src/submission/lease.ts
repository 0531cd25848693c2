import type { AbortOptions, FencedOutcome, Sender, SenderLease, SenderState } from "@quorate/ports";
import type { Pool } from "pg";

import { bigintOf, bigintOrNull, booleanOf, bytesOfHex, textOf, timeMsOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";

/** The sender row as locked by the current transaction. */
export interface LockedSender {
  readonly nextNonce: bigint;
  /** Also before its history is checked: either way no nonce is taken. */
  readonly frozen: boolean;
}

// GREATEST: the floor raises the nonce and never lowers it. Waits for a transaction
// of the leader before, so what that one committed is there to be seen.
const BECOME_LEADER = `
  INSERT INTO sender (chain_id, address, epoch, next_nonce) VALUES ($1, $2, 1, $3)
  ON CONFLICT (chain_id, address) DO UPDATE
    SET epoch = sender.epoch + 1, next_nonce = GREATEST(sender.next_nonce, excluded.next_nonce)
  RETURNING epoch`;

const IS_LEADER = `SELECT 1 FROM sender WHERE chain_id = $1 AND address = $2 AND epoch = $3`;

const LOCK_SENDER = `
  SELECT next_nonce, frozen OR NOT history_checked AS frozen FROM sender
  WHERE chain_id = $1 AND address = $2 AND epoch = $3
  FOR UPDATE`;

// Not conditional on the lease: the row is locked under it.
const RAISE_FLOOR = `
  UPDATE sender SET next_nonce = GREATEST(next_nonce, $3::numeric)
  WHERE chain_id = $1 AND address = $2`;

const HISTORY_CHECKED = `
  UPDATE sender SET history_checked = true WHERE chain_id = $1 AND address = $2`;

const SENDER_STATE = `
  SELECT epoch, next_nonce, frozen, frozen_reason, frozen_at, imported_through_block,
    history_checked, history_differs
  FROM sender WHERE chain_id = $1 AND address = $2`;

export async function becomeLeader(
  pool: Pool,
  sender: Sender,
  nextNonceFloor: bigint,
  options: AbortOptions,
): Promise<SenderLease> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const [row = {}] = await tx.query("becoming leader", BECOME_LEADER, [
        ...accountOf(sender),
        nextNonceFloor,
      ]);
      const { chainId, address } = sender;
      return { chainId, address, leaderEpoch: bigintOf(row, "epoch") };
    }),
  );
}

export async function isLeader(
  pool: Pool,
  lease: SenderLease,
  options: AbortOptions,
): Promise<boolean> {
  return withSession(pool, options, async (session) => {
    const rows = await session.query("checking the lease", IS_LEADER, leaseParameters(lease));
    return rows.length > 0;
  });
}

export async function raiseFloor(
  pool: Pool,
  lease: SenderLease,
  floor: bigint,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    await tx.query("raising the floor", RAISE_FLOOR, [...accountOf(lease), floor]);
  });
}

export async function markHistoryChecked(
  pool: Pool,
  lease: SenderLease,
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx) => {
    await tx.query("noting the checked history", HISTORY_CHECKED, accountOf(lease));
  });
}

export async function senderState(
  pool: Pool,
  sender: Sender,
  options: AbortOptions,
): Promise<SenderState | null> {
  return withSession(pool, options, async (session) => {
    const [row] = await session.query("reading the sender", SENDER_STATE, accountOf(sender));
    if (row === undefined) return null;
    return {
      chainId: sender.chainId,
      address: sender.address,
      leaderEpoch: bigintOf(row, "epoch"),
      nextNonce: bigintOf(row, "next_nonce"),
      frozen: booleanOf(row, "frozen")
        ? { reason: textOf(row, "frozen_reason"), sinceMs: timeMsOf(row, "frozen_at") }
        : null,
      importedThroughBlock: bigintOrNull(row, "imported_through_block"),
      historyChecked: booleanOf(row, "history_checked"),
      historyDiffers: booleanOf(row, "history_differs"),
    };
  });
}

/**
 * Locks the sender for the rest of the transaction, if the lease still holds.
 * @returns null for a deposed leader. Every write that moves a nonce begins here.
 */
export async function lockSender(tx: Queries, lease: SenderLease): Promise<LockedSender | null> {
  const [row] = await tx.query("locking the sender", LOCK_SENDER, leaseParameters(lease));
  if (row === undefined) return null;
  return { nextNonce: bigintOf(row, "next_nonce"), frozen: booleanOf(row, "frozen") };
}

/** Runs `body` in one transaction under the sender's lock; a deposed leader gets "fenced" and it does not run. */
export async function underLease<T>(
  pool: Pool,
  lease: SenderLease,
  options: AbortOptions,
  body: (tx: Queries, sender: LockedSender) => Promise<T>,
): Promise<T | "fenced"> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const sender = await lockSender(tx, lease);
      return sender === null ? "fenced" : body(tx, sender);
    }),
  );
}

/** The same for what has nothing to tell but that it is done. */
export async function fenced(
  pool: Pool,
  lease: SenderLease,
  options: AbortOptions,
  body: (tx: Queries, sender: LockedSender) => Promise<void>,
): Promise<FencedOutcome> {
  return underLease<FencedOutcome>(pool, lease, options, async (tx, sender) => {
    await body(tx, sender);
    return "done";
  });
}

/** The first two parameters of every statement that names a sender. */
export function accountOf(sender: Sender): readonly unknown[] {
  return [sender.chainId, bytesOfHex(sender.address)];
}

/** The first three parameters of every statement that names a lease. */
function leaseParameters(lease: SenderLease): readonly unknown[] {
  return [...accountOf(lease), lease.leaderEpoch];
}

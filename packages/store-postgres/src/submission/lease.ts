import type { AbortOptions, FencedOutcome, Sender, SenderLease } from "@quorate/ports";
import type { Pool } from "pg";

import { bigintOf, booleanOf, bytesOfHex } from "../row.ts";
import { type Queries, withSession } from "../session.ts";

/** The sender row as locked by the current transaction. */
export interface LockedSender {
  readonly nextNonce: bigint;
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
  SELECT next_nonce, frozen FROM sender
  WHERE chain_id = $1 AND address = $2 AND epoch = $3
  FOR UPDATE`;

const SET_FROZEN = `
  UPDATE sender SET frozen = $3 WHERE chain_id = $1 AND address = $2 RETURNING frozen`;

export async function becomeLeader(
  pool: Pool,
  sender: Sender,
  nextNonceFloor: bigint,
  options: AbortOptions,
): Promise<SenderLease> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const [row = {}] = await tx.query("becoming leader", BECOME_LEADER, [
        sender.chainId,
        bytesOfHex(sender.address),
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
export async function fenced(
  pool: Pool,
  lease: SenderLease,
  options: AbortOptions,
  body: (tx: Queries, sender: LockedSender) => Promise<void>,
): Promise<FencedOutcome> {
  return withSession(pool, options, (session) =>
    session.transaction(async (tx) => {
      const sender = await lockSender(tx, lease);
      if (sender === null) return "fenced";
      await body(tx, sender);
      return "done";
    }),
  );
}

/**
 * Stops or resumes the taking of nonces for a sender; for operators, and for the
 * start after a restored backup. Slots that are live go on to finality. Idempotent.
 * @returns false when there is no such sender.
 */
export async function setSenderFrozen(
  pool: Pool,
  sender: Sender,
  frozen: boolean,
  options: AbortOptions = {},
): Promise<boolean> {
  return withSession(pool, options, async (session) => {
    const parameters = [sender.chainId, bytesOfHex(sender.address), frozen];
    const rows = await session.query("freezing the sender", SET_FROZEN, parameters);
    return rows.length > 0;
  });
}

/** The first three parameters of every statement that names a lease. */
function leaseParameters(lease: SenderLease): readonly unknown[] {
  return [lease.chainId, bytesOfHex(lease.address), lease.leaderEpoch];
}

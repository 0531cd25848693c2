import { assert, equalBytes, LIMITS } from "@quorate/core";
import type {
  AbortOptions,
  RecordItem,
  SenderLease,
  SubmissionStore,
  TakeRefusal,
} from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import type { Pool } from "pg";

import { numberOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";
import { insertAttempt } from "./attempts.ts";
import { accountOf, lockSender } from "./lease.ts";
import { readSlot } from "./slots.ts";
import { payloadOf, recordItemOf } from "./submission-row.ts";

type AssignRequest = Parameters<SubmissionStore["assign"]>[1];
type AssignOutcome = Awaited<ReturnType<SubmissionStore["assign"]>>;
type ReserveRequest = Parameters<SubmissionStore["reserve"]>[1];
type ReserveOutcome = Awaited<ReturnType<SubmissionStore["reserve"]>>;

/** Items locked under the sender's lock, and the nonce they may have. */
interface Claim {
  readonly kind: "claimed";
  readonly nonce: bigint;
  readonly items: readonly RecordItem[];
}

// What is mined waits for finality, which takes minutes; only what waits in the
// endpoints' pools takes one of the few places an account has there.
const COUNT_UNMINED = `
  SELECT count(*) AS unmined FROM slot
  WHERE chain_id = $1 AND sender = $2 AND state IN ('RESERVED', 'SIGNED')`;

// Compared by value too: a decision that changed is never signed as it was. A row
// that somebody else is moving at this moment is left to them.
const CLAIM = `
  SELECT s.tx_id, s.value
  FROM unnest($2::text[], $3::numeric[]) WITH ORDINALITY AS want (tx_id, value, position)
  JOIN submission s ON s.tx_id = want.tx_id AND s.value = want.value
  WHERE s.chain_id = $1 AND s.state = 'QUEUED'
  ORDER BY want.position
  FOR UPDATE OF s SKIP LOCKED`;

const INSERT_SLOT = `
  INSERT INTO slot (chain_id, sender, nonce, state, payload, gas_limit, epoch, reason)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`;

const ASSIGN_SUBMISSIONS = `
  UPDATE submission s
  SET state = 'ASSIGNED', sender = $2, nonce = $3, batch_index = want.position - 1
  FROM unnest($4::text[]) WITH ORDINALITY AS want (tx_id, position)
  WHERE s.tx_id = want.tx_id AND s.chain_id = $1 AND s.state = 'QUEUED'
  RETURNING s.tx_id`;

const TAKE_NONCE = `
  UPDATE sender SET next_nonce = next_nonce + 1
  WHERE chain_id = $1 AND address = $2 AND epoch = $4 AND next_nonce = $3
  RETURNING next_nonce`;

/**
 * The durable step before any send [spec §8.1]. A retry after a lost reply is safe:
 * if the first try was committed, its items are no longer QUEUED and the slot is
 * among the live ones.
 */
export async function assign(
  pool: Pool,
  lease: SenderLease,
  request: AssignRequest,
  options: AbortOptions,
): Promise<AssignOutcome> {
  return withSession(pool, options, async (session) => {
    const done = await session.transaction(async (tx) => {
      const claim = await claimIn(tx, lease, request);
      if (claim.kind !== "claimed") return claim;
      const signed = await request.sign(claim.nonce, claim.items);
      await takeNonce(tx, lease, claim, request.gasLimit, "SIGNED");
      await insertAttempt(tx, lease, claim.nonce, { ...signed, kind: "ORIGINAL" });
      return { kind: "committed", nonce: claim.nonce, raw: signed.raw } as const;
    });
    if (done.kind !== "committed") return done;
    // Only what is read back after the commit may be sent, never what we meant to write.
    const slot = await readSlot(session, lease, done.nonce);
    const stored = slot?.attempts[0]?.raw;
    if (slot === null || stored === undefined || !equalBytes(stored, done.raw)) {
      throw misread(done.nonce);
    }
    return { kind: "assigned", slot };
  });
}

/** The same without a signature, for a signer that no transaction should wait for. Safe to retry as `assign` is. */
export async function reserve(
  pool: Pool,
  lease: SenderLease,
  request: ReserveRequest,
  options: AbortOptions,
): Promise<ReserveOutcome> {
  return withSession(pool, options, async (session) => {
    const claim = await session.transaction(async (tx) => {
      const claimed = await claimIn(tx, lease, request);
      if (claimed.kind === "claimed") {
        await takeNonce(tx, lease, claimed, request.gasLimit, "RESERVED");
      }
      return claimed;
    });
    if (claim.kind !== "claimed") return claim;
    const slot = await readSlot(session, lease, claim.nonce);
    if (slot === null) throw misread(claim.nonce);
    return { kind: "reserved", slot };
  });
}

function misread(nonce: bigint): StoreError {
  return new StoreError("CORRUPT", `slot ${nonce} reads back other than committed`, {
    retryable: false,
  });
}

async function claimIn(
  tx: Queries,
  lease: SenderLease,
  request: ReserveRequest,
): Promise<Claim | TakeRefusal> {
  assert(request.items.length <= LIMITS.chainBatchMax, "a batch has at most chainBatchMax items");
  const sender = await lockSender(tx, lease);
  if (sender === null) return { kind: "fenced" };
  if (sender.frozen) return { kind: "frozen" };
  const [window = {}] = await tx.query("counting unmined slots", COUNT_UNMINED, accountOf(lease));
  if (numberOf(window, "unmined") >= request.windowMax) return { kind: "window-full" };
  const items = await claimQueued(tx, lease, request.items);
  if (items.length === 0) return { kind: "nothing-queued" };
  return { kind: "claimed", nonce: sender.nextNonce, items };
}

async function takeNonce(
  tx: Queries,
  lease: SenderLease,
  { nonce, items }: Claim,
  gasLimit: bigint,
  state: "SIGNED" | "RESERVED",
): Promise<void> {
  const slot = [...accountOf(lease), nonce];
  await tx.query("inserting the slot", INSERT_SLOT, [
    ...slot,
    state,
    payloadOf(items),
    gasLimit,
    lease.leaderEpoch,
    state === "SIGNED" ? "assigned" : "reserved",
  ]);
  const ids = items.map(({ txId }) => txId);
  const assigned = await tx.query("assigning submissions", ASSIGN_SUBMISSIONS, [...slot, ids]);
  assert(assigned.length === items.length, "every claimed row is locked and so still QUEUED");
  const taken = await tx.query("taking the nonce", TAKE_NONCE, [...slot, lease.leaderEpoch]);
  assert(taken.length === 1, "the sender row is locked and so still ours");
}

async function claimQueued(
  tx: Queries,
  lease: SenderLease,
  wanted: readonly RecordItem[],
): Promise<readonly RecordItem[]> {
  // An id named twice would otherwise be joined, and signed, twice.
  const items = [...new Map(wanted.map((item) => [item.txId, item])).values()];
  const rows = await tx.query("claiming submissions", CLAIM, [
    lease.chainId,
    items.map(({ txId }) => txId),
    items.map(({ value }) => value),
  ]);
  return rows.map(recordItemOf);
}

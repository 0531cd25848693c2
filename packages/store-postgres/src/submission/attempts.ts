import { type AttemptKind, equalBytes, isLiveSlot } from "@quorate/core";
import type {
  AbortOptions,
  Attempt,
  FencedOutcome,
  Hex,
  SenderLease,
  SignedTransaction,
  SubmissionStore,
} from "@quorate/ports";
import type { Pool } from "pg";

import { bigintOf, bytesOf, bytesOfHex, numberOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";
import { accountOf, fenced, type LockedSender } from "./lease.ts";
import { refused } from "./refused.ts";
import { slotStateOf } from "./slots.ts";

/** What is stored of a signed transaction. */
export type NewAttempt = SignedTransaction &
  Pick<Attempt, "kind" | "maxFeePerGasWei" | "maxPriorityFeePerGasWei">;

/** Gas of a plain transfer, which is what fills a gap. */
const GAPFILL_GAS_LIMIT = 21_000n;
/** The endpoint's own words, cut as the port promises. */
const OUTCOME_CHARS_MAX = 300;

const INSERT_ATTEMPT = `
  INSERT INTO attempt (chain_id, sender, nonce, hash, kind, raw, max_fee, tip, epoch)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`;

const FIND_ATTEMPT = `
  SELECT nonce, raw FROM attempt WHERE chain_id = $1 AND sender = $2 AND hash = $3`;

const FIND_SLOT = `
  SELECT state, jsonb_array_length(payload) AS items
  FROM slot WHERE chain_id = $1 AND sender = $2 AND nonce = $3`;

const SIGN_SLOT = `
  UPDATE slot SET state = 'SIGNED', epoch = $4, reason = 'signed'
  WHERE chain_id = $1 AND sender = $2 AND nonce = $3`;

const INSERT_GAP_SLOT = `
  INSERT INTO slot (chain_id, sender, nonce, state, payload, gas_limit, epoch, reason)
  VALUES ($1, $2, $3, 'SIGNED', '[]', $4, $5, 'a nonce nobody used is filled')`;

const NOTE_SENT = `
  UPDATE attempt
  SET sent_count = sent_count + 1, last_sent_at = now(), last_outcome = $2
  WHERE hash = $1`;

export async function addAttempt(
  pool: Pool,
  lease: SenderLease,
  nonce: bigint,
  attempt: Parameters<SubmissionStore["addAttempt"]>[2],
  options: AbortOptions,
): Promise<FencedOutcome> {
  return fenced(pool, lease, options, async (tx, sender) => {
    if (await isStored(tx, lease, nonce, attempt)) return;
    await prepareSlot(tx, lease, sender, nonce, attempt);
    await insertAttempt(tx, lease, nonce, attempt);
  });
}

/** Whether this very attempt is there already: then the call is a repetition. */
async function isStored(
  tx: Queries,
  lease: SenderLease,
  nonce: bigint,
  attempt: NewAttempt,
): Promise<boolean> {
  const parameters = [...accountOf(lease), bytesOfHex(attempt.hash)];
  const [row] = await tx.query("looking for the attempt", FIND_ATTEMPT, parameters);
  if (row === undefined) return false;
  if (bigintOf(row, "nonce") === nonce && equalBytes(bytesOf(row, "raw"), attempt.raw)) return true;
  throw refused(`attempt ${attempt.hash} is stored with other bytes or another nonce`);
}

/** Makes the slot ready for the attempt, or refuses: a slot that is RESERVED becomes SIGNED by its ORIGINAL. */
async function prepareSlot(
  tx: Queries,
  lease: SenderLease,
  sender: LockedSender,
  nonce: bigint,
  { kind }: NewAttempt,
): Promise<void> {
  const key = [...accountOf(lease), nonce];
  const [slot] = await tx.query("looking for the slot", FIND_SLOT, key);
  if (slot === undefined) return openGap(tx, lease, sender, nonce, kind);
  const state = slotStateOf(slot, "state");
  if (!isLiveSlot(state)) throw refused(`slot ${nonce} is final and takes no more attempts`);
  if ((kind === "ORIGINAL") !== (state === "RESERVED")) {
    throw refused(`slot ${nonce} is ${state} and takes no ${kind}`);
  }
  if (kind === "GAPFILL" && numberOf(slot, "items") > 0) {
    throw refused(`slot ${nonce} carries a batch and takes no ${kind}`);
  }
  if (state === "RESERVED") {
    await tx.query("marking the slot signed", SIGN_SLOT, [...key, lease.leaderEpoch]);
  }
}

/**
 * A nonce below the next one can lack a slot when a floor jumped over it (what the
 * pending pool held then may have been dropped). Only a gap-filler may open it.
 */
async function openGap(
  tx: Queries,
  lease: SenderLease,
  sender: LockedSender,
  nonce: bigint,
  kind: AttemptKind,
): Promise<void> {
  if (kind !== "GAPFILL") throw refused(`nonce ${nonce} has no slot to add a ${kind} to`);
  if (nonce >= sender.nextNonce) throw refused(`nonce ${nonce} was never taken and is no gap`);
  await tx.query("opening a slot for the gap", INSERT_GAP_SLOT, [
    ...accountOf(lease),
    nonce,
    GAPFILL_GAS_LIMIT,
    lease.leaderEpoch,
  ]);
}

/** Stores signed bytes inside the caller's transaction. */
export async function insertAttempt(
  tx: Queries,
  lease: SenderLease,
  nonce: bigint,
  attempt: NewAttempt,
): Promise<void> {
  await tx.query("storing the signed attempt", INSERT_ATTEMPT, [
    ...accountOf(lease),
    nonce,
    bytesOfHex(attempt.hash),
    attempt.kind,
    attempt.raw,
    attempt.maxFeePerGasWei,
    attempt.maxPriorityFeePerGasWei,
    lease.leaderEpoch,
  ]);
}

export async function noteSent(
  pool: Pool,
  hash: Hex,
  outcome: string,
  options: AbortOptions,
): Promise<void> {
  await withSession(pool, options, (session) =>
    session.query("noting a send", NOTE_SENT, [
      bytesOfHex(hash),
      outcome.slice(0, OUTCOME_CHARS_MAX),
    ]),
  );
}

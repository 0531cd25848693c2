import { type AttemptKind, SLOT_MOVES, type SlotState } from "@quorate/core";
import type { AbortOptions, Attempt, Hex, Sender, Slot } from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import type { Pool } from "pg";

import { bigintOf, bytesOf, hexOf, numberOf, type Row, textOf, timeMsOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";
import { accountOf } from "./lease.ts";
import { recordItemsOf } from "./submission-row.ts";

// One statement, so that slots and attempts are of one moment.
export const SLOT_WITH_ATTEMPTS = `
  SELECT l.sender, l.nonce, l.state, l.payload, l.gas_limit, l.receipt_hash, l.block_number, l.block_hash,
    a.hash, a.raw, a.kind, a.max_fee, a.tip, a.created_at, a.sent_count
  FROM slot l LEFT JOIN attempt a
    ON a.chain_id = l.chain_id AND a.sender = l.sender AND a.nonce = l.nonce`;

const LIVE_SLOTS = `${SLOT_WITH_ATTEMPTS}
  WHERE l.chain_id = $1 AND l.sender = $2 AND l.state IN ('RESERVED', 'SIGNED', 'INCLUDED')
  ORDER BY l.nonce, a.seq`;

const COUNT_STRANDED = `
  SELECT count(*) AS stranded FROM slot
  WHERE chain_id = $1 AND sender <> $2 AND state IN ('RESERVED', 'SIGNED', 'INCLUDED')`;

// Ranges without a slot, each from `first` to before `taken`: a floor can jump over any number of nonces.
const GAPS = `
  WITH taken AS (
    SELECT nonce::numeric FROM slot WHERE chain_id = $1 AND sender = $2 AND nonce >= $3
    UNION ALL
    SELECT next_nonce::numeric FROM sender WHERE chain_id = $1 AND address = $2
  ), ranges AS (
    SELECT COALESCE(lag(nonce) OVER (ORDER BY nonce) + 1, $3::numeric) AS first, nonce AS taken
    FROM taken
  )
  SELECT first, taken FROM ranges WHERE first < taken ORDER BY first LIMIT $4`;

const ONE_SLOT = `${SLOT_WITH_ATTEMPTS}
  WHERE l.chain_id = $1 AND l.sender = $2 AND l.nonce = $3
  ORDER BY a.seq`;

export async function liveSlots(
  pool: Pool,
  sender: Sender,
  options: AbortOptions,
): Promise<readonly Slot[]> {
  return withSession(pool, options, async (session) => {
    return slotsOf(await session.query("reading live slots", LIVE_SLOTS, accountOf(sender)));
  });
}

export async function strandedSlots(
  pool: Pool,
  sender: Sender,
  options: AbortOptions,
): Promise<number> {
  return withSession(pool, options, async (session) => {
    const [row = {}] = await session.query("counting slots", COUNT_STRANDED, accountOf(sender));
    return numberOf(row, "stranded");
  });
}

export async function gaps(
  pool: Pool,
  sender: Sender,
  from: bigint,
  limit: number,
  options: AbortOptions,
): Promise<readonly bigint[]> {
  return withSession(pool, options, async (session) => {
    const parameters = [...accountOf(sender), from, limit];
    const free: bigint[] = [];
    for (const row of await session.query("looking for gaps", GAPS, parameters)) {
      const end = bigintOf(row, "taken");
      for (let nonce = bigintOf(row, "first"); nonce < end && free.length < limit; nonce += 1n) {
        free.push(nonce);
      }
    }
    return free;
  });
}

/** One slot in whatever state, or null. */
export async function readSlot(
  queries: Queries,
  sender: Sender,
  nonce: bigint,
): Promise<Slot | null> {
  const parameters = [...accountOf(sender), nonce];
  const [slot] = slotsOf(await queries.query("reading a slot", ONE_SLOT, parameters));
  return slot ?? null;
}

/** Folds rows of (slot, attempt), ordered by slot, into slots. */
export function slotsOf(rows: readonly Row[]): readonly Slot[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${hexOf(row, "sender")}/${bigintOf(row, "nonce")}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].map((group) => {
    const [first = {}] = group;
    const state = slotStateOf(first, "state");
    return {
      nonce: bigintOf(first, "nonce"),
      state,
      gasLimit: bigintOf(first, "gas_limit"),
      items: recordItemsOf(first, "payload"),
      attempts: group.filter((row) => row["hash"] !== null).map(attemptOf),
      included: state === "INCLUDED" ? inclusionOf(first) : null,
    };
  });
}

function attemptOf(row: Row): Attempt {
  return {
    hash: hexOf(row, "hash"),
    raw: bytesOf(row, "raw"),
    kind: attemptKindOf(row, "kind"),
    maxFeePerGasWei: bigintOf(row, "max_fee"),
    maxPriorityFeePerGasWei: bigintOf(row, "tip"),
    createdAtMs: timeMsOf(row, "created_at"),
    sentCount: numberOf(row, "sent_count"),
  };
}

function inclusionOf(row: Row): { hash: Hex; blockNumber: bigint; blockHash: Hex } {
  return {
    hash: hexOf(row, "receipt_hash"),
    blockNumber: bigintOf(row, "block_number"),
    blockHash: hexOf(row, "block_hash"),
  };
}

export function slotStateOf(row: Row, column: string): SlotState {
  const state = textOf(row, column);
  if (isSlotState(state)) return state;
  throw new StoreError("CORRUPT", `unknown slot state ${state}`, { retryable: false });
}

function isSlotState(text: string): text is SlotState {
  return Object.hasOwn(SLOT_MOVES, text);
}

const ATTEMPT_KINDS: Readonly<Record<AttemptKind, true>> = {
  ORIGINAL: true,
  BUMP: true,
  CANCEL: true,
  GAPFILL: true,
};

export function attemptKindOf(row: Row, column: string): AttemptKind {
  const kind = textOf(row, column);
  if (isAttemptKind(kind)) return kind;
  throw new StoreError("CORRUPT", `unknown attempt kind ${kind}`, { retryable: false });
}

function isAttemptKind(text: string): text is AttemptKind {
  return Object.hasOwn(ATTEMPT_KINDS, text);
}

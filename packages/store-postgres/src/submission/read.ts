import { SUBMISSION_MOVES, type TxId } from "@quorate/core";
import type {
  AbortOptions,
  SlotTransition,
  Submission,
  SubmissionDetail,
  SubmissionStore,
  SubmissionsPage,
} from "@quorate/ports";
import type { Pool } from "pg";

import { bigintOf, bigintOrNull, type Row, textOf, timeMsOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";
import { refused } from "./refused.ts";
import { SLOT_WITH_ATTEMPTS, slotStateOf, slotsOf } from "./slots.ts";
import { JOIN_SLOT, SUBMISSION_COLUMNS, submissionOf } from "./submission-row.ts";

// The active one first, for the moment in which both are seen: none is ever in neither.
const GET = `
  SELECT ${SUBMISSION_COLUMNS}, NULL::timestamptz AS archived_at
  FROM submission s ${JOIN_SLOT} WHERE s.tx_id = $1
  UNION ALL
  SELECT ${SUBMISSION_COLUMNS}, s.archived_at
  FROM submission_archive s ${JOIN_SLOT} WHERE s.tx_id = $1
  LIMIT 1`;

const UNCONFIRMED = `
  SELECT ${SUBMISSION_COLUMNS}, NULL::timestamptz AS archived_at
  FROM submission s ${JOIN_SLOT}
  WHERE s.state = 'FINALIZED' AND s.confirmed_at IS NULL
  ORDER BY s.finalized_at, s.seq LIMIT $1`;

// State by state, each from where the page begins: no state that is asked for is read past the limit.
const LIST = `
  SELECT ${SUBMISSION_COLUMNS}, NULL::timestamptz AS archived_at
  FROM unnest($1::text[]) AS wanted (state)
  CROSS JOIN LATERAL (
    SELECT * FROM submission
    WHERE submission.state = wanted.state AND submission.seq > $2
    ORDER BY submission.seq LIMIT $3
  ) s ${JOIN_SLOT}
  ORDER BY s.seq LIMIT $3`;

/** The slots that the submission $1 has or had. */
const HELD = `
  SELECT chain_id, sender, nonce FROM submission WHERE tx_id = $1 AND nonce IS NOT NULL
  UNION SELECT chain_id, sender, nonce FROM submission_archive WHERE tx_id = $1 AND nonce IS NOT NULL
  UNION SELECT chain_id, sender, nonce FROM submission_former_slot WHERE tx_id = $1`;

const SLOTS = `${SLOT_WITH_ATTEMPTS}
  JOIN (${HELD}) held
    ON held.chain_id = l.chain_id AND held.sender = l.sender AND held.nonce = l.nonce
  ORDER BY l.created_at, l.nonce, a.seq`;

const HISTORY = `
  SELECT h.nonce, h.from_state, h.to_state, h.epoch, h.block_number, h.reason, h.at
  FROM slot_history h JOIN (${HELD}) held
    ON held.chain_id = h.chain_id AND held.sender = h.sender AND held.nonce = h.nonce
  ORDER BY h.id`;

export async function get(
  pool: Pool,
  txId: TxId,
  options: AbortOptions,
): Promise<Submission | null> {
  return withSession(pool, options, (session) => read(session, txId));
}

async function read(queries: Queries, txId: TxId): Promise<Submission | null> {
  const [row] = await queries.query("reading a submission", GET, [txId]);
  return row === undefined ? null : submissionOf(row);
}

export async function unconfirmed(
  pool: Pool,
  limit: number,
  options: AbortOptions,
): Promise<readonly Submission[]> {
  return withSession(pool, options, async (session) => {
    const rows = await session.query("reading unconfirmed submissions", UNCONFIRMED, [limit]);
    return rows.map(submissionOf);
  });
}

export async function list(
  pool: Pool,
  { states, after, limit }: Parameters<SubmissionStore["list"]>[0],
  options: AbortOptions,
): Promise<SubmissionsPage> {
  const from = positionOf(after);
  const wanted: readonly string[] = [...new Set(states ?? Object.keys(SUBMISSION_MOVES))];
  return withSession(pool, options, async (session) => {
    // One more, which tells whether there is another page.
    const rows = await session.query("listing submissions", LIST, [wanted, from, limit + 1]);
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    return {
      submissions: page.map(submissionOf),
      next: last === undefined ? null : bigintOf(last, "seq").toString(),
    };
  });
}

/** Where a page begins: after this number of arrival. */
function positionOf(after: string | null): bigint {
  if (after === null) return 0n;
  // Within a bigint of PostgreSQL.
  if (!/^[0-9]{1,18}$/.test(after)) throw refused(`"${after}" is where no page begins`);
  return BigInt(after);
}

export async function detail(
  pool: Pool,
  txId: TxId,
  options: AbortOptions,
): Promise<SubmissionDetail | null> {
  return withSession(pool, options, async (session) => {
    const submission = await read(session, txId);
    if (submission === null) return null;
    const slots = slotsOf(await session.query("reading its slots", SLOTS, [txId]));
    const history = await session.query("reading their history", HISTORY, [txId]);
    return { submission, slots, history: history.map(transitionOf) };
  });
}

function transitionOf(row: Row): SlotTransition {
  return {
    nonce: bigintOf(row, "nonce"),
    from: row["from_state"] === null ? null : slotStateOf(row, "from_state"),
    to: slotStateOf(row, "to_state"),
    leaderEpoch: bigintOf(row, "epoch"),
    blockNumber: bigintOrNull(row, "block_number"),
    reason: row["reason"] === null ? null : textOf(row, "reason"),
    atMs: timeMsOf(row, "at"),
  };
}

import { assertNever } from "@quorate/core";
import type {
  AuditBatch,
  AuditLog,
  BanRow,
  LiftRow,
  ReceiptRow,
  TransactionRow,
  ViolationRow,
  VoteRow,
} from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import type { Pool } from "pg";

import { readLostBans, upsertBans } from "./audit/bans.ts";
import { noteContradictions, readContradictions } from "./audit/contradictions.ts";
import { insertLifts } from "./audit/lifts.ts";
import { lockPosition, movePosition, readPosition, setLineage } from "./audit/position.ts";
import { insertReceipts, readReceipts } from "./audit/receipts.ts";
import { foldReputations, readReputations } from "./audit/reputations.ts";
import type { Revised } from "./audit/revised.ts";
import { upsertTransactions } from "./audit/transactions.ts";
import { insertViolations, readViolationsOf } from "./audit/violations.ts";
import { insertVotes } from "./audit/votes.ts";
import { type Queries, withSession } from "./session.ts";

/**
 * The history in PostgreSQL, in the schema that the pool was opened with. Reputation
 * is folded in the same transaction, from rows that were not there before. Rows that
 * were recorded earlier may come again (a snapshot after a compaction) and add nothing.
 * A batch that ends before `expected`, or holds rows past its own revision, rejects
 * with StoreError REFUSED.
 * @see spec §3.3, §7.3
 */
export function createAuditLog(pool: Pool): AuditLog {
  return {
    position: async (options = {}) => (await withSession(pool, options, readPosition)).revision,
    lineage: async (options = {}) => (await withSession(pool, options, readPosition)).lineage,
    beginLineage: (expected, next, options = {}) =>
      withSession(pool, options, (session) =>
        session.transaction(async (tx) => {
          const at = await lockPosition(tx);
          if (at.revision !== expected.position || at.lineage.restarts !== expected.restarts)
            return "stale";
          await setLineage(tx, at, next);
          return "begun";
        }),
      ),
    lostBans: (options = {}) => withSession(pool, options, readLostBans),
    contradictions: (limit, options = {}) =>
      withSession(pool, options, (session) => readContradictions(session, limit)),
    append: (expected, batch, options = {}) =>
      withSession(pool, options, (session) =>
        session.transaction((tx) => appendIn(tx, expected, batch)),
      ),
    reputations: (options = {}) => withSession(pool, options, readReputations),
    violationsOf: (peerId, limit, options = {}) =>
      withSession(pool, options, (session) => readViolationsOf(session, peerId, limit)),
    receipts: (page, options = {}) =>
      withSession(pool, options, (session) => readReceipts(session, page)),
  };
}

async function appendIn(
  tx: Queries,
  expected: bigint | null,
  batch: AuditBatch,
): Promise<"appended" | "stale"> {
  checkBatch(expected, batch);
  const { revision: position, offset } = await lockPosition(tx);
  if (position !== expected) return "stale";
  const kinds = byKind(batch, offset);
  // Only an etcd that follows another can contradict it.
  if (offset > 0n) await noteContradictions(tx, offset, kinds);
  await insertVotes(tx, kinds.votes);
  const violations = await insertViolations(tx, kinds.violations);
  const { lifts, ended } = await insertLifts(tx, kinds.lifts, offset);
  const bans = await upsertBans(tx, kinds.bans, kinds.lifts, offset);
  const decided = await upsertTransactions(tx, kinds.transactions, offset);
  // After all of them: it is a fold of what was new in them.
  await foldReputations(tx, { violations, lifts, bans: [...ended, ...bans], decided });
  await insertReceipts(tx, kinds.receipts);
  if (batch.partial !== true) await movePosition(tx, batch.revision + offset);
  return "appended";
}

function checkBatch(expected: bigint | null, batch: AuditBatch): void {
  const startsBack = expected !== null && batch.revision < expected;
  const reachesPast = batch.rows.some(({ revision }) => revision > batch.revision);
  if (!startsBack && !reachesPast) return;
  throw new StoreError(
    "REFUSED",
    `a batch up to revision ${batch.revision} ${startsBack ? `cannot follow ${expected}` : "holds rows past it"}`,
    { retryable: false },
  );
}

interface Kinds {
  readonly votes: Revised<VoteRow>[];
  readonly violations: Revised<ViolationRow>[];
  readonly bans: Revised<BanRow>[];
  readonly lifts: Revised<LiftRow>[];
  readonly receipts: Revised<ReceiptRow>[];
  readonly transactions: Revised<TransactionRow>[];
}

/** @param offset what is added to etcd's revisions */
function byKind(batch: AuditBatch, offset: bigint): Kinds {
  const rows = batch.rows.map((row) => ({ ...row, revision: row.revision + offset }));
  const kinds: Kinds = {
    votes: [],
    violations: [],
    bans: [],
    lifts: [],
    receipts: [],
    transactions: [],
  };
  for (const row of rows) {
    switch (row.kind) {
      case "vote":
        kinds.votes.push(row);
        break;
      case "violation":
        kinds.violations.push(row);
        break;
      case "ban":
        kinds.bans.push(row);
        break;
      case "lift":
        kinds.lifts.push(row);
        break;
      case "receipt":
        kinds.receipts.push(row);
        break;
      case "transaction":
        kinds.transactions.push(row);
        break;
      default:
        assertNever(row);
    }
  }
  return kinds;
}

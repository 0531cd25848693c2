import {
  SLOT_MOVES,
  type SlotState,
  SUBMISSION_MOVES,
  type SubmissionState,
  slotMayMove,
  submissionMayMove,
} from "@quorate/core";
import { type PostgresServer, startPostgres } from "@quorate/devkit";
import type { Pool, PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { startTestServer, type TestServer } from "./testing/database.ts";

let server: TestServer<PostgresServer>;
let pool: Pool;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
  ({ pool } = await server.world());
});
afterAll(async () => {
  await pool.end();
  await server.stop();
});

const HASH = `decode(repeat('ab', 32), 'hex')`;
const ADDRESS = `decode(repeat('a1', 20), 'hex')`;

/** A sender with one SIGNED slot and attempt, one QUEUED submission; the rest is rolled back. */
const FIXTURE = `
  INSERT INTO sender (chain_id, address, epoch, next_nonce) VALUES (1, ${ADDRESS}, 3, 1);
  INSERT INTO slot (chain_id, sender, nonce, state, payload, gas_limit, epoch)
    VALUES (1, ${ADDRESS}, 0, 'SIGNED', '[["tx-a", "7"]]', 21000, 3);
  INSERT INTO attempt (hash, chain_id, sender, nonce, kind, raw, max_fee, tip, epoch)
    VALUES (${HASH}, 1, ${ADDRESS}, 0, 'ORIGINAL', 'bytes', 1, 1, 3);
  INSERT INTO tombstone (tx_id, value) VALUES ('tx-a', 7);
  INSERT INTO submission (tx_id, key, value, trustee_epoch, decision_revision, chain_id)
    VALUES ('tx-a', ${HASH}, 7, 1, 1, 1);
  INSERT INTO chain_record (chain_id, key, value, block_number, tx_hash)
    VALUES (1, ${HASH}, 7, 1, ${HASH});
  INSERT INTO operator_log (action, subject, by, reason) VALUES ('THAW', '1/0x', 'ada', 'why');
  INSERT INTO submission_former_slot (tx_id, chain_id, sender, nonce)
    VALUES ('tx-old', 1, ${ADDRESS}, 0);
  INSERT INTO submission_archive (tx_id, seq, key, value, trustee_epoch, decision_revision, state,
      chain_id, tries, queued_at, finalized_at, finalized_tx, finalized_block, confirmed_at)
    VALUES ('tx-old', 1, decode(repeat('ee', 32), 'hex'), 7, 1, 1, 'FINALIZED',
      1, 0, now(), now(), ${HASH}, 8, now());
  INSERT INTO ban_lifts (peer_id, kind, lifted_by, reason, lifted_at, revision)
    VALUES ('peer', 'OPERATOR', 'ada', 'why', now(), 2);
  INSERT INTO discard_receipts
    (node_id, run_started_at_ms, sequence, issued_at, reason, count, receipt, revision)
    VALUES ('node-a', 1, 0, now(), 'quota', 1, '{}', 2);
  INSERT INTO byzantine_violations (peer_id, tx_id, violation_type, grade, evidence_json, revision)
    VALUES ('peer', 'tx-a', 'DOUBLE_VOTING', 'PROOF', '{}', 1);
  INSERT INTO vote_history (tx_id, node_id, peer_id, epoch, value, signature, proof, issued_at, revision)
    VALUES ('tx-a', 'node', 'peer', 1, 7, 'signature', '{}', now(), 1);
  UPDATE projector_position SET revision = 5`;

const RESERVED_SLOT = `
  INSERT INTO slot (chain_id, sender, nonce, state, payload, gas_limit, epoch)
  VALUES (1, ${ADDRESS}, 1, 'RESERVED', '[["tx-a", "7"]]', 21000, 3)`;

/** Columns that a row of the state must have, so that only the move itself is judged. */
function submissionSet(state: SubmissionState, nonce = 0): string {
  const reason = state === "QUARANTINED" || state === "ABORTED";
  return `state = '${state}', ${nonceSet(state, nonce)},
    finalized_at = ${state === "FINALIZED" ? "now()" : "NULL"},
    reason = ${reason ? "'test'" : "NULL"}`;
}

/** QUEUED has no nonce, ASSIGNED and INCLUDED have one, the others keep what they had. */
function nonceSet(state: SubmissionState, nonce: number): string {
  if (state === "QUEUED") return "sender = NULL, nonce = NULL, batch_index = NULL";
  if (state !== "ASSIGNED" && state !== "INCLUDED") return "nonce = nonce";
  return `sender = ${ADDRESS}, nonce = ${nonce}, batch_index = 0`;
}

function slotSet(state: SlotState): string {
  const block = state === "INCLUDED";
  return `state = '${state}',
    block_number = ${block ? "9" : "NULL"}, block_hash = ${block ? HASH : "NULL"},
    receipt_hash = ${block ? HASH : "NULL"}, receipt_status = ${block ? "'success'" : "NULL"}`;
}

function statesOf<S extends string>(moves: Readonly<Record<S, readonly S[]>>): readonly S[] {
  const states: S[] = [];
  for (const state in moves) states.push(state);
  return states;
}

/** Pairs of all states, and the way from the first state to each, by the core's own table. */
function pairsOf<S extends string>(
  moves: Readonly<Record<S, readonly S[]>>,
  first: S,
): readonly (readonly [from: S, to: S, way: readonly S[]])[] {
  const ways = new Map<S, readonly S[]>([[first, []]]);
  for (const [state, way] of ways) {
    for (const next of moves[state]) if (!ways.has(next)) ways.set(next, [...way, next]);
  }
  const states = statesOf(moves);
  return states.flatMap((from) => states.map((to) => [from, to, ways.get(from) ?? []] as const));
}

async function inFixture<T>(body: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query(`BEGIN; ${FIXTURE}`);
    return await body(client);
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}

/** The SQLSTATE that a statement is refused with, or null when it is done. */
async function refusalOf(client: PoolClient, statement: string): Promise<string | null> {
  try {
    await client.query(statement);
    return null;
  } catch (error) {
    if (error instanceof Error && "code" in error) return String(error.code);
    throw error;
  }
}

describe("moves", () => {
  test.each(pairsOf(SUBMISSION_MOVES, "QUEUED"))(
    "a submission from %s to %s: the database agrees with the core",
    async (from, to, way) => {
      await inFixture(async (client) => {
        for (const step of way) await client.query(`UPDATE submission SET ${submissionSet(step)}`);
        // Only a nonce that is final is given back; that law has its own test.
        await client.query(`UPDATE slot SET ${slotSet("FINALIZED_FOREIGN")}`);
        const refusal = await refusalOf(client, `UPDATE submission SET ${submissionSet(to)}`);
        expect(refusal).toBe(submissionMayMove(from, to) ? null : "QU001");
      });
    },
  );

  test.each(pairsOf(SLOT_MOVES, "RESERVED"))(
    "a slot from %s to %s: the database agrees with the core",
    async (from, to, way) => {
      await inFixture(async (client) => {
        await client.query(RESERVED_SLOT);
        for (const step of way) {
          await client.query(`UPDATE slot SET ${slotSet(step)} WHERE nonce = 1`);
        }
        const refusal = await refusalOf(client, `UPDATE slot SET ${slotSet(to)} WHERE nonce = 1`);
        expect(refusal).toBe(slotMayMove(from, to) ? null : "QU001");
      });
    },
  );

  test.each(["RESERVED", "SIGNED", "INCLUDED"] as const)(
    "a submission is not queued again while its slot is %s, only once it is final",
    async (live) => {
      await inFixture(async (client) => {
        await client.query(RESERVED_SLOT);
        await client.query(`UPDATE submission SET ${submissionSet("ASSIGNED", 1)}`);
        const [way] = pairsOf(SLOT_MOVES, "RESERVED").filter(([from]) => from === live);
        for (const step of way?.[2] ?? []) {
          await client.query(`UPDATE slot SET ${slotSet(step)} WHERE nonce = 1`);
        }
        const queue = `UPDATE submission SET ${submissionSet("QUEUED")}`;
        for (const before of ["ASSIGNED", "QUARANTINED"] as const) {
          const reason = before === "QUARANTINED" ? "'why'" : "NULL";
          await client.query(`UPDATE submission SET state = '${before}', reason = ${reason}`);
          expect(await refusalOf(client, `SAVEPOINT live; ${queue}`)).toBe("QU001");
          await client.query("ROLLBACK TO live");
        }
        await client.query(`UPDATE slot SET ${slotSet("FINALIZED_FOREIGN")} WHERE nonce = 1`);
        expect(await refusalOf(client, queue)).toBeNull();
        const { rows } = await client.query(
          "SELECT tx_id, nonce FROM submission_former_slot WHERE tx_id <> 'tx-old'",
        );
        expect(rows).toEqual([{ tx_id: "tx-a", nonce: 1n }]);
      });
    },
  );

  test("every slot transition is in the history, with epoch, block and reason", async () => {
    await inFixture(async (client) => {
      await client.query(`UPDATE slot SET ${slotSet("INCLUDED")}, epoch = 4, reason = 'seen'`);
      await client.query(`UPDATE slot SET reason = 'no transition'`);
      await client.query(`UPDATE slot SET ${slotSet("SIGNED")}, epoch = 5, reason = 'reorg'`);
      const { rows } = await client.query(
        `SELECT from_state, to_state, epoch, block_number, reason FROM slot_history ORDER BY id`,
      );
      expect(rows).toEqual([
        { from_state: null, to_state: "SIGNED", epoch: 3n, block_number: null, reason: null },
        { from_state: "SIGNED", to_state: "INCLUDED", epoch: 4n, block_number: 9n, reason: "seen" },
        {
          from_state: "INCLUDED",
          to_state: "SIGNED",
          epoch: 5n,
          block_number: null,
          reason: "reorg",
        },
      ]);
    });
  });
});

describe("what is refused", () => {
  const FINAL_SLOT = `UPDATE slot SET ${slotSet("FINALIZED_OK")}`;
  const CONFIRMED = `UPDATE submission SET ${submissionSet("FINALIZED")}, confirmed_at = now()`;
  const OTHER_HASH = `decode(repeat('cd', 32), 'hex')`;

  test.each([
    ["a signed attempt is never rewritten", "UPDATE attempt SET raw = 'other'", "QU002"],
    ["a hash is never rewritten", `UPDATE attempt SET hash = ${OTHER_HASH}`, "QU002"],
    ["attempts of a live nonce are never deleted", "DELETE FROM attempt", "QU002"],
    ["attempts are never truncated", "TRUNCATE attempt", "QU002"],
    ["a live slot is never deleted", "DELETE FROM slot", "QU002"],
    ["a slot's batch is never rewritten", "UPDATE slot SET payload = '[]'", "QU002"],
    ["a decided value is never rewritten", "UPDATE submission SET value = 8", "QU002"],
    ["a submission that is not confirmed is never deleted", "DELETE FROM submission", "QU002"],
    ["a tombstone is never deleted", "DELETE FROM tombstone", "QU002"],
    ["a tombstone is never rewritten", "UPDATE tombstone SET value = 8", "QU002"],
    ["tombstones are never truncated", "TRUNCATE tombstone CASCADE", "QU002"],
    ["history is never deleted", "DELETE FROM slot_history", "QU002"],
    ["history is never rewritten", "UPDATE slot_history SET reason = 'x'", "QU002"],
    ["history is never truncated", "TRUNCATE slot_history", "QU002"],
    ["a chain record is never deleted", "DELETE FROM chain_record", "QU002"],
    ["a chain record is never rewritten", "UPDATE chain_record SET value = 8", "QU002"],
    ["chain records are never truncated", "TRUNCATE chain_record", "QU002"],
    ["what an operator did is never deleted", "DELETE FROM operator_log", "QU002"],
    ["what an operator did is never rewritten", "UPDATE operator_log SET by = 'x'", "QU002"],
    ["what operators did is never truncated", "TRUNCATE operator_log", "QU002"],
    [
      "only a freeze is done by nobody",
      "INSERT INTO operator_log (action, subject, reason) VALUES ('THAW', 'x', 'y')",
      "23514",
    ],
    ["an archived submission is never deleted", "DELETE FROM submission_archive", "QU002"],
    [
      "an archived submission is never rewritten",
      "UPDATE submission_archive SET tries = 1",
      "QU002",
    ],
    ["the archive is never truncated", "TRUNCATE submission_archive", "QU002"],
    [
      "what is not confirmed is never archived",
      "INSERT INTO submission_archive SELECT * FROM submission",
      "23514",
    ],
    ["a former slot is never forgotten", "DELETE FROM submission_former_slot", "QU002"],
    ["a former slot is never rewritten", "UPDATE submission_former_slot SET nonce = 5", "QU002"],
    ["former slots are never truncated", "TRUNCATE submission_former_slot", "QU002"],
    [
      "an import is never taken back",
      "UPDATE sender SET imported_through_block = 5; UPDATE sender SET imported_through_block = 4",
      "QU001",
    ],
    [
      "an import is never forgotten",
      "UPDATE sender SET imported_through_block = 5; UPDATE sender SET imported_through_block = NULL",
      "QU001",
    ],
    ["a freeze has a reason", "UPDATE sender SET frozen = true", "23514"],
    [
      "a submission keeps its nonce until it is queued again",
      `UPDATE submission SET ${submissionSet("ASSIGNED")};
       UPDATE submission SET state = 'QUARANTINED', reason = 'x',
         sender = NULL, nonce = NULL, batch_index = NULL`,
      "QU002",
    ],
    [
      "a nonce is exchanged for another",
      `${RESERVED_SLOT}; UPDATE submission SET ${submissionSet("ASSIGNED")};
       UPDATE submission SET nonce = 1`,
      "QU002",
    ],
    [
      "a nonce is had by what is not assigned",
      `UPDATE submission SET sender = ${ADDRESS}, nonce = 0, batch_index = 0,
         state = 'QUARANTINED', reason = 'x'`,
      "QU002",
    ],
    [
      "where a submission is final is written once",
      `UPDATE submission SET ${submissionSet("FINALIZED")};
       UPDATE submission SET finalized_block = 9`,
      "QU002",
    ],
    [
      "a reserved nonce has no attempt before it is signed",
      `${RESERVED_SLOT};
       INSERT INTO attempt (hash, chain_id, sender, nonce, kind, raw, max_fee, tip, epoch)
       VALUES (${OTHER_HASH}, 1, ${ADDRESS}, 1, 'ORIGINAL', 'bytes', 1, 1, 3)`,
      "QU001",
    ],
    [
      "a reserved nonce is never deleted",
      `${RESERVED_SLOT}; DELETE FROM slot WHERE nonce = 1`,
      "QU002",
    ],
    [
      "a nonce has one original",
      `INSERT INTO attempt (hash, chain_id, sender, nonce, kind, raw, max_fee, tip, epoch)
       VALUES (${OTHER_HASH}, 1, ${ADDRESS}, 0, 'ORIGINAL', 'bytes', 1, 1, 3)`,
      "23505",
    ],
    ["evidence is never deleted", "DELETE FROM byzantine_violations", "QU002"],
    ["evidence is never rewritten", "UPDATE byzantine_violations SET peer_id = 'x'", "QU002"],
    ["evidence is never truncated", "TRUNCATE byzantine_violations", "QU002"],
    ["a lift is never deleted", "DELETE FROM ban_lifts", "QU002"],
    ["a lift is never rewritten", "UPDATE ban_lifts SET lifted_by = 'x'", "QU002"],
    ["lifts are never truncated", "TRUNCATE ban_lifts", "QU002"],
    ["a receipt is never deleted", "DELETE FROM discard_receipts", "QU002"],
    ["a receipt is never rewritten", "UPDATE discard_receipts SET count = 2", "QU002"],
    ["receipts are never truncated", "TRUNCATE discard_receipts", "QU002"],
    ["a recorded vote is never rewritten", "UPDATE vote_history SET value = 8", "QU002"],
    ["a sender is never deleted", "DELETE FROM sender", "QU002"],
    ["an epoch never goes down", "UPDATE sender SET epoch = 2", "QU001"],
    ["a nonce never goes down", "UPDATE sender SET next_nonce = 0", "QU001"],
    ["the projector never goes back", "UPDATE projector_position SET revision = 4", "QU001"],
    ["the projector never forgets", "UPDATE projector_position SET revision = NULL", "QU001"],
    [
      "there is one projector position",
      "INSERT INTO projector_position VALUES (false, 1)",
      "23514",
    ],
    ["a value is a u64", "INSERT INTO tombstone VALUES ('tx-b', 18446744073709551616)", "23514"],
    ["a value is not negative", "INSERT INTO tombstone VALUES ('tx-b', -1)", "23514"],
    [
      "a submission without a tombstone",
      `INSERT INTO submission (tx_id, key, value, trustee_epoch, decision_revision, chain_id)
       VALUES ('tx-b', ${OTHER_HASH}, 7, 1, 1, 1)`,
      "23503",
    ],
    [
      "a nonce used twice",
      `INSERT INTO slot (chain_id, sender, nonce, state, payload, gas_limit, epoch)
       VALUES (1, ${ADDRESS}, 0, 'SIGNED', '[]', 1, 1)`,
      "23505",
    ],
    [
      "an attempt for a final nonce",
      `${FINAL_SLOT}; INSERT INTO attempt (hash, chain_id, sender, nonce, kind, raw, max_fee, tip, epoch)
       VALUES (${OTHER_HASH}, 1, ${ADDRESS}, 0, 'BUMP', 'bytes', 1, 1, 3)`,
      "QU001",
    ],
  ])("%s", async (_law, statement, code) => {
    await inFixture(async (client) => {
      expect(await refusalOf(client, statement)).toBe(code);
    });
  });

  test.each([
    ["noting a send", "UPDATE attempt SET sent_count = 1, last_outcome = 'accepted'"],
    ["retention of a final nonce", `${FINAL_SLOT}; DELETE FROM attempt; DELETE FROM slot`],
    ["retention of a confirmed submission", `${CONFIRMED}; DELETE FROM submission`],
    ["retention of old votes", "DELETE FROM vote_history"],
  ])("but not %s", async (_law, statement) => {
    await inFixture(async (client) => {
      expect(await refusalOf(client, statement)).toBeNull();
    });
  });
});

describe("view blockchain_submissions", () => {
  const READ = `SELECT state, nonce, encode(tx_hash, 'hex') AS tx_hash, block_number,
    submitted_at IS NOT NULL AS submitted, confirmed_at IS NOT NULL AS confirmed
    FROM blockchain_submissions WHERE tx_id = 'tx-a'`;
  const MINED = "ab".repeat(32);

  test.each([
    ["QUEUED", { state: "PENDING", nonce: null, tx_hash: null, submitted: false }],
    ["ASSIGNED", { state: "PENDING", nonce: 0n, tx_hash: MINED, submitted: true }],
    ["QUARANTINED", { state: "PENDING" }],
    ["FINALIZED", { state: "CONFIRMED", confirmed: true }],
    ["ABORTED", { state: "ABORTED_BYZANTINE", confirmed: false }],
  ] as const)("shows %s in the spec's words", async (state, expected) => {
    await inFixture(async (client) => {
      await client.query(`UPDATE submission SET ${submissionSet(state)}`);
      expect((await client.query(READ)).rows).toMatchObject([expected]);
    });
  });

  test("shows nothing as submitted for a nonce that is only reserved", async () => {
    await inFixture(async (client) => {
      await client.query(RESERVED_SLOT);
      await client.query(`UPDATE submission SET ${submissionSet("ASSIGNED", 1)}`);
      expect((await client.query(READ)).rows).toMatchObject([
        { state: "PENDING", nonce: 1n, tx_hash: null, submitted: false },
      ]);
    });
  });

  test("shows what is archived in a view of its own, with the same columns", async () => {
    await inFixture(async (client) => {
      const archived = READ.replace("blockchain_submissions", "blockchain_submissions_archive");
      const { rows } = await client.query(archived.replace("tx-a", "tx-old"));
      expect(rows).toMatchObject([
        { state: "CONFIRMED", tx_hash: MINED, block_number: 8n, confirmed: true },
      ]);
      const columns = async (view: string) =>
        (await client.query(`SELECT * FROM ${view} LIMIT 0`)).fields.map(({ name }) => name);
      expect(await columns("blockchain_submissions_archive")).toEqual(
        await columns("blockchain_submissions"),
      );
    });
  });

  test("shows what was aborted before it became a submission, once, and nothing else of the history", async () => {
    await inFixture(async (client) => {
      await client.query(`
        INSERT INTO transaction_history (tx_id, status, epoch, opened_at, record, revision) VALUES
          ('tx-a', 'ABORTED_BYZANTINE', 1, now(), '{}', 1),
          ('tx-aborted', 'ABORTED_BYZANTINE', 1, now(), '{}', 1),
          ('tx-open', 'PENDING', 1, now(), '{}', 1)`);
      const { rows } = await client.query(
        `SELECT tx_id, state FROM blockchain_submissions ORDER BY tx_id`,
      );
      expect(rows).toEqual([
        { tx_id: "tx-a", state: "PENDING" },
        { tx_id: "tx-aborted", state: "ABORTED_BYZANTINE" },
      ]);
    });
  });
});

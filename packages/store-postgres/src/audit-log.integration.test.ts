import { parseNodeId, receiptFromJson, unwrap } from "@quorate/core";
import { type PostgresServer, startPostgres } from "@quorate/devkit";
import type {
  BanRow,
  LiftRow,
  ReceiptRow,
  TransactionRow,
  ViolationRow,
  VoteRow,
} from "@quorate/ports";
import { type AuditRecords, auditLogContract, type Recorded } from "@quorate/testkit";
import type { Pool } from "pg";
import { afterAll, beforeAll } from "vitest";

import { createAuditLog } from "./audit-log.ts";
import {
  bigintOf,
  booleanOf,
  bytesOf,
  epochOf,
  nodeIdOrNull,
  numberOf,
  oneOf,
  peerIdOf,
  type Row,
  textOf,
  timeMsOf,
  txIdOf,
  valueOf,
} from "./row.ts";
import { startTestServer, type TestServer } from "./testing/database.ts";

let server: TestServer<PostgresServer>;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
});
afterAll(() => server.stop());

auditLogContract("PostgreSQL", async () => {
  const { pool, schema } = await server.world();
  const otherPool = server.pool(schema);
  return {
    log: createAuditLog(pool),
    other: createAuditLog(otherPool),
    records: () => readRecords(pool),
    close: async () => {
      await Promise.all([pool.end(), otherPool.end()]);
    },
  };
});

async function readRecords(pool: Pool): Promise<AuditRecords> {
  const read = async (table: string): Promise<readonly Row[]> =>
    (await pool.query<Row>(`SELECT * FROM ${table}`)).rows;
  return {
    votes: (await read("vote_history")).map(voteOf),
    violations: (await read("byzantine_violations")).map(violationOf),
    bans: (await read("banned_peers")).map(banOf),
    lifts: (await read("ban_lifts")).map(liftOf),
    receipts: (await read("discard_receipts")).map(receiptRowOf),
    transactions: (await read("transaction_history")).map(transactionOf),
    reputations: (await read("node_reputation")).map((row) => ({
      peerId: peerIdOf(row, "peer_id"),
      score: numberOf(row, "reputation_score"),
      totalVotes: numberOf(row, "total_votes"),
      violationsCount: numberOf(row, "violations_count"),
      lastSeenMs: timeMsOf(row, "last_seen"),
    })),
  };
}

function voteOf(row: Row): Recorded<VoteRow> {
  return {
    kind: "vote",
    txId: txIdOf(row, "tx_id"),
    nodeId: unwrap(parseNodeId(row["node_id"])),
    peerId: peerIdOf(row, "peer_id"),
    epoch: epochOf(row, "epoch"),
    value: valueOf(row, "value"),
    signature: bytesOf(row, "signature"),
    proofJson: JSON.stringify(row["proof"]),
    issuedAtMs: timeMsOf(row, "issued_at"),
    revision: bigintOf(row, "revision"),
  };
}

function violationOf(row: Row): Recorded<ViolationRow> {
  return {
    kind: "violation",
    txId: txIdOf(row, "tx_id"),
    peerId: peerIdOf(row, "peer_id"),
    nodeId: nodeIdOrNull(row, "node_id"),
    type: oneOf(row, "violation_type", [
      "DOUBLE_VOTING",
      "MINORITY_VOTE",
      "INVALID_SIGNATURE",
      "SILENT_FAILURE",
    ]),
    grade: oneOf(row, "grade", ["PROOF", "OPINION"]),
    evidenceJson: JSON.stringify(row["evidence_json"]),
    detectedAtMs: timeMsOf(row, "detected_at"),
    borneOut: booleanOf(row, "borne_out"),
    revision: bigintOf(row, "revision"),
  };
}

function banOf(row: Row): Recorded<BanRow> {
  return {
    kind: "ban",
    peerId: peerIdOf(row, "peer_id"),
    nodeId: nodeIdOrNull(row, "node_id"),
    reason: textOf(row, "reason"),
    grade: oneOf(row, "grade", ["PROOF", "OPINION"]),
    bannedAtMs: timeMsOf(row, "banned_at"),
    evidenceJson: JSON.stringify(row["evidence_json"]),
    revision: bigintOf(row, "revision"),
  };
}

function transactionOf(row: Row): Recorded<TransactionRow> {
  return {
    kind: "transaction",
    txId: txIdOf(row, "tx_id"),
    status: textOf(row, "status"),
    reason: row["reason"] === null ? null : textOf(row, "reason"),
    value: row["value"] === null ? null : valueOf(row, "value"),
    epoch: epochOf(row, "epoch"),
    openedAtMs: timeMsOf(row, "opened_at"),
    recordJson: JSON.stringify(row["record"]),
    revision: bigintOf(row, "revision"),
  };
}

function liftOf(row: Row): Recorded<LiftRow> {
  return {
    kind: "lift",
    liftKind: oneOf(row, "kind", ["OPERATOR", "UNPROVEN"]),
    peerId: peerIdOf(row, "peer_id"),
    nodeId: nodeIdOrNull(row, "node_id"),
    by: textOf(row, "lifted_by"),
    reason: textOf(row, "reason"),
    liftedAtMs: timeMsOf(row, "lifted_at"),
    banReason:
      row["ban_reason"] === null
        ? null
        : oneOf(row, "ban_reason", [
            "DOUBLE_VOTING",
            "MINORITY_VOTE",
            "INVALID_SIGNATURE",
            "SILENT_FAILURE",
            "LOW_REPUTATION",
          ]),
    revision: bigintOf(row, "revision"),
  };
}

function receiptRowOf(row: Row): Recorded<ReceiptRow> {
  const receipt = unwrap(receiptFromJson(row["receipt"]));
  return { kind: "receipt", receipt, revision: bigintOf(row, "revision") };
}

import {
  isBelowBound,
  type NodeId,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
  REPUTATION,
  type Receipt,
  scoreAt,
  type TxId,
  toBase64,
  unwrap,
  type ViolationType,
} from "@quorate/core";
import type {
  AuditBatch,
  AuditLog,
  BanRow,
  LiftRow,
  ReceiptRow,
  ReputationRow,
  TransactionRow,
  ViolationRow,
  VoteRow,
} from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { AuditRecords, Recorded, ReputationRecord } from "../memory-audit-log.ts";

/** One database, empty at first, as one test sees it. */
export interface AuditLogWorld {
  readonly log: AuditLog;
  /** The same database as another process would open it. */
  readonly other: AuditLog;
  /** All that is recorded; lists in any order. */
  records(): Promise<AuditRecords>;
  close(): Promise<void>;
}

const NOW_MS = Date.parse("2026-01-01T00:00:00Z");
const EPOCH = unwrap(parseEpoch(1));

function peer(letter: string): PeerId {
  return unwrap(parsePeerId(`12D3KooW${letter.repeat(44)}`));
}

function node(letter: string): NodeId {
  return unwrap(parseNodeId(`node-${letter.toLowerCase()}`));
}

function tx(name: string): TxId {
  return unwrap(parseTxId(name));
}

function vote(revision: bigint, txName: string, letter: string, value = 7n): Recorded<VoteRow> {
  return {
    kind: "vote",
    txId: tx(txName),
    nodeId: node(letter),
    peerId: peer(letter),
    epoch: EPOCH,
    value: unwrap(parseValue(value)),
    signature: Uint8Array.of(1, 2, 3, 255),
    proofJson: '{"leaf":"AAEC","path":[]}',
    issuedAtMs: NOW_MS + Number(revision),
    revision,
  };
}

function violation(
  revision: bigint,
  txName: string,
  letter: string,
  type: ViolationType,
): Recorded<ViolationRow> {
  return {
    kind: "violation",
    txId: tx(txName),
    peerId: peer(letter),
    nodeId: node(letter),
    type,
    grade: type === "DOUBLE_VOTING" || type === "INVALID_SIGNATURE" ? "PROOF" : "OPINION",
    evidenceJson: '{"kind":"test"}',
    detectedAtMs: NOW_MS + Number(revision),
    borneOut: true,
    revision,
  };
}

function ban(
  revision: bigint,
  letter: string,
  grade: BanRow["grade"],
  reason = "MINORITY_VOTE",
): Recorded<BanRow> {
  return {
    kind: "ban",
    peerId: peer(letter),
    nodeId: node(letter),
    reason,
    grade,
    bannedAtMs: NOW_MS + Number(revision),
    evidenceJson: `{"of":"${letter}"}`,
    revision,
  };
}

function lift(
  revision: bigint,
  letter: string,
  liftKind: LiftRow["liftKind"] = "OPERATOR",
): Recorded<LiftRow> {
  return {
    kind: "lift",
    liftKind,
    peerId: peer(letter),
    nodeId: node(letter),
    by: "ada",
    reason: "its disk was replaced",
    liftedAtMs: NOW_MS + Number(revision),
    banReason: "MINORITY_VOTE",
    revision,
  };
}

function receipt(revision: bigint, letter: string, sequence: number): Recorded<ReceiptRow> {
  const whole: Receipt = {
    clusterId: unwrap(parseClusterId("contract")),
    nodeId: node(letter),
    peerId: peer(letter),
    sequence,
    runStartedAtMs: NOW_MS,
    issuedAtMs: NOW_MS + sequence,
    reason: "bad_signature",
    count: 2,
    firstAtMs: NOW_MS,
    lastAtMs: NOW_MS + 1,
    messageHash: toBase64(new Uint8Array(32)),
    txId: tx("tx-a"),
    voter: null,
    author: peer("Z"),
    forwarder: null,
    signature: toBase64(new Uint8Array(64)),
  };
  return { kind: "receipt", receipt: whole, revision };
}

function transaction(
  revision: bigint,
  name: string,
  status: string,
  value = 2n ** 64n - 1n,
): Recorded<TransactionRow> {
  return {
    kind: "transaction",
    txId: tx(name),
    status,
    reason: null,
    value: status === "PENDING" ? null : unwrap(parseValue(value)),
    epoch: EPOCH,
    openedAtMs: NOW_MS,
    recordJson: `{"status":"${status}"}`,
    revision,
  };
}

/** The contract of AuditLog: to be run on each implementation. */
export function auditLogContract(name: string, makeWorld: () => Promise<AuditLogWorld>): void {
  describe(`AuditLog contract: ${name}`, () => {
    let world: AuditLogWorld;
    let log: AuditLog;

    beforeEach(async () => {
      world = await makeWorld();
      log = world.log;
    });
    afterEach(() => world.close());

    async function append(...rows: AuditBatch["rows"]): Promise<void> {
      const expected = await log.position();
      const revision = rows.reduce((most, row) => (row.revision > most ? row.revision : most), 0n);
      expect(await log.append(expected, { revision, rows })).toBe("appended");
    }

    /** What the log says of a peer, and the score that core makes of it at a time after the last row. */
    async function standing(
      letter: string,
      atMs: number = NOW_MS + 1_000,
    ): Promise<ReputationRow & { readonly score: number }> {
      const row = (await log.reputations()).find(({ peerId }) => peerId === peer(letter));
      if (row === undefined) throw new Error(`nothing is known of ${letter}`);
      return { ...row, score: scoreAt(row.state, atMs) };
    }

    async function reputation(letter: string): Promise<ReputationRecord | undefined> {
      return (await world.records()).reputations.find(({ peerId }) => peerId === peer(letter));
    }

    describe("position", () => {
      test("is null before the first batch, and the batch's revision after it", async () => {
        expect(await log.position()).toBeNull();
        expect(await log.append(null, { revision: 12n, rows: [] })).toBe("appended");
        expect(await log.position()).toBe(12n);
        expect(await world.other.position()).toBe(12n);
        expect(await log.append(12n, { revision: 12n, rows: [] })).toBe("appended");
      });

      test("a batch that expects another position is stale and changes nothing", async () => {
        await append(vote(5n, "tx-a", "A"));
        const batch = { revision: 9n, rows: [vote(9n, "tx-b", "A")] };
        expect(await log.append(null, batch)).toBe("stale");
        expect(await log.append(4n, batch)).toBe("stale");
        expect(await log.append(6n, batch)).toBe("stale");
        expect(await log.position()).toBe(5n);
        expect((await world.records()).votes).toHaveLength(1);
      });

      test("of projectors that append at once exactly one wins each step", async () => {
        const batch = { revision: 3n, rows: [vote(3n, "tx-a", "A")] };
        const calls = [log, world.other, log, world.other].map((each) => each.append(null, batch));
        const outcomes = await Promise.all(calls);
        expect(outcomes.toSorted()).toEqual(["appended", "stale", "stale", "stale"]);
        expect(await reputation("A")).toMatchObject({ totalVotes: 1 });
      });

      test("a batch that goes back, or holds rows past its revision, is refused", async () => {
        await append(vote(5n, "tx-a", "A"));
        const backwards = log.append(5n, { revision: 4n, rows: [] });
        await expect(backwards).rejects.toBeInstanceOf(StoreError);
        await expect(backwards).rejects.toMatchObject({ code: "REFUSED", retryable: false });
        const beyond = log.append(5n, { revision: 6n, rows: [vote(7n, "tx-b", "A")] });
        await expect(beyond).rejects.toMatchObject({ code: "REFUSED", retryable: false });
        expect(await log.position()).toBe(5n);
      });

      test("an aborted signal rejects with its reason and changes nothing", async () => {
        const reason = new Error("stopped");
        const options = { signal: AbortSignal.abort(reason) };
        await expect(log.position(options)).rejects.toBe(reason);
        await expect(log.append(null, { revision: 1n, rows: [] }, options)).rejects.toBe(reason);
        expect(await log.position()).toBeNull();
      });
    });

    describe("another etcd", () => {
      /** What an etcd said that is replaced by a snapshot of it from before revision 4. */
      const before = [
        vote(1n, "tx-a", "A"),
        transaction(1n, "tx-a", "COLLECTING"),
        ban(2n, "B", "OPINION"),
        lift(3n, "B"),
        vote(4n, "tx-a", "C"),
        transaction(5n, "tx-a", "SUBMITTED", 7n),
        transaction(6n, "tx-a", "CONFIRMED", 7n),
      ] as const;
      const replaced = { id: "restored", reason: "a snapshot was restored" };

      async function restart(): Promise<void> {
        const { restarts } = await log.lineage();
        const position = await log.position();
        expect(await log.beginLineage({ position, restarts }, replaced)).toBe("begun");
      }

      test("is adopted where none was noted, and nothing else changes", async () => {
        await append(...before);
        expect(await log.lineage()).toEqual({ id: null, restarts: 0 });
        const at = { position: 6n, restarts: 0 };
        expect(await log.beginLineage(at, { id: "first", reason: null })).toBe("begun");
        expect(await world.other.lineage()).toEqual({ id: "first", restarts: 0 });
        expect(await log.position()).toBe(6n);
      });

      test("makes the position null, and its revisions are taken as they are", async () => {
        await append(...before);
        await restart();
        expect(await log.lineage()).toEqual({ id: "restored", restarts: 1 });
        expect(await world.other.position()).toBeNull();
        expect(await log.append(6n, { revision: 7n, rows: [] })).toBe("stale");
        expect(await log.append(null, { revision: 2n, rows: [] })).toBe("appended");
        expect(await log.position()).toBe(2n);
      });

      test("whoever was told of another position or lineage begins none", async () => {
        await append(...before);
        expect(await log.beginLineage({ position: 5n, restarts: 0 }, replaced)).toBe("stale");
        expect(await log.beginLineage({ position: 6n, restarts: 1 }, replaced)).toBe("stale");
        expect(await log.lineage()).toEqual({ id: null, restarts: 0 });
        expect(await log.position()).toBe(6n);
      });

      test("that says the same again adds nothing and moves nothing back", async () => {
        for (const row of before) await append(row);
        const { votes, transactions, lifts } = await world.records();
        const peers = () => Promise.all(["A", "B", "C"].map((letter) => reputation(letter)));
        const known = await peers();
        await restart();
        const again = before.filter(({ revision }) => revision < 4n);
        for (const row of again)
          expect(
            await log.append(await log.position(), { revision: row.revision, rows: [row] }),
          ).toBe("appended");
        expect(await world.records()).toMatchObject({ votes, transactions, lifts, bans: [] });
        expect(await peers()).toEqual(known);
        expect(await log.contradictions(10)).toEqual([]);
      });

      test("that says the same again in one batch does not bring back a ban that was lifted", async () => {
        await append(ban(2n, "B", "OPINION"), lift(3n, "B"));
        await restart();
        await append(ban(2n, "B", "OPINION"), lift(3n, "B"));
        const records = await world.records();
        expect(records.bans).toEqual([]);
        expect(records.lifts).toHaveLength(1);
      });

      test("a lift that is lost leaves the ban standing, as nodes then see it", async () => {
        await append(ban(2n, "B", "OPINION"), lift(3n, "B"));
        await restart();
        await append(ban(2n, "B", "OPINION"));
        expect((await world.records()).bans).toHaveLength(1);
        await append({ ...lift(3n, "B"), liftedAtMs: NOW_MS + 9_000 });
        expect((await world.records()).bans).toEqual([]);
        expect((await world.records()).lifts).toHaveLength(2);
      });

      test("bans that it does not repeat are told as lost, with their evidence", async () => {
        const evidenceJson = '{"type":"MINORITY_VOTE"}';
        await append(
          { ...ban(2n, "B", "OPINION"), evidenceJson },
          { ...ban(3n, "C", "OPINION"), evidenceJson },
          { ...ban(4n, "D", "OPINION"), evidenceJson },
        );
        expect(await log.lostBans()).toEqual([]);
        await restart();
        await append({ ...ban(2n, "B", "OPINION"), evidenceJson }, lift(4n, "D"));
        const lost = await log.lostBans();
        expect(lost.map(({ peerId }) => peerId)).toEqual([peer("C")]);
        expect(lost[0]).toMatchObject({
          nodeId: node("C"),
          reason: "MINORITY_VOTE",
          grade: "OPINION",
          bannedAtMs: NOW_MS + 3,
          evidence: { type: "MINORITY_VOTE" },
        });
      });

      test("a lift that it tells again ends no ban that came after it, and its older ban replaces none", async () => {
        const evidenceJson = '{"type":"MINORITY_VOTE"}';
        const told = (letter: string) => [ban(1n, letter, "OPINION"), lift(2n, letter)] as const;
        await append(...told("B"), ...told("C"), ...told("D"));
        await append(
          { ...ban(5n, "B", "PROOF"), evidenceJson },
          { ...ban(6n, "C", "OPINION"), evidenceJson },
          { ...ban(7n, "D", "PROOF"), evidenceJson },
        );
        await restart();
        // One by one, and in one batch.
        for (const row of [...told("B"), ...told("C")])
          await log.append(await log.position(), {
            revision: 1n,
            rows: [{ ...row, revision: 1n }],
          });
        await append(...told("D"));
        const lost = await log.lostBans();
        expect(lost.map(({ peerId, grade }) => [peerId, grade])).toEqual([
          [peer("B"), "PROOF"],
          [peer("C"), "OPINION"],
          [peer("D"), "PROOF"],
        ]);
        expect((await standing("B")).state.banned).toBe(true);
      });

      test("a lift that is new ends what was banned before it, and a PROOF only where that was struck", async () => {
        await append(
          ban(5n, "A", "OPINION"),
          ban(5n, "B", "OPINION"),
          ban(5n, "C", "PROOF"),
          ban(5n, "D", "PROOF"),
        );
        await restart();
        await append(lift(4n, "A"), lift(6n, "B"), lift(6n, "C"), lift(6n, "D", "UNPROVEN"));
        const { bans } = await world.records();
        expect(bans.map(({ peerId }) => peerId).sort()).toEqual([peer("A"), peer("C")]);
        expect((await standing("C")).state.banned).toBe(true);
      });

      test("in its present state, told at one revision, a ban stands beside the lift of one before", async () => {
        await append(ban(2n, "B", "OPINION"), lift(3n, "B"));
        await restart();
        await append(
          { ...lift(3n, "B"), revision: 9n },
          { ...ban(8n, "B", "PROOF"), revision: 9n },
        );
        await append(
          { ...lift(3n, "C"), revision: 9n },
          { ...ban(8n, "C", "PROOF"), revision: 9n },
        );
        expect((await world.records()).bans).toHaveLength(2);
      });

      test("what it decides later is recorded, with smaller revisions than before", async () => {
        await append(...before);
        await restart();
        await append(vote(2n, "tx-b", "A"), transaction(3n, "tx-b", "CONFIRMED", 8n));
        const { transactions } = await world.records();
        expect(transactions.map(({ txId, status }) => `${txId} ${status}`).sort()).toEqual([
          "tx-a CONFIRMED",
          "tx-b CONFIRMED",
        ]);
      });

      test("what was not decided follows it wherever it goes", async () => {
        await append(transaction(9n, "tx-a", "THRESHOLD_REACHED", 7n));
        await restart();
        await append(transaction(2n, "tx-a", "COLLECTING", 8n));
        expect((await world.records()).transactions[0]).toMatchObject({ status: "COLLECTING" });
      });

      test("a decision that it makes otherwise changes nothing and is kept as a contradiction, once", async () => {
        await append(...before);
        await restart();
        await append(transaction(3n, "tx-a", "ABORTED_BYZANTINE", 7n));
        await append(transaction(3n, "tx-a", "ABORTED_BYZANTINE", 7n));
        expect((await world.records()).transactions[0]).toMatchObject({ status: "CONFIRMED" });
        const found = await log.contradictions(10);
        expect(found).toMatchObject([{ kind: "transaction", txId: "tx-a", nodeId: null }]);
        expect(JSON.parse(found[0]?.recordedJson ?? "")).toMatchObject({ status: "CONFIRMED" });
        expect(JSON.parse(found[0]?.foundJson ?? "")).toMatchObject({
          status: "ABORTED_BYZANTINE",
        });
      });

      test("another vote of the same trustee is kept beside the first, as proof", async () => {
        await append(vote(4n, "tx-a", "C"));
        await restart();
        const other = { ...vote(2n, "tx-a", "C", 8n), proofJson: '{"leaf":"other"}' };
        await append(other);
        expect((await world.records()).votes).toMatchObject([{ value: 7n }]);
        const [found] = await log.contradictions(10);
        expect(found).toMatchObject({ kind: "vote", txId: "tx-a", nodeId: "node-c" });
        expect(JSON.parse(found?.foundJson ?? "")).toEqual({ leaf: "other" });
      });

      test("rows of a partial batch are recorded and the position stays", async () => {
        await append(vote(1n, "tx-a", "A"));
        const rows = [vote(5n, "tx-b", "A")];
        expect(await log.append(1n, { revision: 5n, rows, partial: true })).toBe("appended");
        expect(await log.position()).toBe(1n);
        expect((await world.records()).votes).toHaveLength(2);
      });
    });

    describe("rows", () => {
      test("each kind is recorded as given", async () => {
        const rows = [
          vote(1n, "tx-a", "A", 2n ** 64n - 1n),
          violation(2n, "tx-a", "B", "DOUBLE_VOTING"),
          ban(2n, "B", "PROOF"),
          transaction(3n, "tx-a", "THRESHOLD_REACHED"),
          lift(4n, "C"),
          receipt(5n, "A", 0),
        ] as const;
        await append(...rows);
        const records = await world.records();
        expect(records.votes).toEqual([rows[0]]);
        expect(records.violations).toEqual([rows[1]]);
        expect(records.bans).toEqual([rows[2]]);
        expect(records.transactions).toEqual([rows[3]]);
        expect(records.lifts).toEqual([rows[4]]);
        expect(records.receipts).toEqual([rows[5]]);
      });

      test("a peer that is no trustee has no node id", async () => {
        const outsider = { ...violation(1n, "tx-a", "C", "INVALID_SIGNATURE"), nodeId: null };
        await append(outsider, { ...ban(1n, "C", "PROOF"), nodeId: null });
        const records = await world.records();
        expect(records.violations[0]?.nodeId).toBeNull();
        expect(records.bans[0]?.nodeId).toBeNull();
      });

      test("rows that come again, as after a snapshot, add nothing", async () => {
        const rows = [
          vote(1n, "tx-a", "A"),
          vote(1n, "tx-a", "A"),
          violation(2n, "tx-a", "B", "SILENT_FAILURE"),
          violation(2n, "tx-a", "B", "SILENT_FAILURE"),
          transaction(2n, "tx-a", "PENDING"),
          ban(3n, "B", "OPINION"),
          lift(4n, "B"),
          lift(4n, "B"),
          receipt(5n, "A", 0),
          receipt(5n, "A", 0),
          transaction(6n, "tx-a", "SUBMITTED", 7n),
        ];
        await append(...rows);
        const before = await world.records();
        const known = await log.reputations();
        expect(before).toMatchObject({ lifts: [lift(4n, "B")], receipts: [receipt(5n, "A", 0)] });
        expect(await log.append(6n, { revision: 10n, rows })).toBe("appended");
        expect(await world.records()).toEqual(before);
        expect(await log.reputations()).toEqual(known);
        expect(await reputation("A")).toMatchObject({ totalVotes: 1 });
        expect(await reputation("B")).toMatchObject({ violationsCount: 1 });
      });

      test("a recorded vote is never replaced", async () => {
        await append(vote(1n, "tx-a", "A", 7n));
        await append(vote(2n, "tx-a", "A", 8n));
        expect((await world.records()).votes.map(({ value }) => value)).toEqual([7n]);
      });

      test("a transaction stands at its newest revision, in whatever order they come", async () => {
        await append(transaction(1n, "tx-a", "PENDING"), transaction(4n, "tx-a", "CONFIRMED"));
        await append(transaction(4n, "tx-b", "PENDING"));
        await log.append(4n, {
          revision: 6n,
          rows: [
            transaction(2n, "tx-a", "THRESHOLD_REACHED"),
            transaction(6n, "tx-b", "CONFIRMED"),
          ],
        });
        const { transactions } = await world.records();
        const statuses = new Map(transactions.map(({ txId, status }) => [txId, status]));
        expect(statuses.get(tx("tx-a"))).toBe("CONFIRMED");
        expect(statuses.get(tx("tx-b"))).toBe("CONFIRMED");
        expect(transactions).toHaveLength(2);
      });

      test("a newer ban replaces an older one, but an opinion never a proof", async () => {
        await append(ban(1n, "A", "OPINION", "SILENT_FAILURE"), ban(1n, "B", "OPINION"));
        await append(ban(2n, "A", "PROOF", "DOUBLE_VOTING"), ban(2n, "B", "OPINION", "again"));
        await append(ban(3n, "A", "OPINION", "MINORITY_VOTE"));
        const { bans } = await world.records();
        const reasons = new Map(bans.map(({ peerId, reason }) => [peerId, reason]));
        expect(reasons.get(peer("A"))).toBe("DOUBLE_VOTING");
        expect(reasons.get(peer("B"))).toBe("again");
      });
    });

    describe("lifts", () => {
      test("a lifted ban is no longer among the present ones, and its lift is kept", async () => {
        await append(ban(1n, "A", "OPINION"), ban(1n, "B", "OPINION"));
        await append(lift(2n, "A"));
        const { bans, lifts } = await world.records();
        expect(bans).toEqual([ban(1n, "B", "OPINION")]);
        expect(lifts).toEqual([lift(2n, "A")]);
      });

      test("a ban's row that comes again after its lift does not bring the ban back", async () => {
        await append(ban(1n, "A", "OPINION"));
        await append(lift(2n, "A"));
        await log.append(2n, { revision: 3n, rows: [ban(1n, "A", "OPINION")] });
        expect((await world.records()).bans).toEqual([]);
        expect(await standing("A")).toMatchObject({ state: { banned: false } });
      });

      test("a peer that is let in can be banned again, also with less than it was struck for", async () => {
        await append(ban(1n, "A", "PROOF", "DOUBLE_VOTING"));
        await append(lift(2n, "A", "UNPROVEN"), ban(3n, "A", "OPINION"), lift(2n, "B"));
        expect((await world.records()).bans).toEqual([ban(3n, "A", "OPINION")]);
        expect(await standing("A")).toMatchObject({ score: 0, state: { banned: true } });
      });

      test("in one batch the last of bans and lifts stands", async () => {
        await append(ban(1n, "A", "OPINION"), lift(2n, "A"));
        expect((await world.records()).bans).toEqual([]);
        await append(ban(3n, "A", "OPINION"), lift(4n, "A"), ban(5n, "A", "OPINION"));
        expect((await world.records()).bans).toEqual([ban(5n, "A", "OPINION")]);
        expect((await world.records()).lifts).toHaveLength(2);
      });
    });

    describe("receipts", () => {
      test("are unique by node, run and sequence", async () => {
        await append(receipt(1n, "A", 0), receipt(1n, "A", 1), receipt(1n, "B", 0));
        await append(receipt(2n, "A", 0));
        expect((await world.records()).receipts).toHaveLength(3);
      });

      test("are read page by page, the last recorded first, none twice and none left out", async () => {
        const all = Array.from({ length: 5 }, (_, i) => receipt(BigInt(i + 1), "A", i));
        await append(...all);
        const read: Receipt[] = [];
        let before: string | null = null;
        do {
          const page = await log.receipts({ before, limit: 2 });
          expect(page.receipts.length).toBeLessThanOrEqual(2);
          read.push(...page.receipts);
          before = page.next;
        } while (before !== null);
        expect(read).toEqual(all.map((row) => row.receipt).reverse());
      });
    });

    describe("violations of a peer", () => {
      test("are its own that are borne out, newest first, as many as asked for", async () => {
        await append(
          violation(1n, "tx-a", "A", "SILENT_FAILURE"),
          violation(2n, "tx-b", "A", "SILENT_FAILURE"),
          violation(3n, "tx-c", "A", "MINORITY_VOTE"),
          { ...violation(4n, "tx-d", "A", "MINORITY_VOTE"), borneOut: false },
          violation(4n, "tx-d", "B", "SILENT_FAILURE"),
        );
        expect(await log.violationsOf(peer("A"), 2)).toEqual([
          { txId: tx("tx-c"), type: "MINORITY_VOTE", detectedAtMs: NOW_MS + 3 },
          { txId: tx("tx-b"), type: "SILENT_FAILURE", detectedAtMs: NOW_MS + 2 },
        ]);
        expect(await log.violationsOf(peer("C"), 2)).toEqual([]);
      });
    });

    describe("what PostgreSQL's types can't hold", () => {
      test("does not stop history: times past the calendar, NUL and broken Unicode", async () => {
        const json = JSON.stringify({ text: "a\0b\uD800c", path: "C:\\u0000" });
        await append(
          { ...violation(1n, "tx-a", "A", "SILENT_FAILURE"), evidenceJson: json },
          { ...vote(1n, "tx-a", "A"), issuedAtMs: 8_640_000_000_000_000, proofJson: json },
          { ...ban(1n, "A", "OPINION"), evidenceJson: json, reason: "a\0b" },
          { ...lift(2n, "A"), by: "a\0b", reason: "\0", liftedAtMs: -8_640_000_000_000_000 },
        );
        const records = await world.records();
        const counts = Object.values(records).map((list) => list.length);
        // Votes, violations, bans (lifted), lifts, receipts, transactions, reputations.
        expect(counts).toEqual([1, 1, 0, 1, 0, 0, 1]);
        const { path } = JSON.parse(records.violations[0]?.evidenceJson ?? "{}") as {
          path: string;
        };
        expect(path).toBe("C:\\u0000");
      });
    });

    describe("reputation", () => {
      test("votes are counted, and the newest tells when a peer was last seen", async () => {
        await append(vote(3n, "tx-b", "A"), vote(1n, "tx-a", "A"), vote(2n, "tx-a", "B"));
        await append(vote(4n, "tx-c", "A"));
        expect(await reputation("A")).toEqual({
          peerId: peer("A"),
          score: 1,
          totalVotes: 3,
          violationsCount: 0,
          lastSeenMs: NOW_MS + 4,
        });
      });

      test.each(["DOUBLE_VOTING", "INVALID_SIGNATURE"] as const)(
        "%s is proof and takes the whole score",
        async (type) => {
          await append(vote(1n, "tx-a", "A"), violation(2n, "tx-a", "A", type));
          expect(await reputation("A")).toMatchObject({ score: 0, violationsCount: 1 });
        },
      );

      test("a minority vote halves the score, and with a ban takes it whole", async () => {
        await append(
          violation(1n, "tx-a", "A", "MINORITY_VOTE"),
          violation(1n, "tx-a", "B", "MINORITY_VOTE"),
          ban(1n, "B", "OPINION"),
        );
        expect((await reputation("A"))?.score).toBeCloseTo(0.5);
        expect((await reputation("B"))?.score).toBe(0);
      });

      test("each silence takes a tenth, and never more than there is", async () => {
        const silences = Array.from({ length: 12 }, (_, index) =>
          violation(BigInt(index + 1), `tx-${index}`, "A", "SILENT_FAILURE"),
        );
        await append(...silences.slice(0, 3));
        expect((await reputation("A"))?.score).toBeCloseTo(0.7);
        await append(...silences.slice(3));
        expect(await reputation("A")).toMatchObject({ score: 0, violationsCount: 12 });
      });

      test("how changes are cut into batches does not change the score", async () => {
        const types = [
          "SILENT_FAILURE",
          "MINORITY_VOTE",
          "SILENT_FAILURE",
          "SILENT_FAILURE",
          "MINORITY_VOTE",
        ] as const;
        const rowsOf = (letter: string) =>
          types.map((type, index) => violation(BigInt(index + 1), `tx-${index}`, letter, type));
        await append(...rowsOf("A"), ...rowsOf("B").slice(0, 2));
        await append(...rowsOf("B").slice(2, 3), vote(6n, "tx-z", "B"));
        await append(...rowsOf("B").slice(3), vote(7n, "tx-y", "A"));
        // (1 - 0.1) / 2 = 0.45; - 0.1 - 0.1 = 0.25; / 2 = 0.125.
        expect((await reputation("A"))?.score).toBeCloseTo(0.125, 6);
        expect((await reputation("B"))?.score).toBe((await reputation("A"))?.score);
      });

      test("a score that reached zero by silence recovers with time, one by proof never", async () => {
        await append(
          ...Array.from({ length: 12 }, (_, i) =>
            violation(BigInt(i + 1), `tx-${i}`, "A", "SILENT_FAILURE"),
          ),
          violation(1n, "tx-a", "B", "DOUBLE_VOTING"),
        );
        const laterMs = NOW_MS + REPUTATION.halfLifeMs;
        expect((await standing("A", laterMs)).score).toBeCloseTo(0.5, 3);
        expect((await standing("B", 100 * laterMs)).score).toBe(0);
      });

      test("while a ban stands the score is 0; after an operator's lift it is a half", async () => {
        await append(violation(1n, "tx-a", "A", "MINORITY_VOTE"), ban(1n, "A", "OPINION"));
        expect(await standing("A")).toMatchObject({ score: 0, state: { banned: true } });
        await append(lift(2n, "A"));
        const after = await standing("A", NOW_MS + 2);
        expect(after).toMatchObject({ score: REPUTATION.liftedScore, state: { banned: false } });
        expect(isBelowBound(after.state, NOW_MS + 2)).toBe(false);
      });

      test("after a struck ban the score is what it was before", async () => {
        await append(violation(1n, "tx-a", "A", "SILENT_FAILURE"), ban(2n, "A", "PROOF"));
        await append(lift(3n, "A", "UNPROVEN"));
        expect((await standing("A", NOW_MS + 3)).score).toBeCloseTo(0.9, 6);
        expect((await standing("A")).state.proven).toBe(false);
      });

      test("what is not borne out lowers nobody's score", async () => {
        const forged = (["DOUBLE_VOTING", "MINORITY_VOTE"] as const).map((type) => ({
          ...violation(1n, "tx-a", "A", type),
          borneOut: false,
        }));
        await append(...forged);
        expect(await standing("A")).toMatchObject({ score: 1, violationsCount: 0 });
        expect((await world.records()).violations).toHaveLength(2);
      });

      test("a decided transaction makes up for a hundredth, for each that voted the decided value by then", async () => {
        const blame = ["A", "B", "C", "D"].map((letter) =>
          violation(1n, "tx-z", letter, "MINORITY_VOTE"),
        );
        await append(
          ...blame,
          vote(2n, "tx-a", "A", 7n),
          vote(2n, "tx-a", "B", 8n),
          // Later than the decision, in the same batch: it does not count.
          vote(5n, "tx-a", "C", 7n),
          transaction(2n, "tx-a", "COLLECTING", 7n),
          transaction(4n, "tx-a", "SUBMITTED", 7n),
          transaction(6n, "tx-a", "CONFIRMED", 7n),
        );
        await append(
          transaction(7n, "tx-a", "CONFIRMED", 7n),
          transaction(7n, "tx-b", "SUBMITTED"),
        );
        await append(vote(8n, "tx-a", "D", 7n));
        await append(transaction(9n, "tx-a", "CONFIRMED", 7n));
        const penalties = (await log.reputations()).map(({ state }) => state.penalty);
        expect(penalties).toEqual([0.5 * REPUTATION.goodConductFactor, 0.5, 0.5, 0.5]);
      });

      test("an aborted transaction makes up for nothing", async () => {
        await append(violation(1n, "tx-z", "A", "MINORITY_VOTE"), vote(2n, "tx-a", "A", 7n));
        await append(transaction(3n, "tx-a", "ABORTED_BYZANTINE", 7n));
        expect((await standing("A")).state.penalty).toBe(0.5);
      });

      test("how any history is cut into batches changes no state at all", async () => {
        const rowsOf = (letter: string): AuditBatch["rows"] => [
          violation(1n, `${letter}-1`, letter, "SILENT_FAILURE"),
          vote(2n, `${letter}-2`, letter, 7n),
          transaction(3n, `${letter}-2`, "SUBMITTED", 7n),
          violation(3n, `${letter}-3`, letter, "MINORITY_VOTE"),
          vote(4n, `${letter}-4`, letter, 7n),
          ban(4n, letter, "OPINION"),
          violation(5n, `${letter}-5`, letter, "SILENT_FAILURE"),
          lift(6n, letter),
          transaction(6n, `${letter}-4`, "CONFIRMED", 7n),
          violation(7n, `${letter}-6`, letter, "SILENT_FAILURE"),
        ];
        const until = (rows: AuditBatch["rows"], from: bigint, to: bigint) =>
          rows.filter(({ revision }) => revision > from && revision <= to);
        // B's rows come one revision at a time, C's in two batches, A's all at once (in the last).
        for (let revision = 1n; revision <= 7n; revision++)
          await append(
            ...until(rowsOf("B"), revision - 1n, revision),
            ...(revision === 4n ? until(rowsOf("C"), 0n, 4n) : []),
            ...(revision === 7n
              ? [...until(rowsOf("C"), 4n, 7n), ...rowsOf("A").toReversed()]
              : []),
          );
        const [a, b, c] = (await log.reputations()).map(({ state }) => state);
        expect(a).toEqual(b);
        expect(c).toEqual(b);
        expect(b?.banned).toBe(false);
        expect(b?.penalty).toBeGreaterThan(0.5);
      });

      test("when a peer was last seen does not depend on how changes are cut either", async () => {
        const old = (letter: string) => ({
          ...vote(3n, `${letter}-v`, letter),
          issuedAtMs: NOW_MS - 9,
        });
        const rowsOf = (letter: string) => [
          violation(2n, `${letter}-b`, letter, "SILENT_FAILURE"),
          { ...violation(2n, `${letter}-a`, letter, "SILENT_FAILURE"), detectedAtMs: NOW_MS - 5 },
        ];
        await append(...rowsOf("A"), old("A"), ...rowsOf("C"));
        for (const row of [...rowsOf("B"), old("B"), ...rowsOf("D")])
          await log.append(await log.position(), { revision: 9n, rows: [row] });
        const seen = (await log.reputations()).map(({ lastSeenMs }) => lastSeenMs - NOW_MS);
        expect(seen).toEqual([-9, -9, -5, -5]);
      });

      test("rows tell who it is, and what is known of them", async () => {
        await append(vote(3n, "tx-b", "B"), violation(4n, "tx-c", "A", "SILENT_FAILURE"));
        expect(await log.reputations()).toEqual([
          {
            peerId: peer("A"),
            nodeId: node("A"),
            state: { penalty: 0.1, penaltyAtMs: NOW_MS + 4, proven: false, banned: false },
            totalVotes: 0,
            violationsCount: 1,
            lastSeenMs: NOW_MS + 4,
          },
          {
            peerId: peer("B"),
            nodeId: node("B"),
            state: { penalty: 0, penaltyAtMs: 0, proven: false, banned: false },
            totalVotes: 1,
            violationsCount: 0,
            lastSeenMs: NOW_MS + 3,
          },
        ]);
      });
    });
  });
}

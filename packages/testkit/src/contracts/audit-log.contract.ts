import {
  type NodeId,
  type PeerId,
  parseEpoch,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
  type TxId,
  unwrap,
  type ViolationType,
} from "@quorate/core";
import type {
  AuditBatch,
  AuditLog,
  BanRow,
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
    revision,
  };
}

function transaction(revision: bigint, name: string, status: string): Recorded<TransactionRow> {
  return {
    kind: "transaction",
    txId: tx(name),
    status,
    reason: null,
    value: status === "PENDING" ? null : unwrap(parseValue(2n ** 64n - 1n)),
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

    describe("rows", () => {
      test("each kind is recorded as given", async () => {
        const rows = [
          vote(1n, "tx-a", "A", 2n ** 64n - 1n),
          violation(2n, "tx-a", "B", "DOUBLE_VOTING"),
          ban(2n, "B", "PROOF"),
          transaction(3n, "tx-a", "THRESHOLD_REACHED"),
        ] as const;
        await append(...rows);
        const records = await world.records();
        expect(records.votes).toEqual([rows[0]]);
        expect(records.violations).toEqual([rows[1]]);
        expect(records.bans).toEqual([rows[2]]);
        expect(records.transactions).toEqual([rows[3]]);
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
        ];
        await append(...rows);
        const before = await world.records();
        expect(await log.append(2n, { revision: 10n, rows })).toBe("appended");
        expect(await world.records()).toEqual(before);
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
        expect((await reputation("A"))?.score).toBeCloseTo(0.125, 10);
        expect((await reputation("B"))?.score).toBeCloseTo(0.125, 10);
      });

      test("a score that reached zero does not rise again", async () => {
        await append(ban(1n, "A", "OPINION"));
        await append(vote(2n, "tx-a", "A"), violation(3n, "tx-a", "A", "SILENT_FAILURE"));
        expect(await reputation("A")).toMatchObject({ score: 0, totalVotes: 1 });
      });
    });
  });
}

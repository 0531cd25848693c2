import {
  LIMITS,
  makeTrusteeSet,
  type PeerId,
  parseEpoch,
  REPUTATION,
  type Trustee,
  unwrap,
  type ViolationType,
} from "@quorate/core";
import type { AuditRow } from "@quorate/ports";
import {
  createMemoryAuditLog,
  type MemoryAuditLog,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  SharedTally,
  SimClock,
  testCluster,
} from "@quorate/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { submitterMetrics } from "./catalogue.ts";
import { ReputationKeeper } from "./reputation-keeper.ts";
import { tx } from "./test-world.ts";

const cluster = testCluster({ trustees: 5, threshold: 3 });
const { set } = cluster;

let clock: SimClock;
let store: MemoryTallyStore;
let audit: MemoryAuditLog;
let keeper: ReputationKeeper;
let revision: bigint;
let away: boolean;
let metrics = memoryMetrics();
let logger = memoryLogger();

beforeEach(async () => {
  clock = new SimClock();
  store = new MemoryTallyStore(new SharedTally({ clock }), { clock });
  await store.initCluster(set);
  away = false;
  audit = createMemoryAuditLog({
    faults: {
      before: () => {
        if (away) throw new Error("PostgreSQL is away");
      },
    },
  });
  metrics = memoryMetrics();
  logger = memoryLogger();
  revision = 0n;
  keeper = newKeeper();
  return () => store.stop();
});

function newKeeper(): ReputationKeeper {
  const dependencies = { store, audit, clock, logger };
  return new ReputationKeeper({ ...dependencies, metrics: submitterMetrics(metrics) });
}

async function record(row: AuditRow): Promise<void> {
  const expected = await audit.position();
  revision += 1n;
  await audit.append(expected, { revision, rows: [{ ...row, revision }] });
}

/** Violations of a trustee, now, each in a transaction of its own. */
async function blame(index: number, times: number, type: ViolationType): Promise<void> {
  const { nodeId, peerId } = nodeAt(cluster, index);
  for (let i = 0; i < times; i++) {
    await record({
      kind: "violation",
      txId: tx(`tx-${revision}`),
      peerId,
      nodeId,
      type,
      grade: type === "DOUBLE_VOTING" ? "PROOF" : "OPINION",
      evidenceJson: "{}",
      detectedAtMs: clock.nowMs(),
      borneOut: true,
    });
  }
}

const gauge = (index: number): number | null =>
  metrics.value("peer_reputation", { node: nodeAt(cluster, index).nodeId });
const peer = (index: number): PeerId => nodeAt(cluster, index).peerId;
const bannedPeers = async (): Promise<readonly PeerId[]> => [
  ...(await store.readBans()).bans.keys(),
];
const errors = (): number => logger.records.filter(({ level }) => level === "error").length;

describe("scores", () => {
  test("every trustee has one from the start, and it falls and recovers", async () => {
    await blame(1, 2, "SILENT_FAILURE");
    await keeper.review();
    expect([0, 1, 2, 3, 4].map(gauge)).toEqual([1, 0.8, 1, 1, 1]);
    await clock.advance(REPUTATION.halfLifeMs);
    await keeper.review();
    expect(gauge(1)).toBeCloseTo(0.9, 6);
  });

  test("of who is no trustee there is none, whatever history says of it", async () => {
    const stranger = nodeAt(testCluster({ trustees: 1, threshold: 1, seed: 9 }), 0);
    const { peerId } = stranger;
    for (let i = 0; i < 9; i++)
      await record({
        kind: "violation",
        txId: tx(`s-${i}`),
        peerId,
        nodeId: null,
        type: "SILENT_FAILURE",
        grade: "OPINION",
        evidenceJson: "{}",
        detectedAtMs: clock.nowMs(),
        borneOut: true,
      });
    await keeper.review();
    expect(await bannedPeers()).toEqual([]);
    expect([0, 1, 2, 3, 4].map(gauge)).toEqual([1, 1, 1, 1, 1]);
  });

  test("who has left the trustees keeps its label, and is not banned any more", async () => {
    const { epochVersion } = await store.readConfig();
    const trustees: readonly Trustee[] = set.trustees.slice(0, 4);
    const epoch = unwrap(parseEpoch(2));
    const next = unwrap(makeTrusteeSet({ ...set, epoch, trustees }));
    expect(await store.changeTrustees(next, epochVersion)).toBe("changed");
    await blame(4, 9, "SILENT_FAILURE");
    await keeper.review();
    expect(gauge(4)).toBeCloseTo(0.1, 6);
    expect(await bannedPeers()).toEqual([]);
  });
});

describe("a ban for a low score", () => {
  test("comes below the bound, once, with the newest violations as its evidence", async () => {
    await blame(1, 7, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toEqual([]);
    await blame(1, LIMITS.reputationViolationsMax, "SILENT_FAILURE");
    await keeper.review();
    await keeper.review();
    const ban = (await store.readBans()).bans.get(peer(1));
    expect(ban).toMatchObject({
      nodeId: nodeAt(cluster, 1).nodeId,
      reason: "LOW_REPUTATION",
      grade: "OPINION",
      bannedAtMs: clock.nowMs(),
      evidence: { type: "LOW_REPUTATION", score: 0, bound: REPUTATION.banBelow },
    });
    const violations = ban?.evidence.type === "LOW_REPUTATION" ? ban.evidence.violations : [];
    expect(violations).toHaveLength(LIMITS.reputationViolationsMax);
    expect(violations[0]).toEqual({
      txId: tx(`tx-${revision - 1n}`),
      type: "SILENT_FAILURE",
      detectedAtMs: clock.nowMs(),
    });
    expect(metrics.value("reputation_bans_total")).toBe(1);
    expect(await bannedPeers()).toEqual([peer(1)]);
  });

  test("of N−t trustees at once is carried out", async () => {
    for (const index of [0, 1]) await blame(index, 9, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toEqual([peer(0), peer(1)]);
    expect(metrics.value("reputation_bans_withheld")).toBe(0);
  });

  test("of more than N−t trustees is withheld, said once as an error, and counted", async () => {
    for (const index of [0, 1, 2]) await blame(index, 9, "SILENT_FAILURE");
    await keeper.review();
    await keeper.review();
    expect(await bannedPeers()).toEqual([]);
    expect(metrics.value("reputation_bans_withheld")).toBe(3);
    expect(errors()).toBe(1);
    // Two of them recover enough: the third is then no outage.
    await clock.advance(REPUTATION.halfLifeMs);
    await blame(0, 9, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toEqual([peer(0)]);
    expect(metrics.value("reputation_bans_withheld")).toBe(0);
  });

  test("counts who is out already, for whatever reason: the cluster must be able to decide", async () => {
    for (const index of [3, 4]) {
      const { nodeId, peerId } = nodeAt(cluster, index);
      const evidence = {
        type: "SILENT_FAILURE",
        nodeId,
        openedAtMs: 0,
        deadlineAtMs: 1,
        voted: [],
      };
      await store.recordBan({
        peerId,
        nodeId,
        reason: "SILENT_FAILURE",
        grade: "OPINION",
        bannedAtMs: 0,
        evidence: { ...evidence, type: "SILENT_FAILURE" },
      });
    }
    await blame(0, 9, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toHaveLength(2);
    expect(metrics.value("reputation_bans_withheld")).toBe(1);
  });

  test("is not repeated on a trustee that was let in after the last row of history", async () => {
    await blame(1, 9, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toEqual([peer(1)]);
    await clock.advance(1_000);
    const lift = {
      peerId: peer(1),
      nodeId: nodeAt(cluster, 1).nodeId,
      kind: "OPERATOR",
      by: "ada",
      reason: "its disk was replaced",
      liftedAtMs: clock.nowMs(),
      banReason: "LOW_REPUTATION",
    } as const;
    expect(await store.liftBan(lift)).toBe("lifted");
    // History knows neither of the ban nor of its end yet.
    await keeper.review();
    expect(await bannedPeers()).toEqual([]);
    await record({ ...lift, kind: "lift", liftKind: "OPERATOR" });
    await blame(1, 2, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toEqual([]);
    await blame(1, 1, "SILENT_FAILURE");
    await keeper.review();
    expect(await bannedPeers()).toEqual([peer(1)]);
  });

  test("follows a proof whose own ban somebody has removed", async () => {
    await blame(2, 1, "DOUBLE_VOTING");
    await keeper.review();
    expect(await bannedPeers()).toEqual([peer(2)]);
  });
});

test("while a server is away it waits, and then goes on", async () => {
  const stop = new AbortController();
  away = true;
  const running = keeper.run({ signal: stop.signal });
  await clock.advance(20_000);
  expect(gauge(1)).toBeNull();
  away = false;
  await blame(1, 9, "SILENT_FAILURE");
  await clock.advance(20_000);
  expect(await bannedPeers()).toEqual([peer(1)]);
  stop.abort(new Error("the test is over"));
  await clock.advance(1);
  await running;
});

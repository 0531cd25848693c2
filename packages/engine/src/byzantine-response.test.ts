import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  doubleVotingEvidence,
  type Evidence,
  emptySnapshot,
  encodeFrame,
  onlySet,
  type PeerId,
} from "@quorate/core";
import type { BanEntry, ChangeSet } from "@quorate/ports";
import {
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  SharedTally,
  SimClock,
  signedEnvelope,
  signedFrame,
  tamper,
  testCluster,
  txIdOf,
  vote,
} from "@quorate/testkit";
import { describe, expect, test } from "vitest";
import { judgeBan } from "./ban-court.ts";
import { ByzantineResponse } from "./byzantine-response.ts";
import { nodeMetrics } from "./catalogue.ts";
import { TallyView } from "./tally-view.ts";

const cluster = testCluster({ trustees: 5, threshold: 4 });
const sets = onlySet(cluster.set);

const banOf = (index: number, evidence: Evidence, change: Partial<BanEntry> = {}): BanEntry => {
  const { peerId, nodeId } = nodeAt(cluster, index);
  const proof = evidence.type === "DOUBLE_VOTING" || evidence.type === "INVALID_SIGNATURE";
  const grade = proof ? "PROOF" : "OPINION";
  return { peerId, nodeId, reason: evidence.type, grade, bannedAtMs: 5, evidence, ...change };
};

const double = doubleVotingEvidence(vote(cluster, 1, "tx", 7), vote(cluster, 1, "tx", 8));

/** The evidence of a real minority vote by trustee 4. */
function minority(): Evidence {
  const votes = [0, 1, 2, 3].map((by) => vote(cluster, by, "tx", 7));
  const { writes } = decide(
    emptySnapshot(txIdOf("tx")),
    { votes: [...votes, vote(cluster, 4, "tx", 8)], nowMs: 1, deadlinePassed: false },
    {
      set: cluster.set,
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks: new Map(),
      verify: cluster.verify,
    },
  );
  const evidence = writes?.violations[0]?.evidence;
  if (evidence === undefined) throw new Error("trustee 4 is convicted");
  return evidence;
}

const badSignature = (by: number): Evidence => {
  const frame = encodeFrame(signedFrame(cluster, 0, [{ txId: "tx", value: 7 }]));
  return { type: "INVALID_SIGNATURE", envelope: signedEnvelope(cluster, by, tamper(frame, 5)) };
};

const judge = (ban: BanEntry): string => judgeBan(ban, sets, cluster.verify).kind;

describe("a ban's own evidence", () => {
  test("bears out what the rules and the gossip door convict for", () => {
    expect(judge(banOf(1, double))).toBe("borne-out");
    expect(judge(banOf(4, minority()))).toBe("borne-out");
    expect(judge(banOf(2, badSignature(2)))).toBe("borne-out");
  });

  test("against another peer, of another kind or of another grade is none", () => {
    expect(judge(banOf(2, double))).toBe("unproven");
    expect(judge(banOf(0, badSignature(2)))).toBe("unproven");
    expect(judge(banOf(1, double, { reason: "MINORITY_VOTE" }))).toBe("unproven");
    expect(judge(banOf(1, double, { reason: "INVALID_SIGNATURE" }))).toBe("unproven");
    expect(judge(banOf(4, minority(), { grade: "PROOF" }))).toBe("unproven");
    const silence = {
      type: "SILENT_FAILURE",
      nodeId: "node-002",
      openedAtMs: 0,
      deadlineAtMs: 1,
      voted: [],
    } as const;
    expect(judge(banOf(1, silence, { grade: "PROOF" }))).toBe("unproven");
  });

  test("made of one vote, of a forged vote or of a sound message is none", () => {
    if (double.type !== "DOUBLE_VOTING") throw new Error("it is a double vote");
    expect(judge(banOf(1, { ...double, second: double.first }))).toBe("unproven");
    const forged = { ...double.second, value: "9" };
    expect(judge(banOf(1, { ...double, second: forged }))).toBe("unproven");
    const sound = encodeFrame(signedFrame(cluster, 0, [{ txId: "tx", value: 7 }]));
    const envelope = signedEnvelope(cluster, 2, sound);
    expect(judge(banOf(2, { type: "INVALID_SIGNATURE", envelope }))).toBe("unproven");
  });

  test("of an epoch that is not kept is not judged, and so stands", () => {
    const other = testCluster({ trustees: 5, threshold: 4, epoch: 9 });
    const old = doubleVotingEvidence(vote(other, 1, "tx", 7), vote(other, 1, "tx", 8));
    expect(judge(banOf(1, old))).toBe("not-judged");
  });
});

class Respondent {
  readonly clock = new SimClock();
  readonly shared = new SharedTally({ clock: this.clock });
  readonly store = new MemoryTallyStore(this.shared, { clock: this.clock });
  readonly view = new TallyView();
  readonly logger = memoryLogger();
  readonly metrics = memoryMetrics();
  readonly shutOut: PeerId[] = [];
  readonly response = new ByzantineResponse({
    nodeId: nodeAt(cluster, 0).nodeId,
    store: this.store,
    gossip: {
      localPeerId: nodeAt(cluster, 0).peerId,
      ban: (peer) => void this.shutOut.push(peer),
      unban: () => {},
    },
    view: this.view,
    clock: this.clock,
    logger: this.logger,
    metrics: nodeMetrics(this.metrics),
    sets: () => sets,
    verify: cluster.verify,
    signal: new AbortController().signal,
  });
}

describe("bans that somebody forged into the tally", () => {
  test("count for nothing, are struck, and the strike says why and by whom", async () => {
    const node = new Respondent();
    await node.store.initCluster(cluster.set);
    const forged = banOf(2, double);
    await node.store.recordBan(forged);
    const { bans, versions } = await node.store.readBans();
    expect([...node.response.siftBans(bans, versions)]).toEqual([]);
    await node.clock.advance(10);
    expect((await node.store.readBans()).bans.size).toBe(0);
    expect(await node.store.readLifts()).toMatchObject([
      { peerId: forged.peerId, kind: "UNPROVEN", by: "node-001", banReason: "DOUBLE_VOTING" },
    ]);
    expect(node.metrics.value("bans_struck_total")).toBe(1);
    expect(node.logger.records.some((e) => e.level === "error")).toBe(true);
  });

  test("are left out of the stream while everything else of the revision counts", () => {
    const node = new Respondent();
    const status = {
      kind: "status",
      txId: txIdOf("tx"),
      status: "COLLECTING",
      created: true,
    } as const;
    const real = banOf(1, double);
    const forged = banOf(2, double);
    const set: ChangeSet = {
      revision: 3n,
      changes: [
        status,
        { kind: "ban", peerId: real.peerId, ban: real },
        { kind: "ban", peerId: forged.peerId, ban: forged },
        { kind: "ban", peerId: nodeAt(cluster, 3).peerId, ban: null },
      ],
    };
    expect(node.response.sift(set).changes).toEqual([
      set.changes[0],
      set.changes[1],
      set.changes[3],
    ]);
  });

  test("a proof that has come meanwhile is not struck with the forgery before it", async () => {
    const node = new Respondent();
    await node.store.initCluster(cluster.set);
    await node.store.recordBan(banOf(2, double));
    const { bans, versions } = await node.store.readBans();
    const evidence = badSignature(2);
    const entry = banOf(2, evidence);
    const { peerId, nodeId, grade } = entry;
    await node.store.liftBan({
      peerId,
      nodeId,
      kind: "OPERATOR",
      by: "op",
      reason: "r",
      liftedAtMs: 1,
      banReason: null,
    });
    await node.store.strikeBan(
      { peerId, nodeId, kind: "UNPROVEN", by: "op", reason: "r", liftedAtMs: 2, banReason: null },
      versions.get(peerId) ?? 0n,
    );
    await node.store.recordViolation({
      violation: {
        peerId,
        nodeId,
        grade,
        evidence,
        txId: txIdOf("tx"),
        type: "INVALID_SIGNATURE",
        detectedAtMs: 5,
      },
      ban: entry,
    });
    node.response.siftBans(bans, versions);
    await node.clock.advance(10_000);
    expect((await node.store.readBans()).bans.get(peerId)?.grade).toBe("PROOF");
  });
});

test("a ban is in force on this node when the call returns, and its delay is measured", () => {
  const node = new Respondent();
  const ban = banOf(1, double);
  node.response.enforce(ban, node.clock.monotonicMs());
  expect(node.shutOut).toEqual([ban.peerId]);
  expect(node.view.bans.get(ban.peerId)).toBe("PROOF");
  expect(node.metrics.observations("ban_enforcement_seconds")).toEqual([0]);
});

test("a node that is banned itself does not shut itself out", () => {
  const node = new Respondent();
  node.response.shutOut(nodeAt(cluster, 0).peerId, "DOUBLE_VOTING");
  expect(node.shutOut).toEqual([]);
});

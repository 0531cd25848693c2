import {
  concatBytes,
  DEFAULT_PROTOCOL_CONFIG,
  encodeFrame,
  LIMITS,
  onlySet,
  type TxRecord,
  type VerifiedVote,
  verifyEvidence,
} from "@quorate/core";
import type { GossipMessage, StandaloneViolation } from "@quorate/ports";
import {
  MemoryNetwork,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  nodeEd25519,
  SimClock,
  signedFrame,
  type TestCluster,
  tamper,
  testCluster,
  txIdOf,
} from "@quorate/testkit";
import { describe, expect, test } from "vitest";
import { Admission, type AdmissionReason } from "./admission.ts";
import { nodeMetrics } from "./catalogue.ts";
import type { Refusal } from "./refusal.ts";
import { TallyView } from "./tally-view.ts";

const cluster = testCluster({ trustees: 5, threshold: 4 });
// The last two of it are no trustees of `cluster`, which has the first five of the same keys.
const wider = testCluster({ trustees: 7, threshold: 5 });

const recordOf = ({ set }: TestCluster): TxRecord => ({
  ...DEFAULT_PROTOCOL_CONFIG,
  epoch: set.epoch,
  excluded: [],
  openedAtMs: 0,
  deadlineAtMs: 1,
  value: null,
  unanimous: false,
  thresholdAtMs: null,
  reason: null,
  offenders: [],
  absent: null,
  chain: null,
});

class Door {
  readonly clock = new SimClock();
  readonly view = new TallyView();
  readonly metrics = memoryMetrics();
  readonly offered: VerifiedVote[] = [];
  readonly blamed: StandaloneViolation[] = [];
  verifications = 0;
  full = false;
  readonly receipts: Refusal[] = [];
  readonly held: VerifiedVote[] = [];
  readonly sets = new Map([[cluster.set.epoch, cluster.set]]);
  authors = new Set(cluster.set.byPeerId.keys());
  readonly #network = new MemoryNetwork({ clock: this.clock });
  readonly #admission = new Admission({
    deadlineMs: DEFAULT_PROTOCOL_CONFIG.deadlineMs,
    isAuthor: (peer) => this.authors.has(peer),
    sets: () => this.sets,
    receipts: { refuse: (refusal) => this.receipts.push(refusal) },
    onRefusedVote: (vote) => void this.held.push(vote),
    view: this.view,
    ed25519: {
      verify: (key, message, signature) => {
        this.verifications++;
        return nodeEd25519.verify(key, message, signature);
      },
    },
    clock: this.clock,
    logger: memoryLogger(),
    metrics: nodeMetrics(this.metrics),
    offer: (vote) => {
      if (this.full) return false;
      this.offered.push(vote);
      return true;
    },
    onBadSignature: (entry) => void this.blamed.push(entry),
  });

  /** Publishes bytes as one node, forwarded by another; each time under a new sequence number. */
  hear(author: number, data: Uint8Array, forwarder = 4): string {
    const node = nodeAt(wider, author);
    const envelope = this.#network.seal(node, data);
    const message: GossipMessage = {
      topic: envelope.topic,
      data,
      author: node.peerId,
      forwarder: nodeAt(wider, forwarder).peerId,
      envelope,
    };
    return this.#admission.validate(message);
  }

  frame(by: number, txId: string, value = 7, from: TestCluster = cluster): Uint8Array {
    const issuedAtMs = this.clock.nowMs();
    return encodeFrame(signedFrame(from, by, [{ txId, value, issuedAtMs }]));
  }

  seeView(...txIds: string[]): void {
    this.#admission.onView(txIds.map(txIdOf));
  }

  refused(reason: AdmissionReason): number {
    return this.metrics.value("votes_rejected_total", { reason }) ?? 0;
  }

  ban(node: number, grade: "PROOF" | "OPINION" = "PROOF"): void {
    const { peerId, nodeId } = nodeAt(wider, node);
    const reason = grade === "PROOF" ? "DOUBLE_VOTING" : "MINORITY_VOTE";
    const evidence = { type: "SILENT_FAILURE", nodeId, openedAtMs: 0, deadlineAtMs: 1, voted: [] };
    this.view.noteBan({
      peerId,
      nodeId,
      reason,
      grade,
      bannedAtMs: 0,
      evidence: { ...evidence, type: "SILENT_FAILURE" },
    });
  }
}

describe("what is let in", () => {
  test("a trustee's votes are verified once for the frame, and taken all", () => {
    const door = new Door();
    const issuedAtMs = door.clock.nowMs();
    const specs = ["a", "b", "c"].map((txId) => ({ txId, value: 7, issuedAtMs }));
    expect(door.hear(0, encodeFrame(signedFrame(cluster, 0, specs)))).toBe("ACCEPT");
    expect(door.offered.map((v) => v.vote.txId)).toEqual(["a", "b", "c"]);
    expect(door.verifications).toBe(1);
    expect(door.metrics.value("votes_received_total", { source: "gossip" })).toBe(3);
  });

  test("another's votes, replayed unchanged, count as theirs, and nobody is blamed", () => {
    const door = new Door();
    expect(door.hear(1, door.frame(0, "a"), 2)).toBe("ACCEPT");
    expect(door.offered.map((v) => v.peerId)).toEqual([nodeAt(cluster, 0).peerId]);
    expect(door.blamed).toEqual([]);
  });

  test("the same votes under a new sequence number are recognised by their content", () => {
    const door = new Door();
    const frame = door.frame(0, "a");
    expect(door.hear(0, frame)).toBe("ACCEPT");
    expect(door.hear(0, frame)).toBe("IGNORE");
    expect(door.hear(3, frame)).toBe("IGNORE");
    expect(door.refused("duplicate")).toBe(2);
    expect([door.verifications, door.offered.length]).toEqual([1, 1]);
  });

  test("a frame that is new in part is let in", () => {
    const door = new Door();
    const issuedAtMs = door.clock.nowMs();
    const spec = (txId: string) => ({ txId, value: 7, issuedAtMs });
    door.hear(0, encodeFrame(signedFrame(cluster, 0, [spec("a")])));
    expect(door.hear(0, encodeFrame(signedFrame(cluster, 0, [spec("a"), spec("b")])))).toBe(
      "ACCEPT",
    );
    expect(door.offered.map((v) => v.vote.txId)).toContain("b");
  });

  test("what a full queue refused may come again", () => {
    const door = new Door();
    const frame = door.frame(0, "a");
    door.full = true;
    expect(door.hear(0, frame)).toBe("IGNORE");
    expect(door.refused("queue_full")).toBe(1);
    door.full = false;
    expect(door.hear(0, frame)).toBe("ACCEPT");
    expect(door.offered).toHaveLength(1);
  });
});

describe("what is refused, and at what cost", () => {
  test("who is no trustee is ignored, even with a trustee's valid vote", () => {
    const door = new Door();
    expect(door.hear(6, door.frame(0, "a"))).toBe("IGNORE");
    expect(door.hear(6, Uint8Array.of(1, 2, 3))).toBe("IGNORE");
    expect(door.refused("author_not_trustee")).toBe(2);
    expect([door.verifications, door.offered.length, door.blamed.length]).toEqual([0, 0, 0]);
  });

  test("a banned author is ignored, whatever it sends", () => {
    const door = new Door();
    door.ban(0);
    expect(door.hear(0, door.frame(0, "a"))).toBe("IGNORE");
    expect(door.hear(0, door.frame(1, "a"))).toBe("IGNORE");
    expect(door.hear(0, Uint8Array.of(9))).toBe("IGNORE");
    expect(door.refused("author_banned")).toBe(3);
    expect([door.verifications, door.offered.length]).toEqual([0, 0]);
  });

  test("a banned trustee's vote is ignored, whoever brings it, and the bringer goes free", () => {
    const door = new Door();
    door.ban(0, "PROOF");
    expect(door.hear(1, door.frame(0, "a"))).toBe("IGNORE");
    expect(door.refused("trustee_banned")).toBe(1);
    expect([door.verifications, door.blamed.length, door.held.length]).toEqual([0, 0, 0]);
  });

  test("the vote of a trustee that is out for an opinion is held against it, for two make a proof", () => {
    const door = new Door();
    door.ban(0, "OPINION");
    expect(door.hear(1, door.frame(0, "a", 7))).toBe("IGNORE");
    expect(door.hear(1, door.frame(0, "a", 8))).toBe("IGNORE");
    expect(door.held.map((v) => v.vote.value)).toEqual([7n, 8n]);
    expect(door.offered).toEqual([]);
    expect(door.refused("trustee_banned")).toBe(2);
  });

  test("each refusal gets a receipt that names reason, author and bytes, and a duplicate gets none", () => {
    const door = new Door();
    const frame = door.frame(0, "a");
    door.hear(0, frame);
    door.hear(0, frame);
    door.hear(6, frame);
    const bad = tamper(door.frame(0, "b"), 5);
    door.hear(2, bad, 3);
    expect(door.receipts.map((r) => [r.reason, r.author, r.forwarder, r.voter, r.txId])).toEqual([
      ["author_not_trustee", nodeAt(wider, 6).peerId, nodeAt(wider, 4).peerId, null, null],
      ["bad_signature", nodeAt(wider, 2).peerId, nodeAt(wider, 3).peerId, "node-001", "b"],
    ]);
    expect(door.receipts.map((r) => r.bytes)).toEqual([frame, bad]);
  });

  test("old messages of an author, replayed by others, do not use up what it may still publish", () => {
    const door = new Door();
    const old = Array.from({ length: 20 }, (_, i) => door.frame(0, `old${i}`));
    for (const frame of old) door.hear(0, frame, 0);
    const rounds = Math.ceil((2 * LIMITS.authorFrames.burst) / old.length);
    for (let i = 0; i < rounds; i++) for (const frame of old) door.hear(0, frame, 5);
    for (let i = 0; i < rounds; i++) for (const frame of old) door.hear(0, frame, 6);
    expect(door.hear(0, door.frame(0, "fresh"), 0)).toBe("ACCEPT");
  });

  test("an author beyond its rate is ignored until time has passed, and no other pays for it", async () => {
    const door = new Door();
    const { perSecond, burst } = LIMITS.authorFrames;
    const verdicts = Array.from({ length: burst + 5 }, (_, i) =>
      door.hear(0, door.frame(0, `a${i}`)),
    );
    expect(verdicts.filter((v) => v === "ACCEPT")).toHaveLength(burst);
    expect(door.refused("rate_limited")).toBe(5);
    expect(door.hear(1, door.frame(1, "b"))).toBe("ACCEPT");
    await door.clock.advance(1_000 / perSecond);
    expect(door.hear(0, door.frame(0, "c"))).toBe("ACCEPT");
    expect(door.hear(0, door.frame(0, "d"))).toBe("IGNORE");
  });

  /** Opens transactions, as many in a frame as go. @returns how many were let in */
  function openMany(door: Door, by: number, count: number, prefix: string): number {
    const perFrame = 200;
    const issuedAtMs = door.clock.nowMs();
    let accepted = 0;
    for (let at = 0; at < count; at += perFrame) {
      const specs = Array.from({ length: Math.min(perFrame, count - at) }, (_, i) => ({
        txId: `${prefix}${at + i}`,
        value: 7,
        issuedAtMs,
      }));
      if (door.hear(by, encodeFrame(signedFrame(cluster, by, specs))) === "ACCEPT")
        accepted += specs.length;
    }
    return accepted;
  }

  test("an author can open only so many transactions that nobody else votes on, and each other has its own share", () => {
    const door = new Door();
    const max = LIMITS.authorLoneTransactionsMax;
    expect(openMany(door, 0, max + 400, "a")).toBe(max);
    expect(door.refused("quota")).toBe(2);
    expect(openMany(door, 1, 200, "b")).toBe(200);
    // It may still vote on what others opened.
    expect(door.hear(0, door.frame(0, "b5"))).toBe("ACCEPT");
  });

  test("a transaction costs its opener nothing once others vote on it, the tally has decided it or its deadline is over", async () => {
    const door = new Door();
    const max = LIMITS.authorLoneTransactionsMax;
    openMany(door, 0, max, "a");
    const isRefused = (txId: string): boolean => door.hear(0, door.frame(0, txId)) === "IGNORE";
    expect(isRefused("x1")).toBe(true);
    door.hear(1, door.frame(1, "a7"));
    expect([isRefused("x1"), isRefused("x2")]).toEqual([false, true]);
    door.view.noteExisting(txIdOf("a8"), "ABORTED_BYZANTINE", recordOf(cluster));
    door.seeView("a8");
    expect([isRefused("x2"), isRefused("x3")]).toEqual([false, true]);
    await door.clock.advance(DEFAULT_PROTOCOL_CONFIG.deadlineMs);
    expect(isRefused("x3")).toBe(false);
  });

  test("liars who vote on each other's transactions free none of them: an honest voter must be among so many", () => {
    const six = testCluster({ trustees: 6, threshold: 4 });
    const door = new Door();
    door.sets.set(six.set.epoch, six.set);
    const max = LIMITS.authorLoneTransactionsMax;
    openMany(door, 0, max, "a");
    const vote = (by: number, txId: string): string => door.hear(by, door.frame(by, txId, 7, six));
    vote(1, "a7");
    expect(vote(0, "x1")).toBe("IGNORE");
    vote(2, "a7");
    expect(vote(0, "x1")).toBe("ACCEPT");
  });

  test("bytes that are no frame are rejected before any signature is looked at", () => {
    const door = new Door();
    const good = door.frame(0, "a");
    const bad = [
      new Uint8Array(0),
      Uint8Array.of(1),
      good.subarray(0, good.length - 1),
      concatBytes(good, Uint8Array.of(0)),
      tamper(good, 0),
      new Uint8Array(LIMITS.voteFrameBytesMax + 1).fill(1),
    ];
    for (const data of bad) expect(door.hear(0, data)).toBe("REJECT");
    expect(door.refused("malformed")).toBe(bad.length);
    expect([door.verifications, door.blamed.length]).toEqual([0, 0]);
  });

  test("a frame with votes of two trustees is malformed", () => {
    const door = new Door();
    const one = signedFrame(cluster, 0, [{ txId: "a", value: 7, issuedAtMs: door.clock.nowMs() }]);
    const two = signedFrame(cluster, 1, [{ txId: "a", value: 7, issuedAtMs: door.clock.nowMs() }]);
    const mixed = encodeFrame({ ...one, leaves: [...one.leaves, ...two.leaves] });
    expect(door.hear(0, mixed)).toBe("REJECT");
    expect(door.refused("malformed")).toBe(1);
  });

  test("a vote is stale more than 30 s from now in either direction, and not before", () => {
    const door = new Door();
    const limit = LIMITS.clockSkewRejectedMs;
    const at = (offsetMs: number, txId: string): string => {
      const issuedAtMs = door.clock.nowMs() + offsetMs;
      return door.hear(0, encodeFrame(signedFrame(cluster, 0, [{ txId, value: 7, issuedAtMs }])));
    };
    expect([at(-limit, "a"), at(limit, "b")]).toEqual(["ACCEPT", "ACCEPT"]);
    expect([at(-limit - 1, "c"), at(limit + 1, "d")]).toEqual(["IGNORE", "IGNORE"]);
    expect(door.refused("stale")).toBe(2);
    // Still its trustee's word: it may be one half of a double vote.
    expect(door.held.map((v) => v.vote.txId)).toEqual(["c", "d"]);
    expect(door.blamed).toEqual([]);
  });

  test("stale votes cost only so many signatures, and then none", () => {
    const door = new Door();
    const { burst } = LIMITS.authorStaleFrames;
    const issuedAtMs = door.clock.nowMs() - LIMITS.clockSkewRejectedMs - 1;
    for (let i = 0; i < burst + 5; i++)
      door.hear(0, encodeFrame(signedFrame(cluster, 0, [{ txId: `s${i}`, value: 7, issuedAtMs }])));
    expect([door.verifications, door.held.length]).toEqual([burst, burst]);
    expect(door.refused("stale")).toBe(burst + 5);
  });

  test("a vote of another cluster or epoch is ignored, not punished", () => {
    const door = new Door();
    const elsewhere = testCluster({ trustees: 5, threshold: 4, clusterId: "elsewhere" });
    const later = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    expect(door.hear(0, door.frame(0, "a", 7, elsewhere))).toBe("IGNORE");
    expect(door.hear(0, door.frame(0, "a", 7, later))).toBe("IGNORE");
    expect([door.refused("wrong_cluster"), door.refused("wrong_epoch")]).toEqual([1, 1]);
    expect(door.blamed).toEqual([]);
  });

  test("a vote is verified with the keys of its own epoch", () => {
    const door = new Door();
    const later = testCluster({ trustees: 5, threshold: 4, epoch: 2, seed: 9 });
    door.sets.set(later.set.epoch, later.set);
    expect(door.hear(0, door.frame(0, "a", 7, later))).toBe("ACCEPT");
    expect(door.offered.map((v) => v.peerId)).toEqual([nodeAt(later, 0).peerId]);
  });

  test("a vote in a stranger's name is ignored", () => {
    const door = new Door();
    expect(door.hear(0, door.frame(6, "a", 7, wider))).toBe("IGNORE");
    expect(door.refused("unknown_trustee")).toBe(1);
  });
});

describe("who is to blame", () => {
  test("a tampered vote is the author's fault alone: not the named trustee's, not the forwarder's", () => {
    const door = new Door();
    const good = door.frame(0, "a");
    // The last byte belongs to the issue time: the frame still decodes.
    const tampered = tamper(good, good.length - 1);
    expect(door.hear(2, tampered, 3)).toBe("REJECT");
    expect(door.refused("bad_signature")).toBe(1);
    expect(door.blamed.map((b) => [b.violation.peerId, b.ban.peerId, b.ban.grade])).toEqual([
      [nodeAt(cluster, 2).peerId, nodeAt(cluster, 2).peerId, "PROOF"],
    ]);
    expect(door.offered).toEqual([]);
  });

  test("the evidence convinces somebody who has nothing but the trustee set", () => {
    const door = new Door();
    const good = door.frame(0, "a");
    door.hear(2, tamper(good, 5));
    const evidence = door.blamed[0]?.violation.evidence;
    if (evidence === undefined) throw new Error("somebody is blamed");
    const finding = verifyEvidence(evidence, onlySet(cluster.set), cluster.verify);
    expect(finding.ok && finding.value.nodeId).toBe(nodeAt(cluster, 2).nodeId);
  });

  test("every byte of a frame is covered: flipped anywhere it is never taken", () => {
    const door = new Door();
    const good = door.frame(0, "a");
    for (let at = 0; at < good.length; at++) {
      expect(["REJECT", "IGNORE"]).toContain(door.hear(0, tamper(good, at)));
      expect(door.offered).toEqual([]);
    }
  });

  test("a forged copy that comes first does not keep the real vote out", () => {
    const door = new Door();
    const good = door.frame(0, "a");
    expect(door.hear(2, tamper(good, 5))).toBe("REJECT");
    expect(door.hear(0, good)).toBe("ACCEPT");
  });

  test("a copy with a broken signature of what is known already is a duplicate, and blames nobody", () => {
    const door = new Door();
    const good = door.frame(0, "a");
    door.hear(0, good);
    expect(door.hear(2, tamper(good, 5))).toBe("IGNORE");
    expect(door.blamed).toEqual([]);
  });
});

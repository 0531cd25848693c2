import type { Change, ChangeSet } from "@quorate/ports";
import { memoryMetrics, nodeAt, testCluster, txIdOf, vote } from "@quorate/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { TallyView } from "./tally-view.ts";
import { TrusteeBoard } from "./trustee-metrics.ts";

const cluster = testCluster({ trustees: 3, threshold: 2 });

let metrics: ReturnType<typeof memoryMetrics>;
let view: TallyView;
let board: TrusteeBoard;
let revision = 0n;

const connected = (index: number) => ({
  peerId: nodeAt(cluster, index).peerId,
  address: "/ip4/127.0.0.1/tcp/1",
  direction: "inbound" as const,
  openedAtMs: 1,
  roundTripMs: 20,
});
const present = (index: number): Change => {
  const { nodeId, peerId } = nodeAt(cluster, index);
  const presence = { nodeId, peerId, addresses: [], apiUrl: null, version: "1", startedAtMs: 1 };
  return { kind: "presence", peerId, presence };
};
const refresh = (...open: readonly number[]): void =>
  board.refresh(
    cluster.set,
    view,
    {
      listening: [],
      connections: open.map(connected),
      mesh: [],
      subscribers: [],
      self: nodeAt(cluster, 0).peerId,
    },
    [{ name: "etcd", ok: true }],
  );

function apply(...changes: readonly Change[]): void {
  const set: ChangeSet = { revision: ++revision, changes };
  board.note(set, view);
  view.apply(set);
}

const voted = (index: number, id: string): Change => {
  const { peerId, ...signed } = vote(cluster, index, id, 7);
  return { kind: "vote", txId: txIdOf(id), vote: signed, peerId };
};
const status = (id: string, word: "COLLECTING" | "SUBMITTED", created = false): Change => ({
  kind: "status",
  txId: txIdOf(id),
  status: word,
  created,
});

beforeEach(() => {
  metrics = memoryMetrics();
  view = new TallyView();
  board = new TrusteeBoard(metrics);
  refresh();
});

const count = (name: string, index: number): number | null =>
  metrics.value(name, { node: nodeAt(cluster, index).nodeId });

describe("what is seen of each trustee", () => {
  test("is born at 0, so that its first vote is an increase", () => {
    for (const name of ["trustee_votes_total", "trustee_late_votes_total"])
      expect([0, 1, 2].map((i) => count(name, i))).toEqual([0, 0, 0]);
  });

  test("counts a vote once, however often the stream brings it", () => {
    apply(status("a", "COLLECTING", true), voted(1, "a"));
    apply(voted(1, "a"));
    expect(count("trustee_votes_total", 1)).toBe(1);
    expect(count("trustee_late_votes_total", 1)).toBe(0);
  });

  test("calls a vote late when the transaction was claimed before it, not when it came along with that", () => {
    apply(status("a", "COLLECTING", true), voted(1, "a"));
    apply(status("a", "SUBMITTED"), voted(2, "a"));
    expect(count("trustee_late_votes_total", 2)).toBe(0);
    apply(voted(0, "a"));
    expect(count("trustee_late_votes_total", 0)).toBe(1);
  });

  test("names no one who is not in the set: a stranger makes no series", () => {
    const { peerId, ...signed } = vote(testCluster({ trustees: 5, threshold: 3 }), 4, "a", 7);
    apply({ kind: "vote", txId: txIdOf("a"), vote: signed, peerId });
    expect(metrics.value("trustee_votes_total", { node: signed.vote.nodeId })).toBeNull();
  });

  test("shows who is connected, how far away, and how many could vote", () => {
    apply(present(0), present(1), present(2));
    view.apply({
      revision: ++revision,
      changes: [
        {
          kind: "ban",
          peerId: nodeAt(cluster, 2).peerId,
          ban: {
            peerId: nodeAt(cluster, 2).peerId,
            nodeId: nodeAt(cluster, 2).nodeId,
            reason: "LOW_REPUTATION",
            grade: "OPINION",
            bannedAtMs: 1,
            evidence: {
              type: "LOW_REPUTATION",
              nodeId: nodeAt(cluster, 2).nodeId,
              score: 0.1,
              bound: 0.3,
              violations: [],
            },
          },
        },
      ],
    });
    refresh(1);
    expect([1, 2].map((i) => count("trustee_connected", i))).toEqual([1, 0]);
    expect(count("trustee_connected", 0)).toBeNull();
    expect(count("trustee_round_trip_seconds", 1)).toBe(0.02);
    expect(metrics.value("quorum_trustees_reachable")).toBe(2);
    expect(metrics.value("quorum_threshold")).toBe(2);
    expect(metrics.value("node_check", { check: "etcd" })).toBe(1);
    expect(metrics.value("node_check", { check: "peers" })).toBe(0);
  });

  test("shows a clock that is ahead as negative", () => {
    const { nodeId } = nodeAt(cluster, 1);
    board.heard(nodeId, 5_000, 3_000);
    expect(count("trustee_clock_offset_seconds", 1)).toBe(-2);
    expect(board.clockOffsetMs(nodeId)).toBe(-2_000);
  });
});

import { addTrustee, type Epoch, removeTrustee, type TrusteeSet, unwrap } from "@quorate/core";
import type { Presence } from "@quorate/ports";
import { nodeAt, testCluster } from "@quorate/testkit";
import { describe, expect, test } from "vitest";
import { describeMembership, type Membership, observersOf } from "./membership.ts";

const cluster = testCluster({ trustees: 4, threshold: 3 });
const stranger = nodeAt(testCluster({ trustees: 5, threshold: 3 }), 4);
const first = cluster.set;
const second = unwrap(removeTrustee(first, nodeAt(cluster, 3).nodeId));

function membership(sets: readonly TrusteeSet[], open: readonly Epoch[] = []): Membership {
  const set = sets.at(-1) ?? first;
  return { set, sets: new Map(sets.map((s) => [s.epoch, s])), openEpochs: new Set(open) };
}

const presenceOf = ({ nodeId, peerId }: Pick<Presence, "nodeId" | "peerId">): Presence => ({
  nodeId,
  peerId,
  addresses: ["/ip4/127.0.0.1/tcp/1"],
  apiUrl: null,
  version: "1",
  startedAtMs: 5,
});

describe("observers", () => {
  const live = [stranger, ...cluster.nodes].map(presenceOf);

  test("are the live nodes that have no say", () => {
    expect(observersOf(live, membership([first]))).toEqual([
      {
        nodeId: stranger.nodeId,
        peerId: stranger.peerId,
        addresses: ["/ip4/127.0.0.1/tcp/1"],
        version: "1",
        startedAtMs: 5,
        draining: false,
      },
    ]);
    const admitted = unwrap(addTrustee(first, stranger.trustee));
    expect(observersOf(live, membership([first, admitted]))).toEqual([]);
  });

  test("that were removed drain while a transaction of their epoch is open", () => {
    const draining = (open: readonly Epoch[]): readonly [string, boolean][] =>
      observersOf(live, membership([first, second], open)).map((o) => [o.nodeId, o.draining]);
    expect(draining([first.epoch, second.epoch])).toEqual([
      ["node-004", true],
      ["node-005", false],
    ]);
    expect(draining([second.epoch])).toEqual([
      ["node-004", false],
      ["node-005", false],
    ]);
  });
});

describe("what a node says of its membership", () => {
  const gone = nodeAt(cluster, 3);

  test("a trustee is one", () => {
    const { nodeId, peerId } = nodeAt(cluster, 0);
    expect(describeMembership(nodeId, peerId, membership([first]))).toBe(
      "trustee node-001 of epoch 1",
    );
  });

  test("who was never admitted says how it is done", () => {
    const said = describeMembership(stranger.nodeId, stranger.peerId, membership([first]));
    expect(said).toBe(
      `this node's key (${stranger.peerId}) is not in the trustee set of epoch 1; to admit it: quorate trustee add node-005 --peer-id ${stranger.peerId} --evm-address ADDRESS`,
    );
  });

  test("who runs under another name is told the right one", () => {
    const said = describeMembership(stranger.nodeId, gone.peerId, membership([first]));
    expect(said).toContain("is that of trustee node-004 in epoch 1, not of node-005");
  });

  test("who was removed is told to run on, and then that it may stop", () => {
    const drains = describeMembership(
      gone.nodeId,
      gone.peerId,
      membership([first, second], [first.epoch]),
    );
    expect(drains).toContain("not in the trustee set of epoch 2, but transactions");
    const over = describeMembership(gone.nodeId, gone.peerId, membership([first, second]));
    expect(over).toContain("it may be stopped");
  });
});

import {
  type Decision,
  decide,
  emptySnapshot,
  onlySet,
  openFrame,
  type SignedVote,
  signFrame,
  TX_STATUSES,
  type TxSnapshot,
  unwrap,
  verifyEvidence,
} from "@quorate/core";
import {
  HONEST_VALUE,
  nodeAt,
  TallyFold,
  type TestCluster,
  tamper,
  testCluster,
  txIdOf,
  unsignedVote,
  valueOf,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { outcomesOf } from "./scenario.ts";
import { clusterOf, NODES_MAX, POLICIES, voteBy } from "./vote-pool.ts";

const STRANGER = testCluster({ trustees: 1, threshold: 1, seed: 9 });

/** What somebody who can write to the store, but has not the trustee's key, can put in its place. */
const FORGERIES = {
  "a tampered signature": ({ node, value }) => {
    const { vote, proof } = voteBy(node, "tx", value);
    return { vote, proof: { ...proof, signature: tamper(proof.signature, 7) } };
  },
  "another key's signature": ({ cluster, node, value }) => {
    const vote = unsignedVote(cluster, node, { txId: "tx", value });
    const frame = signFrame([vote], (message) => nodeAt(STRANGER, 0).signer.sign(message));
    return first(unwrap(openFrame(frame)).votes);
  },
  "its vote on another transaction": ({ node, value }) => {
    const { vote, proof } = voteBy(node, "tx-other", value);
    return { vote: { ...vote, txId: txIdOf("tx") }, proof };
  },
  "its vote with another value written beside it": ({ node, value }) => {
    const { vote, proof } = voteBy(node, "tx", HONEST_VALUE);
    return { vote: { ...vote, value: valueOf(value) }, proof };
  },
} as const satisfies Record<string, (place: Place) => SignedVote>;

interface Place {
  readonly cluster: TestCluster;
  readonly node: number;
  /** Not the one that honest trustees vote. */
  readonly value: number;
}

type Forgery = keyof typeof FORGERIES;
const KINDS = Object.keys(FORGERIES) as readonly Forgery[];
const LIE = 2;

function first<T>(list: readonly T[]): T {
  const [one] = list;
  if (one === undefined) throw new Error("there is one");
  return one;
}

/** A snapshot that holds genuine votes and forged ones in the places of trustees. */
function snapshotOf(
  cluster: TestCluster,
  genuine: readonly (readonly [node: number, value: number])[],
  forged: readonly (readonly [node: number, kind: Forgery])[],
): TxSnapshot {
  const stored = [
    ...genuine.map(([node, value]) => [node, voteBy(node, "tx", value)] as const),
    ...forged.map(
      ([node, kind]) => [node, FORGERIES[kind]({ cluster, node, value: LIE })] as const,
    ),
  ];
  return {
    ...emptySnapshot(txIdOf("tx")),
    votes: new Map(stored.map(([node, vote]) => [nodeAt(cluster, node).nodeId, vote])),
  };
}

function commit(cluster: TestCluster, snapshot: TxSnapshot, ...nodes: readonly number[]): Decision {
  const fold = new TallyFold(cluster.set, { policy: "quarantine-and-continue" });
  fold.forge({ ...snapshot, status: "COLLECTING" });
  return fold.commit(txIdOf("tx"), {
    votes: nodes.map((node) => voteBy(node, "tx", HONEST_VALUE)),
  });
}

describe("a vote that somebody forged in the store", () => {
  const cluster = clusterOf(5, 3);

  it.each(KINDS)("does not make the trustee's own vote a second one: %s", (kind) => {
    const decision = commit(cluster, snapshotOf(cluster, [], [[0, kind]]), 0);
    expect(outcomesOf(decision)).toEqual(["REFUSED RECORD_FORGED"]);
    expect(decision.writes?.violations ?? []).toEqual([]);
  });

  it.each(KINDS)("does not make its trustee a minority voter: %s", (kind) => {
    const decision = commit(cluster, snapshotOf(cluster, [], [[0, kind]]), 1, 2, 3);
    expect(decision.writes?.newVotes).toHaveLength(3);
    expect(decision.writes?.violations).toEqual([]);
  });

  it.each(KINDS)("is no part of a majority that anybody is accused by: %s", (kind) => {
    // Three for the lie, two of them forged, and the only honest vote would be the dissent.
    const stored = snapshotOf(
      cluster,
      [[4, LIE]],
      [
        [0, kind],
        [1, kind],
      ],
    );
    const decision = commit(cluster, stored, 2);
    expect(outcomesOf(decision)).toEqual(["RECORDED"]);
    expect(decision.writes?.violations).toEqual([]);
  });

  it("does not stand in the way of those who really dissent", () => {
    const stored = snapshotOf(cluster, [[4, LIE]], [[0, "a tampered signature"]]);
    const decision = commit(cluster, stored, 1, 2, 3);
    expect(decision.writes?.violations.map(({ nodeId, type }) => [nodeId, type])).toEqual([
      ["node-005", "MINORITY_VOTE"],
    ]);
  });

  it("gets no honest trustee accused of anything but silence, whatever else is stored, while fewer than t lie", () => {
    const worlds = fc
      .integer({ min: 2, max: NODES_MAX })
      .chain((trustees) =>
        fc.tuple(
          fc.constant(trustees),
          fc.integer({ min: Math.floor(trustees / 2) + 1, max: trustees }),
        ),
      )
      .chain(([trustees, threshold]) => {
        const places = fc.array(
          fc.constantFrom<"absent" | "genuine" | Forgery>("absent", "genuine", "genuine", ...KINDS),
          {
            minLength: trustees,
            maxLength: trustees,
          },
        );
        return fc.record({
          trustees: fc.constant(trustees),
          threshold: fc.constant(threshold),
          liars: fc.nat(threshold - 1),
          places,
          status: fc.constantFrom(null, ...TX_STATUSES),
          recordValue: fc.constantFrom(null, HONEST_VALUE, LIE),
          policy: fc.constantFrom(...POLICIES),
          late: fc.array(fc.tuple(fc.nat(trustees - 1), fc.boolean()), { maxLength: 6 }),
          deadlinePassed: fc.boolean(),
        });
      });
    fc.assert(
      fc.property(worlds, (world) => {
        const cluster = clusterOf(world.trustees, world.threshold);
        // The first ones are honest.
        const honest = world.trustees - world.liars;
        const valueOfNode = (node: number, lies: boolean): number =>
          node >= honest && lies ? LIE : HONEST_VALUE;
        const genuine = world.places.flatMap((kind, node) =>
          kind === "genuine" ? [[node, valueOfNode(node, node % 2 === 0)] as const] : [],
        );
        const forged = world.places.flatMap((kind, node) =>
          kind === "genuine" || kind === "absent" ? [] : [[node, kind] as const],
        );
        const fold = new TallyFold(cluster.set, { policy: world.policy });
        // A record as a real commit would have left it, or one with a forged value.
        const opened = decide(
          emptySnapshot(txIdOf("tx")),
          { votes: [voteBy(0, "tx", HONEST_VALUE)], nowMs: 0, deadlinePassed: false },
          {
            set: cluster.set,
            config: fold.config,
            bans: new Map(),
            silenceStreaks: new Map(),
            verify: cluster.verify,
          },
        ).writes?.record;
        const value = world.recordValue === null ? null : valueOf(world.recordValue);
        const record = opened === null || opened === undefined ? null : { ...opened, value };
        fold.forge({ ...snapshotOf(cluster, genuine, forged), status: world.status, record });
        fold.commit(txIdOf("tx"), {
          votes: world.late.map(([node, lies]) => voteBy(node, "tx", valueOfNode(node, lies))),
          deadlinePassed: world.deadlinePassed,
          nowMs: 1_000,
        });
        const liars = new Set(cluster.nodes.slice(honest).map(({ nodeId }) => nodeId));
        for (const { type, nodeId, evidence } of fold.violations) {
          if (type === "SILENT_FAILURE") continue;
          expect([...liars]).toContain(nodeId);
          const finding = verifyEvidence(evidence, onlySet(cluster.set), cluster.verify);
          expect(unwrap(finding).nodeId).toBe(nodeId);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

import { encodeFrame, type TxId, type Value } from "@quorate/core";
import { tamper } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { ClusterWorld } from "./cluster-world.ts";

const TRUSTEES = 5;
const HONEST = 3;

interface Act {
  readonly node: number;
  readonly tx: string;
  readonly value: number;
  readonly atMs: number;
  /** Also how not to get a vote counted: in another's name, for another id, with a spoilt signature. */
  readonly how: "vote" | "twice" | "forged" | "spoilt";
}

const act: fc.Arbitrary<Act> = fc.record({
  node: fc.nat(TRUSTEES - 1),
  tx: fc.constantFrom("tx-a", "tx-b"),
  value: fc.constantFrom(7, 7, 7, 7, 8),
  atMs: fc.nat(500),
  how: fc.constantFrom("vote" as const, "vote", "vote", "twice", "forged", "spoilt"),
});

const plans = fc.record({
  threshold: fc.integer({ min: 2, max: TRUSTEES }),
  policy: fc.constantFrom("strict-abort" as const, "quarantine-and-continue" as const),
  acts: fc.array(act, { minLength: 1, maxLength: 16, size: "max" }),
  faulty: fc.boolean(),
  seed: fc.nat(),
});

function perform(world: ClusterWorld, { node, tx, value, how }: Act): void {
  if (node < HONEST) {
    void world.cast(node, tx, value);
    if (how === "twice") void world.cast(node, tx, value);
    return;
  }
  const frame = encodeFrame(world.frameOf(node, tx, value));
  if (how === "spoilt") void world.publish(node, tamper(frame, frame.length - 1));
  // The vote of one trustee, put into the world by another: it counts for its signer, once.
  else if (how === "forged") void world.publish(node === HONEST ? HONEST + 1 : HONEST, frame);
  else {
    void world.publish(node, frame);
    if (how === "twice") void world.publish(node, frame);
  }
}

describe("[spec §14.1, 4] threshold safety: Consensus(v) ⇒ |{votes for v}| ≥ t", () => {
  it(
    "at every revision that says THRESHOLD_REACHED, t trustees' votes for its value are recorded, each in its own name",
    async () => {
      await fc.assert(
        fc.asyncProperty(plans, async ({ threshold, policy, acts, faulty, seed }) => {
          const world = await ClusterWorld.open({
            trustees: TRUSTEES,
            threshold,
            byzantine: TRUSTEES - HONEST,
            protocol: { policy },
            seed,
            faulty,
          });
          try {
            for (const each of acts) world.clock.schedule(each.atMs, () => perform(world, each));
            await world.settle();
            expectBacked(world, threshold);
          } finally {
            await world.close();
          }
        }),
        budget("threshold safety", 20),
      );
    },
    patience(),
  );
});

/** Folds history revision by revision: at each, what it claims is held against what it has recorded so far. */
function expectBacked(world: ClusterWorld, threshold: number): void {
  const said = new Map(
    world.cluster.nodes.map(({ nodeId }) => [nodeId as string, new Map<TxId, Value>()]),
  );
  const claimed = new Map<TxId, Value | null>();
  const countOf = (txId: TxId, value: Value): number =>
    [...said.values()].filter((words) => words.get(txId) === value).length;
  for (const { revision, changes } of world.history) {
    for (const change of changes)
      if (change.kind === "vote") {
        const words = said.get(change.vote.vote.nodeId);
        expect(words?.has(change.txId), "a trustee's vote is recorded once, for ever").toBe(false);
        words?.set(change.txId, change.vote.vote.value);
      } else if (change.kind === "record") claimed.set(change.txId, change.record.value);
    for (const change of changes) {
      if (change.kind === "count")
        expect(countOf(change.txId, change.value), `the counter at ${revision} (I7)`).toBe(
          change.count,
        );
      if (change.kind !== "status" || change.status !== "THRESHOLD_REACHED") continue;
      const value = claimed.get(change.txId) ?? null;
      const count = value === null ? 0 : countOf(change.txId, value);
      expect(count, `votes behind ${value} at ${revision}`).toBeGreaterThanOrEqual(threshold);
    }
  }
}

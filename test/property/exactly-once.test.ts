import { onlySet, type TxSnapshot, verifyVote } from "@quorate/core";
import { txIdOf } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { ClusterWorld } from "./cluster-world.ts";
import { FINAL_DEPTH, SubmitterWorld } from "./submitter-world.ts";

const TRUSTEES = 4;
const THRESHOLD = 3;
const TXS = ["tx-a", "tx-b", "tx-c", "tx-d"] as const;
/** Faults come within this time; then all is quiet until everything that can end has ended. */
const TROUBLE_MS = 20_000;
const QUIET_MS = 40_000;

/** What the four vote: all the same, only as many as are needed, too few, or one against the others. */
const VOTES = {
  unanimous: [7, 7, 7, 7],
  enough: [7, 7, 7, null],
  few: [7, 7, null, null],
  dissent: [7, 7, 7, 8],
} as const;

type Pattern = keyof typeof VOTES;

type Trouble =
  | { readonly kind: "crash"; readonly atMs: number; readonly backAfterMs: number }
  | { readonly kind: "standby"; readonly atMs: number }
  | {
      readonly kind: "reorg";
      readonly atMs: number;
      readonly depth: number;
      readonly toPool: boolean;
    }
  | { readonly kind: "pool"; readonly atMs: number; readonly forMs: number };

const atMs = fc.nat(TROUBLE_MS);
const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("crash" as const), atMs, backAfterMs: fc.nat(3_000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("standby" as const), atMs }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("reorg" as const),
      atMs,
      // What is final stays: that is what finality means.
      depth: fc.integer({ min: 1, max: FINAL_DEPTH - 1 }),
      toPool: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("pool" as const),
      atMs,
      forMs: fc.constantFrom(0, 5_000),
    }),
  },
);

const plans = fc.record({
  patterns: fc.tuple(
    ...TXS.map(() =>
      fc.record({
        pattern: fc.constantFrom<Pattern>("unanimous", "unanimous", "enough", "few", "dissent"),
        atMs,
      }),
    ),
  ),
  troubles: fc.array(trouble, { maxLength: 8, size: "max" }),
  lossPerMille: fc.constantFrom(0, 20, 60),
  seed: fc.nat(),
});

function befall(submitters: SubmitterWorld, world: ClusterWorld, what: Trouble): void {
  const { chain } = submitters;
  switch (what.kind) {
    case "crash":
      submitters.crash();
      world.clock.schedule(what.backAfterMs, () => submitters.start());
      return;
    case "standby":
      submitters.start();
      return;
    case "reorg":
      // Not deeper than the chain is.
      if (chain.tip.number > BigInt(what.depth)) chain.reorg(what.depth, what);
      return;
    case "pool":
      chain.dropPool();
      chain.poolHeld = what.forMs > 0;
      world.clock.schedule(what.forMs, () => {
        chain.poolHeld = false;
      });
      return;
    default:
      what satisfies never;
  }
}

/** Valid votes for a value that the tally holds, each trustee's once (I2). */
function votesFor(world: ClusterWorld, { votes }: TxSnapshot, value: bigint): number {
  const { set, verify } = world.cluster;
  const [known] = onlySet(set).values();
  return [...votes.values()].filter(
    (vote) =>
      vote.vote.value === value && known !== undefined && verifyVote(vote, known, verify).ok,
  ).length;
}

describe("[spec §14.1, 5] exactly-once submission: ∀ tx_id : |Submissions(tx_id)| ≤ 1", () => {
  it(
    "over crashes, losses, reorgs and rivals each id that should be recorded is, once, and no other ever",
    async () => {
      await fc.assert(
        fc.asyncProperty(plans, async ({ patterns, troubles, lossPerMille, seed }) => {
          const world = await ClusterWorld.open({
            trustees: TRUSTEES,
            threshold: THRESHOLD,
            byzantine: 1,
            seed,
          });
          const submitters = new SubmitterWorld(world, seed);
          try {
            submitters.start();
            submitters.lossPerMille = lossPerMille;
            for (const [i, { pattern, atMs: startMs }] of patterns.entries()) {
              const tx = TXS[i] ?? TXS[0];
              for (const [node, value] of VOTES[pattern].entries()) {
                if (value === null) continue;
                world.clock.schedule(startMs, () => {
                  if (node < world.honest) void world.cast(node, tx, value);
                  else void world.say(node, tx, value);
                });
              }
            }
            for (const each of troubles)
              world.clock.schedule(each.atMs, () => befall(submitters, world, each));
            await submitters.pass(TROUBLE_MS);
            submitters.lossPerMille = 0;
            submitters.chain.poolHeld = false;
            if (submitters.living === 0) submitters.start();
            await submitters.pass(QUIET_MS);
            await expectOnce(world, submitters);
          } finally {
            await submitters.close();
            await world.close();
          }
        }),
        budget("exactly once", 15),
      );
    },
    patience(),
  );
});

async function expectOnce(world: ClusterWorld, submitters: SubmitterWorld): Promise<void> {
  const { chain, database } = submitters;
  expect(submitters.uncommitted, "sent although no committed attempt holds it").toBe(0);
  expect(chain.duplicates(), "keys that the contract was asked to record again").toEqual([]);
  const events = await chain.recordedEvents(0n, chain.tip.number);
  for (const tx of TXS) {
    const txId = txIdOf(tx);
    const mine = events.filter(({ key }) => key === chain.keyOf(txId));
    const snapshot = await world.snapshot(tx);
    const { decision, status } = snapshot;
    const row = await database.get(txId);
    if (decision?.kind !== "SUBMIT") {
      // I3: what was aborted, or never decided, is never submitted.
      expect(mine, `${tx} is ${status}`).toEqual([]);
      continue;
    }
    expect(
      mine.map(({ value }) => value),
      `${tx} is decided`,
    ).toEqual([decision.value]);
    expect(votesFor(world, snapshot, decision.value)).toBeGreaterThanOrEqual(THRESHOLD);
    expect(`${row?.state} ${status}`).toBe("FINALIZED CONFIRMED");
  }
}

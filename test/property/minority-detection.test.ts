import { onlySet, verifyEvidence } from "@quorate/core";
import { nodeAt } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { ClusterWorld } from "./cluster-world.ts";

const MAJORITY = 7;

interface Plan {
  readonly honest: number;
  readonly threshold: number;
  /** Each dissenter's one value, and when it says it. */
  readonly dissent: readonly { readonly value: number; readonly atMs: number }[];
  readonly votesAtMs: readonly number[];
  readonly policy: "strict-abort" | "quarantine-and-continue";
  readonly faulty: boolean;
  readonly seed: number;
}

/** More than half are honest, and enough of them to reach the threshold. */
const plans: fc.Arbitrary<Plan> = fc.integer({ min: 3, max: 5 }).chain((honest) =>
  fc.integer({ min: 1, max: honest - 1 }).chain((dissenters) =>
    fc.record({
      honest: fc.constant(honest),
      threshold: fc.integer({
        min: Math.floor((honest + dissenters) / 2) + 1,
        max: honest,
      }),
      dissent: fc.array(fc.record({ value: fc.constantFrom(8, 8, 9), atMs: fc.nat(400) }), {
        minLength: dissenters,
        maxLength: dissenters,
      }),
      votesAtMs: fc.array(fc.nat(400), { minLength: honest, maxLength: honest }),
      policy: fc.constantFrom("strict-abort" as const, "quarantine-and-continue" as const),
      faulty: fc.boolean(),
      seed: fc.nat(),
    }),
  ),
);

describe("[spec §14.1, 3] minority detection: Count(v_maj) ≥ t ∧ Vote(node, v_min) ⇒ Banned(node)", () => {
  it(
    "whoever votes against t others is banned with their t votes as evidence, whether it spoke first, last or between; the majority is not",
    async () => {
      await fc.assert(
        fc.asyncProperty(plans, async (plan) => {
          const { honest, threshold, dissent, votesAtMs, policy, faulty, seed } = plan;
          const world = await ClusterWorld.open({
            trustees: honest + dissent.length,
            threshold,
            byzantine: dissent.length,
            protocol: { policy },
            seed,
            faulty,
          });
          try {
            const { clock } = world;
            for (const [node, atMs] of votesAtMs.entries())
              clock.schedule(atMs, () => void world.cast(node, "tx", MAJORITY));
            for (const [at, { value, atMs }] of dissent.entries())
              clock.schedule(atMs, () => void world.say(honest + at, "tx", value));
            await world.settle();
            const { set, verify } = world.cluster;
            const { votes, record, status } = await world.snapshot("tx");
            const forIt = [...votes.values()].filter(({ vote }) => Number(vote.value) === MAJORITY);
            expect(forIt.length, "all honest votes are recorded").toBe(honest);
            const bans = await world.bans();
            expect([...bans.keys()].sort((a, b) => a - b)).toEqual(
              dissent.map((_, at) => honest + at),
            );
            for (const [node, ban] of bans) {
              expect(ban).toMatchObject({ reason: "MINORITY_VOTE", grade: "OPINION" });
              expect(world.isShutOut(node), `${node} is shut out`).toBe(true);
              const found = verifyEvidence(ban.evidence, onlySet(set), verify);
              expect(found.ok && found.value.nodeId).toBe(nodeAt(world.cluster, node).nodeId);
            }
            if (policy === "strict-abort") expect(status).toBe("ABORTED_BYZANTINE");
            else expect(`${status} ${record?.value}`).toBe(`THRESHOLD_REACHED ${MAJORITY}`);
          } finally {
            await world.close();
          }
        }),
        budget("minority detection", 20),
      );
    },
    patience(),
  );
});

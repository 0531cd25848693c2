import { onlySet, verifyEvidence } from "@quorate/core";
import { nodeAt } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { ClusterWorld } from "./cluster-world.ts";

const TRUSTEES = 6;
const HONEST = 4;

/** One equivocator's words: each reaches somebody honest, not all of them the same. */
interface Lie {
  readonly tx: string;
  readonly said: readonly {
    readonly value: number;
    readonly atMs: number;
    readonly to: readonly number[];
  }[];
}

interface Plan {
  readonly threshold: number;
  readonly policy: "strict-abort" | "quarantine-and-continue";
  readonly votes: readonly { readonly node: number; readonly atMs: number }[];
  readonly lies: readonly Lie[];
  readonly faulty: boolean;
  readonly seed: number;
}

const said = (value: number) =>
  fc.record({
    value: fc.constant(value),
    atMs: fc.nat(400),
    to: fc.uniqueArray(fc.nat(HONEST - 1), { minLength: 1, maxLength: HONEST }),
  });

const plans: fc.Arbitrary<Plan> = fc.record({
  threshold: fc.constantFrom(4, 4, 5, 6),
  policy: fc.constantFrom("strict-abort" as const, "quarantine-and-continue" as const),
  votes: fc.uniqueArray(fc.record({ node: fc.nat(HONEST - 1), atMs: fc.nat(400) }), {
    selector: ({ node }) => node,
    maxLength: HONEST,
  }),
  lies: fc.array(
    fc.record({
      tx: fc.constantFrom("tx", "tx", "other"),
      said: fc
        .shuffledSubarray([7, 8, 9], { minLength: 2 })
        .chain((values) => fc.tuple(...values.map(said))),
    }),
    { minLength: 1, maxLength: TRUSTEES - HONEST },
  ),
  faulty: fc.boolean(),
  seed: fc.nat(),
});

describe("[spec §14.1, 2] Byzantine detection: Vote(node, v₁) ∧ Vote(node, v₂) ∧ v₁ ≠ v₂ ⇒ Banned(node)", () => {
  it(
    "whoever signs two values for one id is banned and shut out by all, whoever heard which and in whatever order; nobody else is, by proof",
    async () => {
      await fc.assert(
        fc.asyncProperty(plans, async ({ threshold, policy, votes, lies, faulty, seed }) => {
          const world = await ClusterWorld.open({
            trustees: TRUSTEES,
            threshold,
            byzantine: TRUSTEES - HONEST,
            protocol: { policy },
            seed,
            faulty,
          });
          try {
            const { clock } = world;
            for (const { node, atMs } of votes)
              clock.schedule(atMs, () => void world.cast(node, "tx", 7));
            for (const [at, lie] of lies.entries())
              for (const { value, atMs, to } of lie.said)
                clock.schedule(atMs, () => void world.say(HONEST + at, lie.tx, value, to));
            await world.settle();
            const bans = await world.bans();
            const { set, verify } = world.cluster;
            for (const at of lies.keys()) {
              const liar = HONEST + at;
              const ban = bans.get(liar);
              expect(ban, `the ban of ${liar}`).toMatchObject({
                grade: "PROOF",
                reason: "DOUBLE_VOTING",
              });
              expect(world.isShutOut(liar), `${liar} is shut out`).toBe(true);
              const found =
                ban === undefined ? null : verifyEvidence(ban.evidence, onlySet(set), verify);
              expect(found?.ok === true && found.value.nodeId).toBe(
                nodeAt(world.cluster, liar).nodeId,
              );
            }
            expect(world.shutOutEarly, "shut out before the ban was committed (I11)").toEqual([]);
            // I6: who signed one value only is never banned by proof.
            const proven = [...bans]
              .filter(([, { grade }]) => grade === "PROOF")
              .map(([node]) => node);
            expect(proven.sort((a, b) => a - b)).toEqual(lies.map((_, at) => HONEST + at));
          } finally {
            await world.close();
          }
        }),
        budget("Byzantine detection", 20),
      );
    },
    patience(),
  );
});

import type { DissentPolicy, TxStatus, ViolationType } from "@quorate/core";
import {
  deliveries,
  nodeAt,
  TallyFold,
  txIdOf,
  type VotingPlan,
  votingPlans,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Cast } from "./scenario.ts";
import { clusterOf, NODES_MAX, POLICIES, votesOf } from "./vote-pool.ts";

const TX = txIdOf("tx");

const castsOf = ({ nodes }: VotingPlan): readonly Cast[] =>
  nodes.flatMap(({ values }, node) => values.map((value): Cast => [node, value]));

interface World {
  readonly plan: VotingPlan;
  readonly policy: DissentPolicy;
  /** What arrives together, in order. */
  readonly groups: readonly (readonly Cast[])[];
}

/** A plan and one way in which its votes may arrive. */
const worlds: fc.Arbitrary<World> = votingPlans({ trusteesMax: NODES_MAX }).chain((plan) =>
  fc.record({
    plan: fc.constant(plan),
    policy: fc.constantFrom(...POLICIES),
    groups: deliveries(castsOf(plan)),
  }),
);

function run({ plan, policy, groups }: World): TallyFold {
  const { set } = clusterOf(plan.nodes.length, plan.threshold);
  const fold = new TallyFold(set, { policy });
  for (const casts of groups) fold.commit(TX, { votes: votesOf(casts, TX) });
  return fold;
}

/** The rules once more, over what was sent and not over what arrived when: so no order can matter. */
function expected({ nodes, threshold }: VotingPlan, policy: DissentPolicy) {
  const single = nodes.flatMap(({ values }) => (values.length === 1 ? values : []));
  const equivocators = nodes.filter(({ values }) => values.length > 1).length;
  const silent = nodes.filter(({ values }) => values.length === 0).length;
  const counts = new Map<number, number>();
  for (const value of single) counts.set(value, (counts.get(value) ?? 0) + 1);
  const winner = [...counts].find(([, count]) => count >= threshold)?.[0] ?? null;
  const best = Math.max(0, ...counts.values());
  const dissent = equivocators > 0 || (winner !== null && counts.size > 1);
  let status: TxStatus | null = null;
  if (silent < nodes.length) {
    if (policy === "strict-abort" && dissent) status = "ABORTED_BYZANTINE";
    else if (winner !== null) status = "THRESHOLD_REACHED";
    else status = best + silent < threshold ? "ABORTED_BYZANTINE" : "COLLECTING";
  }
  const value = status === "THRESHOLD_REACHED" && winner !== null ? BigInt(winner) : null;
  return { status, value, winner };
}

/** Values that t trustees signed, an equivocator's words all counted: a majority that may have been seen for a while. */
const conceivableWinners = ({ nodes, threshold }: VotingPlan): readonly number[] =>
  [1, 2, 3].filter(
    (value) => nodes.filter(({ values }) => values.includes(value)).length >= threshold,
  );

const convicted = (fold: TallyFold, type: ViolationType): readonly string[] =>
  [...fold.snapshot(TX).violations]
    .filter(([, types]) => types.has(type))
    .map(([node]) => node)
    .sort();

function summary(fold: TallyFold) {
  const { status, record, violations } = fold.snapshot(TX);
  const strongest = (types: ReadonlySet<ViolationType>): ViolationType =>
    types.has("DOUBLE_VOTING") ? "DOUBLE_VOTING" : "MINORITY_VOTE";
  return {
    status,
    value: record?.value ?? null,
    bans: [...fold.bans.values()].map((b) => `${b.nodeId} ${b.reason} ${b.grade}`).sort(),
    violations: [...violations].map(([node, types]) => `${node} ${strongest(types)}`).sort(),
  };
}

describe("decide, over random clusters, votes, orders and groupings", () => {
  it("(a) ends as the rules say of all votes together, in whatever order and groups they came", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { status, record } = run(world).snapshot(TX);
        const rules = expected(world.plan, world.policy);
        expect({ status, value: record?.value ?? null }).toEqual({
          status: rules.status,
          value: rules.value,
        });
      }),
      { numRuns: 1_500 },
    );
  });

  it("(a) gives two deliveries of the same votes the same bans and violations", () => {
    const pairs = worlds
      .filter(({ plan }) => plan.nodes.every(({ values }) => values.length < 2))
      .chain((world) =>
        fc.record({ world: fc.constant(world), groups: deliveries(castsOf(world.plan)) }),
      );
    fc.assert(
      fc.property(pairs, ({ world, groups }) => {
        expect(summary(run({ ...world, groups }))).toEqual(summary(run(world)));
      }),
      { numRuns: 700 },
    );
  });

  // An equivocator's first vote may make a majority that its second unmakes. Whoever dissented from
  // that majority is convicted when it was seen and not when it never stood: t trustees did sign it,
  // and a ban can't be taken back. So beside equivocators the order decides OPINION bans, within these bounds.
  it("(a) convicts every dissenter from the final majority, and none without t signatures against it", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { plan } = world;
        const cluster = clusterOf(plan.nodes.length, plan.threshold);
        const { winner } = expected(plan, world.policy);
        const minority = convicted(run(world), "MINORITY_VOTE");
        for (const [node, { values }] of plan.nodes.entries()) {
          const { nodeId } = nodeAt(cluster, node);
          const [only] = values;
          const against = conceivableWinners(plan).filter((value) => value !== only);
          if (winner !== null && values.length === 1 && only !== winner)
            expect(minority).toContain(nodeId);
          if (values.length === 0 || (values.length === 1 && against.length === 0))
            expect(minority).not.toContain(nodeId);
        }
      }),
      { numRuns: 700 },
    );
  });

  it("(b) the same votes again, all of them, change nothing", () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 1, max: 3 }), (world, times) => {
        const fold = run(world);
        const before = fold.snapshot(TX);
        const votes = votesOf(castsOf(world.plan), TX);
        for (let i = 0; i < times; i++) expect(fold.commit(TX, { votes }).writes).toBeNull();
        expect(fold.snapshot(TX)).toEqual(before);
      }),
      { numRuns: 300 },
    );
  });

  it("(e) gives a PROOF ban to exactly those who signed two values", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { plan } = world;
        const cluster = clusterOf(plan.nodes.length, plan.threshold);
        const fold = run(world);
        const guilty = plan.nodes.flatMap(({ values }, node) =>
          values.length > 1 ? [nodeAt(cluster, node).nodeId] : [],
        );
        const proven = [...fold.bans.values()].filter((ban) => ban.grade === "PROOF");
        expect(proven.map((ban) => ban.nodeId).sort()).toEqual(guilty);
        expect(convicted(fold, "DOUBLE_VOTING")).toEqual(guilty);
      }),
      { numRuns: 700 },
    );
  });
});

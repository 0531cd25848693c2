import {
  countVotes,
  decide,
  type DissentPolicy,
  isSettled,
  type NodeId,
  TX_STATUSES,
  type TxId,
  type TxSnapshot,
  type TxStatus,
  type VerifiedVote,
  type ViolationType,
  verifyEvidence,
} from "@quorate/core";
import {
  deliveries,
  HONEST_VALUE,
  nodeAt,
  TallyFold,
  type TestCluster,
  testCluster,
  txIdOf,
  valueOf,
  type VotingPlan,
  vote,
  votingPlans,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const POLICIES = ["strict-abort", "quarantine-and-continue"] as const;
const TX = txIdOf("tx");
const NODES_MAX = 9;

// Signing is what costs; the same few hundred votes serve all runs.
const clusters = new Map<string, TestCluster>();
function clusterOf(trustees: number, threshold: number): TestCluster {
  const key = `${trustees}/${threshold}`;
  const cluster = clusters.get(key) ?? testCluster({ trustees, threshold });
  clusters.set(key, cluster);
  return cluster;
}
const signed = new Map<string, VerifiedVote>();
function voteBy(node: number, txId: string, value: number): VerifiedVote {
  const key = `${node}/${txId}/${value}`;
  const made = signed.get(key) ?? vote(clusterOf(NODES_MAX, NODES_MAX), node, txId, value);
  signed.set(key, made);
  return made;
}

const votesOf = ({ nodes }: VotingPlan): readonly VerifiedVote[] =>
  nodes.flatMap(({ values }, node) => values.map((value) => voteBy(node, TX, value)));

interface World {
  readonly plan: VotingPlan;
  readonly policy: DissentPolicy;
  readonly groups: readonly (readonly VerifiedVote[])[];
}

/** A plan and one way in which its votes may arrive. */
const worlds: fc.Arbitrary<World> = votingPlans({ trusteesMax: NODES_MAX }).chain((plan) =>
  fc.record({
    plan: fc.constant(plan),
    policy: fc.constantFrom(...POLICIES),
    groups: deliveries(votesOf(plan)),
  }),
);

function run({ plan, policy, groups }: World): TallyFold {
  const { set } = clusterOf(plan.nodes.length, plan.threshold);
  const fold = new TallyFold(set, { policy });
  for (const votes of groups) fold.commit(TX, { votes });
  return fold;
}

const equivocatorsOf = (plan: VotingPlan): readonly number[] =>
  plan.nodes.flatMap(({ values }, node) => (values.length > 1 ? [node] : []));

/** The rules once more, over what was sent and not over what arrived when: so no order can matter. */
function expected({ nodes, threshold }: VotingPlan, policy: DissentPolicy) {
  const single = nodes.filter(({ values }) => values.length === 1).map(({ values }) => values[0]);
  const equivocators = nodes.filter(({ values }) => values.length > 1).length;
  const silent = nodes.filter(({ values }) => values.length === 0).length;
  const counts = new Map<number | undefined, number>();
  for (const value of single) counts.set(value, (counts.get(value) ?? 0) + 1);
  const winner = [...counts].find(([, count]) => count >= threshold)?.[0] ?? null;
  const best = Math.max(0, ...counts.values());
  const strictly = policy === "strict-abort";
  let status: TxStatus | null = null;
  if (silent === nodes.length) status = null;
  else if (strictly && equivocators > 0) status = "ABORTED_BYZANTINE";
  else if (strictly && winner !== null && counts.size > 1) status = "ABORTED_BYZANTINE";
  else if (winner !== null) status = "THRESHOLD_REACHED";
  else status = best + silent < threshold ? "ABORTED_BYZANTINE" : "COLLECTING";
  const value = status === "THRESHOLD_REACHED" && winner !== null ? BigInt(winner) : null;
  return { status, value, winner };
}

const strongest = (types: ReadonlySet<ViolationType>): ViolationType =>
  types.has("DOUBLE_VOTING") ? "DOUBLE_VOTING" : "MINORITY_VOTE";

function summary(fold: TallyFold) {
  const { status, record, violations } = fold.snapshot(TX);
  return {
    status,
    value: record?.value ?? null,
    bans: [...fold.bans.values()].map((b) => `${b.nodeId} ${b.reason} ${b.grade}`).sort(),
    violations: [...violations].map(([node, types]) => `${node} ${strongest(types)}`).sort(),
  };
}

describe("decide, over random clusters, votes, orders and groupings", () => {
  it("(a) ends as the rules say of all votes together, whatever order and grouping they came in", () => {
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
    const pairs = worlds.chain((world) =>
      fc.record({ world: fc.constant(world), groups: deliveries(votesOf(world.plan)) }),
    );
    fc.assert(
      fc.property(pairs, ({ world, groups }) => {
        expect(summary(run({ ...world, groups }))).toEqual(summary(run(world)));
      }),
      { numRuns: 1_000 },
    );
  });

  it("(b) the same votes again, all of them, change nothing", () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 1, max: 3 }), (world, times) => {
        const fold = run(world);
        const before = fold.snapshot(TX);
        const all = votesOf(world.plan);
        for (let i = 0; i < times; i++) expect(fold.commit(TX, { votes: all }).writes).toBeNull();
        expect(fold.snapshot(TX)).toBe(before);
      }),
      { numRuns: 300 },
    );
  });

  it("(e) convicts exactly those who signed two values, with a proof that convinces a stranger", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const cluster = clusterOf(world.plan.nodes.length, world.plan.threshold);
        const fold = run(world);
        const proven = [...fold.bans.values()].filter((ban) => ban.grade === "PROOF");
        const guilty = equivocatorsOf(world.plan).map((node) => nodeAt(cluster, node).nodeId);
        expect(proven.map((ban) => ban.nodeId).sort()).toEqual(guilty);
        for (const ban of proven)
          expect(verifyEvidence(ban.evidence, cluster.set, cluster.verify)).toMatchObject({
            ok: true,
            value: { nodeId: ban.nodeId },
          });
      }),
      { numRuns: 500 },
    );
  });
});

type Op =
  | { readonly kind: "votes"; readonly txId: TxId; readonly casts: readonly [number, number][] }
  | { readonly kind: "deadline" | "claim" | "confirm"; readonly txId: TxId };

void ({} as Op);
void isSettled;
void countVotes;
void decide;
void TX_STATUSES;
void HONEST_VALUE;
void valueOf;
export type { NodeId, TxSnapshot };

import {
  assertNever,
  countVotes,
  type DissentPolicy,
  decide,
  decideClaim,
  decideConfirm,
  isSettled,
  onlySet,
  TX_STATUSES,
  type TxSnapshot,
  type Violation,
  verifyEvidence,
} from "@quorate/core";
import {
  HONEST_VALUE,
  nodeAt,
  TallyFold,
  type TestCluster,
  txIdOf,
  valueOf,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Cast } from "./scenario.ts";
import { clusterOf, NODES_MAX, POLICIES, voteBy, votesOf } from "./vote-pool.ts";

type Op =
  | { readonly kind: "votes"; readonly txId: string; readonly casts: readonly Cast[] }
  | { readonly kind: "deadline" | "claim" | "confirm"; readonly txId: string };

interface History {
  readonly trustees: number;
  readonly threshold: number;
  readonly policy: DissentPolicy;
  readonly profile: "strict" | "balanced";
  /** Nodes from this index on may sign anything; those before it sign HONEST_VALUE only. */
  readonly honest: number;
  readonly ops: readonly Op[];
}

const TX_IDS = ["tx-a", "tx-b", "tx-c"];

/** Whatever may happen to a few transactions of one cluster, also with a threshold of at most half. */
const histories: fc.Arbitrary<History> = fc
  .integer({ min: 1, max: NODES_MAX })
  .chain((trustees) => fc.tuple(fc.constant(trustees), fc.nat(trustees)))
  .chain(([trustees, honest]) => {
    const cast: fc.Arbitrary<Cast> = fc
      .tuple(fc.nat(trustees - 1), fc.constantFrom(1, 1, 1, 2, 3))
      .map(([node, value]) => [node, node < honest ? HONEST_VALUE : value]);
    const txId = fc.constantFrom(...TX_IDS);
    const op: fc.Arbitrary<Op> = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constant("votes" as const),
          txId,
          casts: fc.array(cast, { minLength: 1, maxLength: 6 }),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constantFrom("deadline" as const, "claim" as const, "confirm" as const),
          txId,
        }),
      },
    );
    return fc.record({
      trustees: fc.constant(trustees),
      threshold: fc.integer({ min: 1, max: trustees }),
      policy: fc.constantFrom(...POLICIES),
      profile: fc.constantFrom("strict" as const, "balanced" as const),
      honest: fc.constant(honest),
      ops: fc.array(op, { minLength: 1, maxLength: 20 }),
    });
  });

function step(fold: TallyFold, cluster: TestCluster, op: Op, nowMs: number): void {
  const txId = txIdOf(op.txId);
  switch (op.kind) {
    case "votes":
      fold.commit(txId, { votes: votesOf(op.casts, op.txId), nowMs });
      return;
    case "deadline":
      fold.commit(txId, { deadlinePassed: true, nowMs });
      return;
    case "claim": {
      const claim = decideClaim(fold.snapshot(txId), cluster.set, cluster.verify);
      // The status comes from decide itself here, so it must always be backed.
      expect(["claim", "not-ready"]).toContain(claim.kind);
      if (claim.kind === "claim") fold.apply(claim.writes);
      return;
    }
    case "confirm": {
      const writes = decideConfirm(fold.snapshot(txId), { txHash: "0xab", blockNumber: "1" });
      if (writes !== null) fold.apply(writes);
      return;
    }
    default:
      assertNever(op);
  }
}

/** Runs a history; `check` sees each transaction before and after each step. */
function replay(
  history: History,
  check: (fold: TallyFold, before: TxSnapshot, after: TxSnapshot, op: Op) => void,
): TallyFold {
  const { trustees, threshold, policy, profile, ops } = history;
  const cluster = clusterOf(trustees, threshold);
  const fold = new TallyFold(cluster.set, { policy, profile });
  for (const [at, op] of ops.entries()) {
    const txId = txIdOf(op.txId);
    const before = fold.snapshot(txId);
    step(fold, cluster, op, at);
    check(fold, before, fold.snapshot(txId), op);
  }
  return fold;
}

describe("the tally, over random histories of several transactions", () => {
  it("(c) counts exactly the distinct votes, always", () => {
    fc.assert(
      fc.property(histories, (history) => {
        replay(history, (fold, _before, after) => {
          const counts = countVotes(after.votes.values());
          for (const value of [1, 2, 3].map(valueOf))
            expect(fold.count(after.txId, value)).toBe(counts.get(value) ?? 0);
        });
      }),
      { numRuns: 300 },
    );
  });

  it("(d) says THRESHOLD_REACHED only with t identical votes, and under strict-abort without dissent", () => {
    fc.assert(
      fc.property(histories, (history) => {
        replay(history, (_fold, _before, { status, record, votes, violations }) => {
          if (status !== "THRESHOLD_REACHED") return;
          const equivocators = [...violations].filter(([, t]) => t.has("DOUBLE_VOTING"));
          const guilty = new Set(equivocators.map(([node]) => node));
          const effective = [...votes].filter(([node]) => !guilty.has(node));
          const forIt = effective.filter(([, v]) => v.vote.value === record?.value);
          expect(forIt.length).toBeGreaterThanOrEqual(history.threshold);
          if (history.policy !== "strict-abort") return;
          expect(guilty.size).toBe(0);
          expect(forIt).toHaveLength(effective.length);
        });
      }),
      { numRuns: 700 },
    );
  });

  it("(e) never bans an honest trustee with a PROOF", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const fold = replay(history, () => undefined);
        const cluster = clusterOf(history.trustees, history.threshold);
        for (let node = 0; node < history.honest; node++)
          expect(fold.bans.get(nodeAt(cluster, node).peerId)?.grade).not.toBe("PROOF");
      }),
      { numRuns: 700 },
    );
  });

  it("(f) bans nobody without stored evidence that convinces a stranger, silence excepted", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const { set, verify } = clusterOf(history.trustees, history.threshold);
        const seen = new Set<Violation>();
        const fold = replay(history, (current) => {
          for (const violation of current.violations) {
            if (seen.has(violation)) continue;
            seen.add(violation);
            const found = verifyEvidence(violation.evidence, onlySet(set), verify);
            expect(found.ok ? found.value.nodeId : violation.type).toBe(
              violation.type === "SILENT_FAILURE" ? "SILENT_FAILURE" : violation.nodeId,
            );
          }
        });
        for (const ban of fold.bans.values())
          expect(
            [...seen].some((v) => v.peerId === ban.peerId && v.evidence === ban.evidence),
          ).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("(g) never changes a settled outcome but from SUBMITTED to CONFIRMED, and records each vote once for ever", () => {
    fc.assert(
      fc.property(histories, (history) => {
        replay(history, (fold, before, after, op) => {
          for (const [node, stored] of before.votes) expect(after.votes.get(node)).toBe(stored);
          if (!isSettled(before.status)) return;
          const confirmed = op.kind === "confirm" && before.status === "SUBMITTED";
          expect(after.status).toBe(confirmed ? "CONFIRMED" : before.status);
          expect(after.record?.value).toBe(before.record?.value);
          expect(after.record?.reason).toBe(before.record?.reason);
          const kind = after.status === "ABORTED_BYZANTINE" ? "ABORT" : "SUBMIT";
          expect(fold.decisions.get(after.txId)?.kind).toBe(kind);
        });
      }),
      { numRuns: 700 },
    );
  });

  it("heals or keeps whatever somebody forged, and never throws over it", () => {
    const forgeries = fc.record({
      history: histories,
      status: fc.constantFrom(null, ...TX_STATUSES),
      value: fc.constantFrom(null, 1, 2, 66),
      keepRecord: fc.boolean(),
      stranger: fc.boolean(),
      op: fc.record({ casts: fc.array(fc.nat(3), { maxLength: 3 }), deadline: fc.boolean() }),
    });
    fc.assert(
      fc.property(forgeries, ({ history, status, value, keepRecord, stranger, op }) => {
        const fold = replay(history, () => undefined);
        const txId = txIdOf("tx-a");
        const real = fold.snapshot(txId);
        const votes = new Map(real.votes);
        if (stranger && history.trustees < NODES_MAX) {
          // A vote under the key of a node that is no trustee of this set.
          const foreign = voteBy(NODES_MAX - 1, "tx-a", 2);
          votes.set(foreign.vote.nodeId, foreign);
        }
        const record =
          keepRecord && real.record !== null
            ? { ...real.record, value: value === null ? null : valueOf(value) }
            : null;
        const forged: TxSnapshot = { ...real, status, record, votes };
        const { writes } = decide(
          forged,
          {
            votes: votesOf(
              op.casts.filter((node) => node < history.trustees).map((node) => [node, 1]),
              "tx-a",
            ),
            nowMs: 1_000,
            deadlinePassed: op.deadline,
          },
          {
            set: fold.set,
            config: fold.config,
            bans: fold.banGrades(),
            silenceStreaks: fold.silenceStreaks,
            verify: clusterOf(history.trustees, history.threshold).verify,
          },
        );
        if (isSettled(status)) expect(writes?.status ?? status).toBe(status);
        if (writes?.status !== "THRESHOLD_REACHED") return;
        const trustees = new Set(fold.set.byNodeId.keys());
        const all = [...votes.values(), ...writes.newVotes].filter((v) =>
          trustees.has(v.vote.nodeId),
        );
        const best = Math.max(0, ...countVotes(all).values());
        expect(best).toBeGreaterThanOrEqual(history.threshold);
      }),
      { numRuns: 700 },
    );
  });
});

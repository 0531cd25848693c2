import { describe, expect, it } from "vitest";
import type { Evidence } from "./evidence.ts";
import { deviations } from "./judge.ts";
import { chooseScenarios } from "./run-demo.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";

/** The evidence that a scenario leaves when all went as it must. */
function evidenceOf({ expected }: Scenario): Evidence {
  const events = expected.onChain === null ? 0 : 1;
  return {
    chain: {
      value: expected.onChain,
      txHash: events === 0 ? null : "0x1",
      events,
      eventsOfAll: events,
      headBlock: "9",
    },
    etcd: {
      status: expected.status,
      value: expected.onChain,
      reason: expected.reason,
      counts: expected.votes,
      votes: expected.votes,
      banned: expected.banned,
      violations: expected.violations,
      threshold: "4",
      totalNodes: "5",
      keys: 20,
    },
    postgres: {
      voteHistory: Object.values(expected.votes).reduce((sum, n) => sum + n, 0),
      byzantineViolations: expected.violations.length,
      blockchainSubmission: expected.status,
    },
  };
}

function scenario(name: string): Scenario {
  const found = SCENARIOS.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

describe("the demo's judge", () => {
  it.each(SCENARIOS.map((s) => [s.name, s] as const))("accepts what %s must leave", (_name, s) => {
    expect(deviations(s.expected, evidenceOf(s))).toEqual([]);
  });

  it.each(
    SCENARIOS.flatMap((one) =>
      SCENARIOS.filter((other) => other.expected !== one.expected).map(
        (other) => [one, other] as const,
      ),
    )
      .filter(
        ([one, other]) => !one.name.startsWith("minority") || !other.name.startsWith("minority"),
      )
      .map(([one, other]) => [one.name, other.name, one, other] as const),
  )("does not take %s for %s", (_a, _b, one, other) => {
    expect(deviations(other.expected, evidenceOf(one))).not.toEqual([]);
  });

  it("finds each single thing that is not as it must be", () => {
    const s = scenario("minority-late");
    const good = evidenceOf(s);
    const spoiled: readonly (readonly [string, Evidence])[] = [
      ["contract's value", { ...good, chain: { ...good.chain, value: "1" } }],
      ["events for this transaction", { ...good, chain: { ...good.chain, events: 1 } }],
      ["events at all", { ...good, chain: { ...good.chain, eventsOfAll: 1 } }],
      ["status", { ...good, etcd: { ...good.etcd, status: "CONFIRMED" } }],
      ["decided value", { ...good, etcd: { ...good.etcd, value: "1" } }],
      ["abort reason", { ...good, etcd: { ...good.etcd, reason: null } }],
      ["recorded votes", { ...good, etcd: { ...good.etcd, votes: { "1": 4 } } }],
      ["vote counters", { ...good, etcd: { ...good.etcd, counts: { "1": 4, "2": 2 } } }],
      ["banned", { ...good, etcd: { ...good.etcd, banned: [] } }],
      ["violations", { ...good, etcd: { ...good.etcd, violations: ["DOUBLE_VOTING"] } }],
      ["threshold", { ...good, etcd: { ...good.etcd, threshold: "3" } }],
      ["total_nodes", { ...good, etcd: { ...good.etcd, totalNodes: null } }],
      ["vote_history", { ...good, postgres: { ...good.postgres, voteHistory: 4 } }],
      ["byzantine_violations", { ...good, postgres: { ...good.postgres, byzantineViolations: 0 } }],
      [
        "blockchain_submissions",
        { ...good, postgres: { ...good.postgres, blockchainSubmission: "PENDING" } },
      ],
    ];
    for (const [what, evidence] of spoiled)
      expect(deviations(s.expected, evidence), what).toEqual([expect.stringContaining(what)]);
  });

  it("keeps the scenarios' own order when some are chosen", () => {
    const names = chooseScenarios("split, consensus").map((s) => s.name);
    expect(names).toEqual(["consensus", "split"]);
    expect(chooseScenarios(undefined)).toHaveLength(7);
  });
});

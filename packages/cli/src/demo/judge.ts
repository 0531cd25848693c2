import type { Evidence } from "./evidence.ts";
import { type Expectation, THRESHOLD, TRUSTEES } from "./scenarios.ts";

/** Everything in which the evidence differs from what must be; empty when the scenario ended as it must. */
export function deviations(expected: Expectation, found: Evidence): readonly string[] {
  const problems: string[] = [];
  const check = (what: string, must: unknown, is: unknown): void => {
    const [a, b] = [canonical(must), canonical(is)];
    if (a !== b) problems.push(`${what} must be ${a}, but is ${b}`);
  };
  const { chain, etcd, postgres } = found;
  const votes = Object.values(expected.votes).reduce((sum, n) => sum + n, 0);
  const onChain = expected.onChain === null ? 0 : 1;
  check("the contract's value", expected.onChain, chain.value);
  check("the number of its events for this transaction", onChain, chain.events);
  check("the number of its events at all", onChain, chain.eventsOfAll);
  check("etcd's status", expected.status, etcd.status);
  check("the decided value", expected.onChain, etcd.value);
  check("etcd's threshold", String(THRESHOLD), etcd.threshold);
  check("etcd's total_nodes", String(TRUSTEES), etcd.totalNodes);
  check("the abort reason", expected.reason, etcd.reason);
  check("the recorded votes", expected.votes, etcd.votes);
  check("the vote counters", expected.votes, etcd.counts);
  check("who is banned", expected.banned, etcd.banned);
  check("the violations", expected.violations, etcd.violations);
  check("rows in vote_history", votes, postgres.voteHistory);
  check("rows in byzantine_violations", expected.violations.length, postgres.byzantineViolations);
  check("the state in blockchain_submissions", expected.status, postgres.blockchainSubmission);
  return problems;
}

function canonical(value: unknown): string {
  if (Array.isArray(value))
    return value.length === 0 ? "nobody or none" : value.map(String).toSorted().join(", ");
  if (typeof value === "object" && value !== null)
    return Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, count]) => `${key}×${String(count)}`)
      .join(" ");
  return value === null ? "nothing" : JSON.stringify(value);
}

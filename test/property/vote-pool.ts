import type { VerifiedVote } from "@quorate/core";
import { type TestCluster, testCluster, vote } from "@quorate/testkit";
import type { Cast } from "./scenario.ts";

/** The largest cluster of the properties. */
export const NODES_MAX = 9;

export const POLICIES = ["strict-abort", "quarantine-and-continue"] as const;

// Signing is what costs; the same few hundred votes serve all runs.
const clusters = new Map<string, TestCluster>();
const signed = new Map<string, VerifiedVote>();

/** @param trustees 1 to NODES_MAX. The keys are the same in all of them. */
export function clusterOf(trustees: number, threshold: number): TestCluster {
  const key = `${trustees}/${threshold}`;
  const cluster = clusters.get(key) ?? testCluster({ trustees, threshold });
  clusters.set(key, cluster);
  return cluster;
}

export function voteBy(node: number, txId: string, value: number): VerifiedVote {
  const key = `${node}/${txId}/${value}`;
  const made = signed.get(key) ?? vote(clusterOf(NODES_MAX, NODES_MAX), node, txId, value);
  signed.set(key, made);
  return made;
}

export function votesOf(casts: readonly Cast[], txId: string): readonly VerifiedVote[] {
  return casts.map(([node, value]) => voteBy(node, txId, value));
}

import {
  doubleVotingEvidence,
  type Evidence,
  gradeOf,
  onlySet,
  type VerifiedVote,
  type ViolationType,
  voteToJson,
} from "@quorate/core";
import type { StandaloneViolation } from "@quorate/ports";
import { nodeAt, testCluster, vote } from "@quorate/testkit";
import { expect, test } from "vitest";
import { isBorneOut } from "./borne-out.ts";
import { tx } from "./test-world.ts";

const cluster = testCluster({ trustees: 5, threshold: 3 });
const sets = onlySet(cluster.set);

type Violation = StandaloneViolation["violation"];

function violation(type: ViolationType, evidence: Evidence): Violation {
  const { nodeId, peerId } = nodeAt(cluster, 1);
  const txId = tx("tx");
  return { txId, peerId, nodeId, type, grade: gradeOf(type), evidence, detectedAtMs: 5 };
}

const double = violation(
  "DOUBLE_VOTING",
  doubleVotingEvidence(vote(cluster, 1, "tx", 7), vote(cluster, 1, "tx", 8)),
);
const json = (signed: VerifiedVote) => voteToJson(signed, signed.peerId);
const majority = [0, 2, 3].map((i) => json(vote(cluster, i, "tx", 8)));
const minority = violation("MINORITY_VOTE", {
  type: "MINORITY_VOTE",
  vote: json(vote(cluster, 1, "tx", 7)),
  threshold: 3,
  majority,
});
const silentEvidence = {
  type: "SILENT_FAILURE",
  nodeId: nodeAt(cluster, 1).nodeId,
  openedAtMs: 1,
  deadlineAtMs: 2,
  voted: [],
} as const;
const silent = violation("SILENT_FAILURE", silentEvidence);
const holds = (claim: Violation, known = sets): boolean => isBorneOut(claim, known, cluster.verify);

test("genuine evidence backs its violation, and an observation of a trustee is taken as it is", () => {
  expect([double, minority, silent].map((claim) => holds(claim))).toEqual([true, true, true]);
});

test("a genuine violation copied to another transaction, peer, type or grade is backed by nothing", () => {
  const other = nodeAt(cluster, 2);
  const forged: readonly Violation[] = [
    { ...minority, txId: tx("tx-2") },
    { ...minority, peerId: other.peerId, nodeId: other.nodeId },
    { ...minority, type: "SILENT_FAILURE" },
    { ...silent, type: "DOUBLE_VOTING", grade: "PROOF" },
    { ...silent, grade: "PROOF" },
    { ...double, grade: "OPINION" },
    { ...silent, peerId: other.peerId },
    { ...silent, nodeId: other.nodeId },
    { ...silent, evidence: { ...silentEvidence, nodeId: other.nodeId } },
  ];
  expect(forged.map((claim) => holds(claim))).toEqual(forged.map(() => false));
});

test("without good signatures, or of an epoch nobody knows, it is backed by nothing", () => {
  const first = json(vote(cluster, 1, "tx", 7));
  const second = { ...json(vote(cluster, 1, "tx", 8)), signature: first.signature };
  const forged = violation("DOUBLE_VOTING", { type: "DOUBLE_VOTING", first, second });
  expect(holds(forged)).toBe(false);
  expect([double, silent].map((claim) => holds(claim, new Map()))).toEqual([false, false]);
});

import { type EvidenceFile, toBase64 } from "@quorate/core";
import { nodeAt } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { cluster, INPUTS, judge, lying, refused, textOf } from "./evidence-cases.ts";

describe("a node that signs a lie into a file", () => {
  const double = textOf(INPUTS.DOUBLE_VOTING);
  const quiet = textOf(INPUTS.SILENT_FAILURE);
  const lesser = textOf(INPUTS.MINORITY_VOTE);
  const other = nodeAt(cluster, 0);
  const record = (file: EvidenceFile, change: object): EvidenceFile => ({
    ...file,
    tally: { ...file.tally!, record: { ...file.tally!.record, ...change } },
  });

  it("signs what is otherwise good: the lies below fail by themselves", () => {
    expect(judge(lying(double, (file) => file)).ok).toBe(true);
    expect(judge(lying(quiet, (file) => file)).ok).toBe(true);
  });

  it.each<[string, string, (file: EvidenceFile) => object]>([
    ["accused is not", double, (f) => ({ ...f, accused: { ...f.accused, nodeId: other.nodeId } })],
    ["accused is not", double, (f) => ({ ...f, accused: { ...f.accused, peerId: other.peerId } })],
    [
      "accused is not",
      double,
      (f) => ({ ...f, accused: { ...f.accused, publicKey: "00".repeat(32) } }),
    ],
    ["grade is not", lesser, (f) => ({ ...f, grade: "PROOF" })],
    ["grade is not", quiet, (f) => ({ ...f, grade: "PROOF" })],
    ["rule is not", double, (f) => ({ ...f, rule: "It must be so." })],
    ["finding is not", double, (f) => ({ ...f, finding: f.finding.replace("two", "ten") })],
    ["the evidence is of", double, (f) => ({ ...f, id: f.id.replace("tx/", "ty/") })],
    [
      "is of DOUBLE_VOTING, not of",
      double,
      (f) => ({ ...f, id: f.id.replace("DOUBLE_VOTING", "MINORITY_VOTE") }),
    ],
    ["type is not", double, (f) => ({ ...f, type: "MINORITY_VOTE" })],
    [
      "can't be one",
      double,
      (f) => ({
        ...f,
        clusterId: f.clusterId,
        trusteeSets: f.trusteeSets.map((s) => ({ ...s, threshold: 5 })),
      }),
    ],
    [
      "does not belong to its public key",
      double,
      (f) => ({
        ...f,
        trusteeSets: f.trusteeSets.map((s) => ({
          ...s,
          trustees: s.trustees.map((t, i) => (i === 0 ? { ...t, publicKey: "11".repeat(32) } : t)),
        })),
      }),
    ],
    [
      "no use for",
      double,
      (f) => ({ ...f, trusteeSets: [...f.trusteeSets, { ...f.trusteeSets[0], epoch: 2 }] }),
    ],
    [
      "order of their epochs",
      double,
      (f) => ({ ...f, trusteeSets: [f.trusteeSets[0], f.trusteeSets[0]] }),
    ],
    [
      "epoch 1 is not there",
      double,
      (f) => ({ ...f, trusteeSets: f.trusteeSets.map((s) => ({ ...s, epoch: 2 })) }),
    ],
    [
      "in none of its trustee sets",
      double,
      (f) => ({ ...f, exportedBy: { ...f.exportedBy, nodeId: other.nodeId } }),
    ],
    [
      "signature is not valid",
      double,
      (f) => ({
        ...f,
        exportedBy: { ...f.exportedBy, nodeId: other.nodeId, peerId: other.peerId },
      }),
    ],
    ["must come with the tally", lesser, (f) => ({ ...f, tally: null })],
    ["must come without the tally", double, (f) => ({ ...f, tally: JSON.parse(lesser).tally })],
    [
      "one a trustee",
      lesser,
      (f) => ({ ...f, tally: { ...f.tally, votes: f.tally!.votes.toReversed() } }),
    ],
    [
      "does not hold the votes",
      lesser,
      (f) => ({ ...f, tally: { ...f.tally, votes: f.tally!.votes.slice(1) } }),
    ],
    [
      "vote of node-001 is another trustee's",
      lesser,
      (f) => ({
        ...f,
        tally: {
          ...f.tally,
          votes: f.tally!.votes.map((v, i) =>
            i === 0 ? { nodeId: v.nodeId, vote: f.tally!.votes[1]!.vote } : v,
          ),
        },
      }),
    ],
    [
      "who is said to have voted",
      quiet,
      (f) => ({ ...f, tally: { ...f.tally, votes: f.tally!.votes.slice(1) } }),
    ],
    ["transaction's times", quiet, (f) => record(f, { openedAtMs: 1 })],
    ["transaction's times", quiet, (f) => record(f, { deadlineAtMs: 1 })],
    ["was banned when tx opened", quiet, (f) => record(f, { excluded: ["node-004"] })],
    ["does not name node-004 as absent", quiet, (f) => record(f, { absent: [] })],
    ["does not name node-004 as absent", quiet, (f) => record(f, { absent: null })],
    [
      "both as a voter and as absent",
      quiet,
      (f) => ({ ...f, evidence: { ...f.evidence, voted: ["node-001", "node-004"] } }),
    ],
    [
      "named twice",
      quiet,
      (f) => ({ ...f, evidence: { ...f.evidence, voted: ["node-001", "node-001"] } }),
    ],
    [
      "an outage is held against nobody",
      quiet,
      (f) => record(f, { absent: ["node-003", "node-004"] }),
    ],
    ["is not a trustee", quiet, (f) => ({ ...f, evidence: { ...f.evidence, nodeId: "node-009" } })],
    ["for another transaction", quiet, (f) => ({ ...f, id: f.id.replace("tx/", "ty/") })],
    [
      "not the one that was signed",
      double,
      (f) => ({
        ...f,
        evidence: { ...f.evidence, first: { ...JSON.parse(double).evidence.first, value: "3" } },
      }),
    ],
    ["keys", double, (f) => ({ ...f, evidence: { ...f.evidence, note: "x" } })],
  ])("is caught: %s", (said, text, change) => {
    expect(refused(lying(text, change))).toMatch(new RegExp(said));
  });

  it("can't make up the vote of one who is said to have voted", () => {
    const changed = lying(quiet, (file) => {
      const [first, ...rest] = file.tally!.votes;
      const forgedVote = { ...first!.vote, signature: toBase64(new Uint8Array(64)) };
      const tally = { ...file.tally, votes: [{ ...first, vote: forgedVote }, ...rest] };
      return { ...file, tally };
    });
    expect(refused(changed)).toContain("vote of node-001: signature is not by node-001");
  });

  it("can't make a vote up: a leaf that nobody signed is no vote", () => {
    const changed = lying(double, (file) => {
      const evidence = file.evidence as { first: { leaf: string }; second: { signature: string } };
      return {
        ...file,
        evidence: {
          ...evidence,
          second: { ...evidence.second, signature: toBase64(new Uint8Array(64)) },
        },
      };
    });
    expect(refused(changed)).toContain("second vote: signature is not by node-004");
  });
});

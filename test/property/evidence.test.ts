import {
  type EnvelopeJson,
  type Evidence,
  encodeFrame,
  evidenceHash,
  onlySet,
  signFrame,
  unwrap,
  type VoteJson,
  verifyEvidence,
  voteToJson,
} from "@quorate/core";
import {
  nodeAt,
  signedEnvelope,
  signedFrame,
  type TestCluster,
  tamper,
  testCluster,
  unsignedVote,
  votes,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const cluster = testCluster({ trustees: 5, threshold: 3 });
const { set, verify } = cluster;

/** A vote out of a batch of three, so that its proof has a path. */
const json = (node: number, txId: string, value: number, of: TestCluster = cluster): VoteJson => {
  const batch = votes(of, node, [
    { txId: "other-1", value: 0 },
    { txId, value },
    { txId: "other-2", value: 0 },
  ]);
  return voteToJson(batch[1]!, nodeAt(of, node).peerId);
};

const doubleVoting = {
  type: "DOUBLE_VOTING",
  first: json(0, "tx", 1),
  second: json(0, "tx", 2),
} as const;
const minority = {
  type: "MINORITY_VOTE",
  vote: json(4, "tx", 2),
  threshold: 3,
  majority: [json(0, "tx", 1), json(1, "tx", 1), json(2, "tx", 1)],
} as const;

/** Node 3 publishes a vote in node 1's name that node 3 signed itself. */
const forgedFrame = encodeFrame(
  signFrame([unsignedVote(cluster, 1, { txId: "tx", value: 9 })], (message) =>
    nodeAt(cluster, 3).signer.sign(message),
  ),
);
const invalidSignature = {
  type: "INVALID_SIGNATURE",
  envelope: signedEnvelope(cluster, 3, forgedFrame),
} as const;

const judge = (evidence: Evidence) => verifyEvidence(evidence, onlySet(set), verify);
const refused = (evidence: Evidence): string => {
  const result = judge(evidence);
  expect(result.ok).toBe(false);
  return result.ok ? "" : result.error;
};

describe("good evidence", () => {
  it("of double voting names the trustee who signed both", () => {
    expect(unwrap(judge(doubleVoting))).toEqual({
      nodeId: "node-001",
      peerId: nodeAt(cluster, 0).peerId,
      txId: "tx",
      sentence: "node-001 signed two votes for tx in epoch 1: 1 and 2.",
    });
  });

  it("of a minority vote names the dissenter", () => {
    expect(unwrap(judge(minority))).toEqual({
      nodeId: "node-005",
      peerId: nodeAt(cluster, 4).peerId,
      txId: "tx",
      sentence: "node-005 voted 2 for tx in epoch 1, against 3 trustees who voted 1.",
    });
  });

  it("of a bad signature names who published it, not who it is made to look like [R2]", () => {
    expect(unwrap(judge(invalidSignature))).toEqual({
      nodeId: "node-004",
      peerId: nodeAt(cluster, 3).peerId,
      txId: "tx",
      sentence:
        "node-004 published a vote in the name of node-002 for tx whose signature is not node-002's.",
    });
  });

  it("survives being written to a file and read again", () => {
    for (const evidence of [doubleVoting, minority, invalidSignature]) {
      const read = JSON.parse(JSON.stringify(evidence)) as Evidence;
      expect(judge(read)).toEqual(judge(evidence));
      expect(evidenceHash(read)).toBe(evidenceHash(evidence));
    }
  });

  it("can't be given of silence: it is an observation", () => {
    expect(
      refused({
        type: "SILENT_FAILURE",
        nodeId: "node-001",
        openedAtMs: 0,
        deadlineAtMs: 1,
        voted: [],
      }),
    ).toContain("observation");
  });
});

/** The evidence as JSON, one of its base64 texts with one bit flipped. */
function flipped(evidence: Evidence, choice: number, at: number, bit: number): Evidence {
  const paths: string[] = [];
  const BASE64_FIELDS = new Set(["leaf", "signature", "path", "from", "data", "seqno"]);
  const walk = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [key, child] of Object.entries(node)) {
      if (typeof child === "string" && BASE64_FIELDS.has(key)) paths.push(`${path}/${key}`);
      walk(child, `${path}/${key}`);
    }
  };
  walk(evidence, "");
  const target = paths[choice % paths.length];
  const rebuild = (node: unknown, path: string): unknown => {
    if (path === target) {
      const bytes = Buffer.from(String(node), "base64");
      return Buffer.from(tamper(bytes, at % bytes.length, 1 << bit)).toString("base64");
    }
    if (Array.isArray(node)) return node.map((child, i) => rebuild(child, `${path}/${i}`));
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(
      Object.entries(node).map(([key, child]) => [key, rebuild(child, `${path}/${key}`)]),
    );
  };
  return rebuild(evidence, "") as Evidence;
}

describe("changed evidence", () => {
  it.each([
    ["double voting", doubleVoting, 6],
    ["a minority vote", minority, 12],
    ["a bad signature", invalidSignature, 4],
  ] as const)("of %s is refused, whichever signed byte was changed", (_, evidence, fields) => {
    expect(judge(evidence).ok).toBe(true);
    fc.assert(
      fc.property(fc.nat(fields - 1), fc.nat(1_000), fc.nat(7), (field, at, bit) => {
        expect(judge(flipped(evidence, field, at, bit)).ok).toBe(false);
      }),
      { numRuns: 250 },
    );
  });

  it("is refused when what people read in it is not what was signed", () => {
    const { first, second } = doubleVoting;
    for (const change of [
      { value: "7" },
      { timestamp: "2001-01-01T00:00:00.000Z" },
      { timestamp: "yesterday" },
      { peer_id: nodeAt(cluster, 1).peerId },
      { index: 0 },
      { size: 4 },
    ])
      refused({ type: "DOUBLE_VOTING", first, second: { ...second, ...change } });
    expect(refused({ ...minority, threshold: 2 })).toContain("threshold of epoch 1 is 3");
    refused({
      ...invalidSignature,
      envelope: { ...invalidSignature.envelope, topic: "quorate/test/other" },
    });
  });

  it("is refused in another cluster and in another epoch", () => {
    for (const other of [
      testCluster({ trustees: 5, threshold: 3, clusterId: "elsewhere" }),
      testCluster({ trustees: 5, threshold: 3, epoch: 2 }),
      testCluster({ trustees: 5, threshold: 3, seed: 2 }),
    ])
      for (const evidence of [doubleVoting, minority, invalidSignature])
        expect(verifyEvidence(evidence, onlySet(other.set), verify).ok).toBe(false);
  });
});

describe("framing", () => {
  it("by putting two trustees' votes together fails", () => {
    expect(
      refused({ type: "DOUBLE_VOTING", first: json(0, "tx", 1), second: json(1, "tx", 2) }),
    ).toBe("the two votes are by different trustees");
  });

  it("by the same value twice fails, also when it was signed at another time", () => {
    const later = votes(cluster, 0, [{ txId: "tx", value: 1, issuedAtMs: 5 }])[0]!;
    for (const second of [json(0, "tx", 1), voteToJson(later, nodeAt(cluster, 0).peerId)])
      expect(refused({ type: "DOUBLE_VOTING", first: json(0, "tx", 1), second })).toBe(
        "the two votes are for the same value",
      );
  });

  it("by votes for different transactions fails", () => {
    expect(
      refused({ type: "DOUBLE_VOTING", first: json(0, "tx", 1), second: json(0, "tx2", 2) }),
    ).toBe("the two votes are for different transactions");
  });

  it("by a vote from another epoch or cluster fails", () => {
    for (const options of [{ epoch: 2 }, { clusterId: "elsewhere" }]) {
      const other = testCluster({ trustees: 5, threshold: 3, ...options });
      refused({
        type: "DOUBLE_VOTING",
        first: json(0, "tx", 1),
        second: json(0, "tx", 2, other),
      });
    }
  });

  it("by a majority that is too small, counted twice, divided or elsewhere fails", () => {
    const [a, b, c] = minority.majority;
    expect(refused({ ...minority, majority: [a, b] })).toContain("only 2 of 3");
    expect(refused({ ...minority, majority: [a, b, b] })).toContain("only 2 of 3");
    expect(refused({ ...minority, majority: [] })).toContain("only 0 of 3");
    expect(refused({ ...minority, majority: [a, b, json(2, "tx", 3)] })).toContain("differ");
    expect(refused({ ...minority, majority: [a, b, json(2, "tx2", 1)] })).toContain(
      "another transaction",
    );
    expect(refused({ ...minority, vote: json(4, "tx", 1), majority: [a, b, c] })).toContain(
      "agrees with the majority",
    );
  });

  it("by an envelope around a good vote fails: nobody did anything", () => {
    const good = encodeFrame(signedFrame(cluster, 1, [{ txId: "tx", value: 1 }]));
    for (const publisher of [1, 3])
      expect(
        refused({ type: "INVALID_SIGNATURE", envelope: signedEnvelope(cluster, publisher, good) }),
      ).toBe("the vote's signature is valid");
  });

  it("by an envelope that its publisher did not sign fails", () => {
    const { envelope } = invalidSignature;
    const from = signedEnvelope(cluster, 2, forgedFrame).from;
    const forgeries: EnvelopeJson[] = [
      { ...envelope, from },
      { ...envelope, signature: signedEnvelope(cluster, 2, forgedFrame).signature },
    ];
    for (const forged of forgeries)
      expect(refused({ type: "INVALID_SIGNATURE", envelope: forged })).toContain(
        "publisher's own signature is not valid",
      );
  });

  it("by an envelope from outside the trustee set fails", () => {
    const larger = testCluster({ trustees: 6, threshold: 3 });
    expect(
      refused({ type: "INVALID_SIGNATURE", envelope: signedEnvelope(larger, 5, forgedFrame) }),
    ).toBe("the publisher is not a trustee");
  });

  it("by an envelope around what is no vote of this cluster and epoch fails: it may be honest elsewhere", () => {
    const elsewhere = testCluster({ trustees: 5, threshold: 3, epoch: 2 });
    const cases: [Uint8Array, string][] = [
      [new Uint8Array(), "no vote"],
      [Uint8Array.of(1, 2, 3), "no vote"],
      [forgedFrame.slice(0, -1), "no vote"],
      [encodeFrame(signedFrame(elsewhere, 3, [{ txId: "tx", value: 1 }])), "epoch 2"],
    ];
    for (const [data, reason] of cases)
      expect(
        refused({ type: "INVALID_SIGNATURE", envelope: signedEnvelope(cluster, 3, data) }),
      ).toContain(reason);
  });

  it("by unreadable base64 fails", () => {
    const { envelope } = invalidSignature;
    for (const field of ["from", "data", "seqno", "signature"] as const)
      expect(refused({ type: "INVALID_SIGNATURE", envelope: { ...envelope, [field]: "%" } })).toBe(
        "the envelope is not readable",
      );
  });
});

import {
  type AbortReason,
  type Epoch,
  type EvidenceFile,
  type EvidenceFileInput,
  emptySnapshot,
  evidenceTxId,
  LIMITS,
  makeEvidenceFile,
  makeTrusteeSet,
  type NodeId,
  onlySet,
  parseEpoch,
  parseEvidenceId,
  parseNodeId,
  type TrusteeSet,
  type TxSnapshot,
  trusteeSetFingerprint,
  unwrap,
  utf8,
  type VerifiedVote,
  verifyEvidenceFile,
} from "@quorate/core";
import { nodeAt, testCluster, txIdOf, vote, votes } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  atEpoch,
  batched,
  cluster,
  EXPORTER,
  INPUTS,
  inputOf,
  judge,
  judged,
  lying,
  only,
  refused,
  set,
  sign,
  silent,
  TYPES,
  textOf,
  verify,
} from "./evidence-cases.ts";

describe("an evidence file", () => {
  it.each([
    ["DOUBLE_VOTING", "PROOF", /^node-004 signed two votes for tx in epoch 1: 1 and 2\.$/],
    [
      "MINORITY_VOTE",
      "OPINION",
      /^node-004 voted 2 for tx in epoch 1, against 3 trustees who voted 1\.$/,
    ],
    [
      "INVALID_SIGNATURE",
      "PROOF",
      /^node-004 published a vote in the name of node-002 for tx whose signature is not node-002's\.$/,
    ],
    [
      "SILENT_FAILURE",
      "OPINION",
      /^node-004 had no vote for tx .* 3 of 4 trustees had: an absence leaves no signature, so this is no proof but what node-003 attests to have read at revision 4711\.$/,
    ],
  ] as const)("of %s says what is proven, with its grade %s", (type, grade, finding) => {
    const verdict = unwrap(judge(textOf(INPUTS[type])));
    const { nodeId, peerId } = nodeAt(cluster, 3);
    expect(verdict).toMatchObject({
      id: `tx/${peerId}/${type}`,
      clusterId: "test",
      accused: { nodeId, peerId },
      type,
      grade,
      exportedBy: { nodeId: "node-003", at: "2023-11-14T22:16:00.000Z" },
      sets: [{ epoch: 1, threshold: 3, trustees: 4, fingerprint: trusteeSetFingerprint(set) }],
    });
    expect(verdict.finding).toMatch(finding);
  });

  it("is the same bytes each time, ASCII, indented by two, with one line end", () => {
    for (const type of TYPES) {
      const text = textOf(INPUTS[type]);
      expect(textOf(INPUTS[type])).toBe(text);
      expect(text).toMatch(/^\{\n {2}"format": "quorate-evidence\/1",\n[ -~\n]+\n\}\n$/);
      const keys =
        "format clusterId id accused type grade rule detectedAt trusteeSets evidence tally";
      expect(Object.keys(JSON.parse(text) as object).join(" ")).toBe(
        `${keys} finding exportedBy signature`,
      );
    }
  });

  it.each(TYPES)(
    "of %s is good no more with any one bit of it flipped",
    (type) => {
      const bytes = utf8(textOf(INPUTS[type]));
      const passed: string[] = [];
      for (let at = 0; at < bytes.length; at++) {
        // One bit of every byte, another one each time; all of them at some places.
        const bits = at % 16 === 0 ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 7];
        for (const bit of bits) {
          const changed = Uint8Array.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ (1 << bit);
          if (verifyEvidenceFile(changed, verify).ok) passed.push(`byte ${at} bit ${bit}`);
        }
      }
      expect(passed).toEqual([]);
    },
    120_000,
  );

  it.each(TYPES)("of %s is good no more when cut, lengthened or reformatted", (type) => {
    const text = textOf(INPUTS[type]);
    const json: unknown = JSON.parse(text);
    for (const other of [
      text.slice(0, -1),
      `${text}\n`,
      ` ${text}`,
      `${JSON.stringify(json)}\n`,
      `${JSON.stringify(json, null, 4)}\n`,
      text.replaceAll("\n", "\r\n"),
      text.replace('"clusterId"', '"clusterId": "test",\n  "clusterId"'),
      text.replace('"epoch": 1,', '"epoch": 1.0,'),
      text.replace('"test"', String.raw`"\u0074est"`),
      text.replace("2023-11-14T22:16:00.000Z", "2023-11-14T22:16:00Z"),
    ])
      expect(judge(other).ok, other.slice(0, 80)).toBe(false);
  });

  it("gives any bytes an answer", () => {
    const whole = textOf(INPUTS.MINORITY_VOTE);
    const pieces = fc.constantFrom(
      ..."{ } [ ] : , null".split(" "),
      "1e999",
      '"__proto__":{}',
      whole,
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 2_000 }), fc.array(pieces)), (made) => {
        const bytes = made instanceof Uint8Array ? made : utf8(made.join(""));
        const result = verifyEvidenceFile(bytes, verify);
        expect(result.ok).toBe(Array.isArray(made) && made.join("") === whole);
      }),
    );
  });

  it("answers whatever stands in place of any of its values", () => {
    const file: unknown = JSON.parse(textOf(INPUTS.SILENT_FAILURE));
    const places: { holder: Record<string, unknown>; key: string }[] = [];
    const walk = (node: unknown): void => {
      if (typeof node !== "object" || node === null) return;
      for (const [key, child] of Object.entries(node)) {
        places.push({ holder: node as Record<string, unknown>, key });
        walk(child);
      }
    };
    walk(file);
    expect(places.length).toBeGreaterThan(100);
    for (const { holder, key } of places) {
      const before = holder[key];
      for (const value of [null, true, -1, 1.5, 9e15, "", "x", [], {}, [[]], { type: 1 }]) {
        holder[key] = value;
        if (JSON.stringify(before) === JSON.stringify(value)) continue;
        expect(judge(`${JSON.stringify(file, null, 2)}\n`).ok, key).toBe(false);
        // Also signed: what of the record nobody but the exporter can vouch for may then pass, but nothing throws.
        judge(lying(JSON.stringify(file), (f) => f));
      }
      holder[key] = before;
    }
  }, 120_000);

  it("with a byte that is no ASCII is not even parsed", () => {
    expect(refused(textOf(INPUTS.DOUBLE_VOTING).replace("node-004", "nöde-004"))).toContain(
      "ASCII",
    );
  });

  it("larger than the limit is not even read", () => {
    expect(refused(" ".repeat(LIMITS.evidenceFileBytesMax + 1))).toContain("larger than");
  });
});

describe("the trustee sets in a file", () => {
  it("are all those that the evidence needs, whatever others are known: two votes of two epochs", () => {
    const later = { ...cluster, set: atEpoch(set, 2) };
    const first = batched(3, 1);
    const second = batched(3, 2, later);
    const { violations } = judged([first, second]);
    const sets = new Map(
      [1, 2, 3].map((n): [Epoch, TrusteeSet] => [unwrap(parseEpoch(n)), atEpoch(set, n)]),
    );
    const text = textOf({ ...inputOf(only(violations, "DOUBLE_VOTING")), sets });
    const verdict = unwrap(judge(text));
    expect(verdict.sets.map((s) => s.epoch)).toEqual([1, 2]);
    expect(verdict.finding).toContain("in epochs 1 and 2");
  });

  it("include one more when the exporting node was no trustee then, and none that does not know it", () => {
    const stranger = testCluster({ trustees: 1, threshold: 1, seed: 9 });
    const added = { ...nodeAt(stranger, 0).trustee, nodeId: "node-009" as NodeId };
    const grown = unwrap(
      makeTrusteeSet({ ...atEpoch(set, 3), trustees: [...set.trustees, added] }),
    );
    const epoch2 = atEpoch(set, 2);
    const input: EvidenceFileInput = {
      ...INPUTS.DOUBLE_VOTING,
      sets: new Map([set, epoch2, grown, atEpoch(grown, 4)].map((s) => [s.epoch, s])),
      exporter: added.peerId,
    };
    const signAsStranger = (message: Uint8Array) => nodeAt(stranger, 0).signer.sign(message);
    const text = unwrap(makeEvidenceFile(input, signAsStranger, verify));
    expect(unwrap(judge(text)).sets.map((s) => s.epoch)).toEqual([1, 4]);
    const unknown = makeEvidenceFile({ ...input, sets: onlySet(set) }, signAsStranger, verify);
    expect(unknown).toMatchObject({ ok: false, error: expect.stringContaining("in no epoch") });
  });

  it("give the exporter the name of the newest of them, for a name may change with an epoch", () => {
    const { peerId } = nodeAt(cluster, EXPORTER);
    const trustees = set.trustees.map((t) =>
      t.peerId === peerId ? { ...t, nodeId: "renamed" as NodeId } : t,
    );
    const later = { ...cluster, set: unwrap(makeTrusteeSet({ ...atEpoch(set, 2), trustees })) };
    const { violations } = judged([batched(3, 1), batched(3, 2, later)]);
    const sets = new Map([set, later.set].map((s) => [s.epoch, s]));
    const text = textOf({ ...inputOf(only(violations, "DOUBLE_VOTING")), sets });
    expect(unwrap(judge(text)).exportedBy).toMatchObject({ nodeId: "renamed", peerId });
    expect(textOf(INPUTS.DOUBLE_VOTING)).toContain('"nodeId": "node-003",\n    "peerId"');
  });

  it("have a fingerprint that any change of a member, the threshold, the epoch or the cluster changes", () => {
    const make = (change: object): string =>
      trusteeSetFingerprint(unwrap(makeTrusteeSet({ ...set, ...change })));
    const [first, ...rest] = set.trustees;
    const others = [
      trusteeSetFingerprint(set),
      make({ threshold: 2 }),
      make({ epoch: 2 }),
      make({ clusterId: "other" }),
      make({ trustees: rest }),
      make({ trustees: [{ ...first, nodeId: "node-000" }, ...rest] }),
      make({ trustees: [{ ...first, evmAddress: `0x${"00".repeat(20)}` }, ...rest] }),
    ];
    expect(new Set(others).size).toBe(others.length);
    expect(make({ trustees: set.trustees.toReversed() })).toBe(others[0]);
    expect(others[0]).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe("what is exported", () => {
  it("fits the limit when it is as large as it can be: all trustees there may be, the longest ids and paths", () => {
    const large = testCluster({
      trustees: LIMITS.trusteesMax,
      threshold: LIMITS.trusteesMax - 1,
      clusterId: "c".repeat(LIMITS.clusterIdCharsMax),
    });
    const named = large.nodes.map((node, i) => ({
      ...node,
      nodeId: unwrap(parseNodeId(`${i + 100}${"n".repeat(LIMITS.nodeIdCharsMax - 3)}`)),
    }));
    const trustees = named.map(({ trustee, nodeId }) => ({ ...trustee, nodeId }));
    const of = {
      ...large,
      nodes: named,
      set: unwrap(makeTrusteeSet({ ...large.set, trustees })),
    };
    const tx = "t".repeat(LIMITS.txIdCharsMax);
    // As many as one frame holds of such votes: eight levels of path, as the most votes have.
    const others = Array.from({ length: 199 }, (_, i) => ({ txId: `other-${i}`, value: 0 }));
    const voteOf = (node: number): VerifiedVote =>
      votes(of, node, [
        { txId: tx, value: LIMITS.valueMax - (node === 0 ? 1n : 0n) },
        ...others,
      ])[0]!;
    const arriving = named.map((_, node) => voteOf(node));
    const { snapshot, violations } = judged(arriving, { of, txId: tx });
    const { signer, peerId } = of.nodes[1]!;
    const stranger = unwrap(
      makeTrusteeSet({
        ...atEpoch(of.set, 2),
        threshold: 1,
        trustees: trustees.filter((t) => t.peerId === peerId),
      }),
    );
    const text = unwrap(
      makeEvidenceFile(
        {
          ...inputOf(only(violations, "MINORITY_VOTE"), snapshot),
          clusterId: of.set.clusterId,
          sets: new Map([of.set, stranger].map((s) => [s.epoch, s])),
          exporter: peerId,
        },
        (message) => signer.sign(message),
        verify,
      ),
    );
    expect(text.length).toBeGreaterThan(250_000);
    // Room for a second set of the same size.
    expect(text.length + JSON.stringify(JSON.parse(text).trusteeSets, null, 2).length).toBeLessThan(
      450_000,
    );
  }, 120_000);

  it("leaves out votes that somebody put into the store without the trustee's signature", () => {
    const foreign = vote(testCluster({ trustees: 4, threshold: 3, seed: 5 }), 3, "tx", 7);
    const snapshot: TxSnapshot = {
      ...silent.snapshot,
      votes: new Map([...silent.snapshot.votes, [foreign.vote.nodeId, foreign]]),
    };
    const text = textOf(inputOf(only(silent.violations, "SILENT_FAILURE"), snapshot));
    const file = JSON.parse(text) as EvidenceFile;
    expect(file.tally?.votes.map((v) => v.nodeId)).toEqual(["node-001", "node-002", "node-003"]);
  });

  it("says that a silent trustee's vote came later, when it did", () => {
    const snapshot: TxSnapshot = {
      ...silent.snapshot,
      votes: new Map([...silent.snapshot.votes, [nodeAt(cluster, 3).nodeId, batched(3, 1)]]),
    };
    const text = textOf(inputOf(only(silent.violations, "SILENT_FAILURE"), snapshot));
    expect(unwrap(judge(text)).finding).toContain("signed at 2023-11-14T22:13:20.000Z, came later");
  });

  it("is nothing when what is recorded is not borne out", () => {
    const make = (input: EvidenceFileInput): string => {
      const made = makeEvidenceFile(input, sign, verify);
      expect(made.ok).toBe(false);
      return made.ok ? "" : made.error;
    };
    const input = INPUTS.DOUBLE_VOTING;
    const { peerId } = nodeAt(cluster, 0);
    expect(make({ ...input, violation: { ...input.violation, peerId } })).toContain(
      "evidence is of",
    );
    expect(make({ ...input, sets: new Map() })).toContain("epoch 1 is not there");
    const empty = { snapshot: emptySnapshot(txIdOf("tx")), revision: 1n };
    expect(make({ ...INPUTS.SILENT_FAILURE, tally: empty })).toContain("nothing of tx any more");
    const reason: AbortReason = "SILENT_FAILURE";
    expect(
      make({
        ...INPUTS.SILENT_FAILURE,
        tally: { ...empty, snapshot: { ...silent.snapshot, votes: new Map() } },
      }),
      reason,
    ).toContain("who is said to have voted");
  });
});

describe("evidence ids", () => {
  it("can be told from the evidence, but for an absence", () => {
    for (const type of TYPES)
      expect(evidenceTxId(INPUTS[type].violation.evidence), type).toBe(
        type === "SILENT_FAILURE" ? null : "tx",
      );
  });

  it("are read back as what they name, and nothing else is one", () => {
    const { peerId } = nodeAt(cluster, 0);
    expect(unwrap(parseEvidenceId(`tx:1/${peerId}/DOUBLE_VOTING`))).toEqual({
      txId: "tx:1",
      peerId,
      type: "DOUBLE_VOTING",
    });
    for (const text of [
      "",
      "tx",
      `tx/${peerId}`,
      `tx/${peerId}/LOW_REPUTATION`,
      "tx/x/DOUBLE_VOTING",
    ])
      expect(parseEvidenceId(text).ok, text).toBe(false);
    expect(parseEvidenceId(`tx/${peerId}/DOUBLE_VOTING/`).ok).toBe(false);
    expect(parseEvidenceId(`a/b/${peerId}/DOUBLE_VOTING`).ok).toBe(false);
  });
});

import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  type EvidenceFile,
  type EvidenceFileInput,
  emptySnapshot,
  encodeFrame,
  hash,
  makeEvidenceFile,
  makeTrusteeSet,
  type NodeId,
  onlySet,
  parseEpoch,
  type SignedVote,
  signFrame,
  type TrusteeSet,
  type TxSnapshot,
  toBase64,
  unwrap,
  utf8,
  type VerifiedVote,
  type Violation,
  verifyEvidenceFile,
} from "@quorate/core";
import {
  nodeAt,
  signedEnvelope,
  type TestCluster,
  testCluster,
  txIdOf,
  unsignedVote,
  votes,
} from "@quorate/testkit";
import { expect } from "vitest";

export const cluster = testCluster({ trustees: 4, threshold: 3 });
export const { set, verify } = cluster;
export const EXPORTER = 2;
const NOW_MS = 1_700_000_100_000;

export const atEpoch = (of: TrusteeSet, number: number): TrusteeSet =>
  unwrap(makeTrusteeSet({ ...of, epoch: unwrap(parseEpoch(number)) }));

/** What `decide` makes of votes that come in this order, and of the deadline afterwards. */
export function judged(
  arriving: readonly VerifiedVote[],
  options: {
    readonly deadline?: boolean;
    readonly of?: TestCluster;
    readonly txId?: string;
  } = {},
): { readonly snapshot: TxSnapshot; readonly violations: readonly Violation[] } {
  const of = options.of ?? cluster;
  let snapshot = emptySnapshot(txIdOf(options.txId ?? "tx"));
  const violations: Violation[] = [];
  const step = (incoming: readonly VerifiedVote[], deadlinePassed: boolean): void => {
    const { writes } = decide(
      snapshot,
      { votes: incoming, nowMs: NOW_MS, deadlinePassed },
      {
        set: of.set,
        config: DEFAULT_PROTOCOL_CONFIG,
        bans: new Map(),
        silenceStreaks: new Map(),
        verify,
      },
    );
    if (writes === null) return;
    violations.push(...writes.violations);
    const recorded = new Map<NodeId, SignedVote>(snapshot.votes);
    for (const v of writes.newVotes) recorded.set(v.vote.nodeId, v);
    snapshot = {
      ...snapshot,
      status: writes.status,
      record: writes.record ?? snapshot.record,
      votes: recorded,
    };
  };
  for (const incoming of arriving) step([incoming], false);
  if (options.deadline === true) step([], true);
  return { snapshot, violations };
}

/** A vote out of a batch of three, so that its proof has a path. */
export const batched = (node: number, value: number, of: TestCluster = cluster): VerifiedVote =>
  votes(of, node, [
    { txId: "other-1", value: 0 },
    { txId: "tx", value },
    { txId: "other-2", value: 0 },
  ])[1]!;

export function inputOf(
  violation: EvidenceFileInput["violation"],
  snapshot: TxSnapshot = emptySnapshot(txIdOf("tx")),
): EvidenceFileInput {
  return {
    violation,
    clusterId: set.clusterId,
    sets: onlySet(set),
    tally: { snapshot, revision: 4_711n },
    exporter: nodeAt(cluster, EXPORTER).peerId,
    exportedAtMs: NOW_MS + 60_000,
  };
}

export const sign = (message: Uint8Array): Uint8Array =>
  nodeAt(cluster, EXPORTER).signer.sign(message);

export function only(violations: readonly Violation[], type: Violation["type"]): Violation {
  const found = violations.filter((v) => v.type === type);
  expect(found).toHaveLength(1);
  return found[0]!;
}

const doubleVote = judged([batched(3, 1), batched(0, 1), batched(3, 2)]);
const minority = judged([batched(3, 2), ...[0, 1, 2].map((node) => batched(node, 1))]);
export const silent = judged(
  [0, 1, 2].map((node) => batched(node, 1)),
  { deadline: true },
);
/** Node 4 publishes a vote in node 2's name that node 4 signed itself. */
const forged: Violation = {
  txId: txIdOf("tx"),
  peerId: nodeAt(cluster, 3).peerId,
  nodeId: nodeAt(cluster, 3).nodeId,
  type: "INVALID_SIGNATURE",
  grade: "PROOF",
  detectedAtMs: NOW_MS,
  evidence: {
    type: "INVALID_SIGNATURE",
    envelope: signedEnvelope(
      cluster,
      3,
      encodeFrame(
        signFrame([unsignedVote(cluster, 1, { txId: "tx", value: 9 })], (message) =>
          nodeAt(cluster, 3).signer.sign(message),
        ),
      ),
    ),
  },
};

export const INPUTS: Readonly<Record<Violation["type"], EvidenceFileInput>> = {
  DOUBLE_VOTING: inputOf(only(doubleVote.violations, "DOUBLE_VOTING"), doubleVote.snapshot),
  MINORITY_VOTE: inputOf(only(minority.violations, "MINORITY_VOTE"), minority.snapshot),
  INVALID_SIGNATURE: inputOf(forged),
  SILENT_FAILURE: inputOf(only(silent.violations, "SILENT_FAILURE"), silent.snapshot),
};
export const TYPES = Object.keys(INPUTS) as readonly Violation["type"][];

export const textOf = (input: EvidenceFileInput): string =>
  unwrap(makeEvidenceFile(input, sign, verify));
export const judge = (text: string) => verifyEvidenceFile(utf8(text), verify);
export function refused(text: string): string {
  const result = judge(text);
  expect(result.ok, text).toBe(false);
  return result.ok ? "" : result.error;
}

/** A file that says something else, and is signed for it by a node that lies. */
export function lying(text: string, change: (file: EvidenceFile) => object): string {
  const { signature: _, ...content } = change(JSON.parse(text)) as EvidenceFile;
  const bare = `${JSON.stringify(content, null, 2)}\n`;
  const domain = utf8("quorate/evidence-file/v1");
  const message = Uint8Array.from([0, domain.length, ...domain, ...hash(utf8(bare))]);
  return `${JSON.stringify({ ...content, signature: toBase64(sign(message)) }, null, 2)}\n`;
}

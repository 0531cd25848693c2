import { bytesToHex, hash, hexToBytes, utf8 } from "./bytes.ts";
import type { Evidence } from "./evidence.ts";
import {
  type ClusterId,
  type Epoch,
  type EvmAddress,
  type NodeId,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  parseValue,
} from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";
import {
  listOf,
  nullable,
  objectOf,
  parsedBy,
  type Reader,
  textLike,
  trueOrFalse,
  wholeNumber,
  wordOf,
} from "./strict-json.ts";
import type { AbortReason, TxRecord } from "./tally.ts";
import { makeTrusteeSet, type TrusteeSet } from "./trustee-set.ts";
import { type EvidenceGrade, VIOLATION_TYPES, type ViolationType } from "./violation.ts";
import { TX_STATUSES, type TxStatus } from "./vote-fsm.ts";
import { isoTime, type VoteJson, voteFromJson, voteToJson } from "./vote-json.ts";

export const EVIDENCE_FORMAT = "quorate-evidence/1";

/** Two votes may be of two epochs, and the exporting node may be known by a third. */
const SETS_MAX = 3;

export interface TrusteeJson {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Ed25519, 64 hexadecimal digits. */
  readonly publicKey: string;
  readonly evmAddress: EvmAddress;
}

export interface TrusteeSetJson {
  readonly epoch: Epoch;
  readonly threshold: number;
  /** Sorted by node id. */
  readonly trustees: readonly TrusteeJson[];
}

/** The decision record with its value as decimal text, as etcd holds it. */
export interface RecordJson extends Omit<TxRecord, "value"> {
  readonly value: string | null;
}

/** What the exporting node read of the transaction, at one revision of etcd. */
export interface TallyJson {
  readonly revision: string;
  readonly status: TxStatus;
  readonly record: RecordJson;
  /** Sorted by node id; only votes that their trustees signed. */
  readonly votes: readonly { readonly nodeId: NodeId; readonly vote: VoteJson }[];
}

/** An exported file's content, in the order of its keys. */
export interface EvidenceFile {
  readonly format: typeof EVIDENCE_FORMAT;
  readonly clusterId: ClusterId;
  readonly id: string;
  readonly accused: {
    readonly nodeId: NodeId;
    readonly peerId: PeerId;
    readonly publicKey: string;
  };
  readonly type: ViolationType;
  readonly grade: EvidenceGrade;
  readonly rule: string;
  readonly detectedAt: string;
  readonly trusteeSets: readonly TrusteeSetJson[];
  readonly evidence: Evidence;
  readonly tally: TallyJson | null;
  readonly finding: string;
  readonly exportedBy: { readonly nodeId: NodeId; readonly peerId: PeerId; readonly at: string };
  readonly signature: string;
}

/** The one text of a file's content, or of that without its signature. */
export function canonicalText(content: EvidenceFile | Omit<EvidenceFile, "signature">): string {
  return `${JSON.stringify(content, null, 2)}\n`;
}

/**
 * Reads a file that is in its one canonical form, byte for byte. ASCII only: all texts in it are, and so there
 * is no second way to write any of them.
 */
export function readCanonical(bytes: Uint8Array): Result<EvidenceFile, string> {
  if (bytes.length > LIMITS.evidenceFileBytesMax)
    return err(`the file is larger than ${LIMITS.evidenceFileBytesMax} bytes`);
  const text = asciiOf(bytes);
  if (text === null) return err("the file is not ASCII text");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return err("the file is not JSON");
  }
  const file = evidenceFile(json, "the file");
  if (!file.ok) return file;
  // Doubled keys, spaces, other spellings of a number, text or time: all of it shows here.
  return canonicalText(file.value) === text
    ? file
    : err("the file is not in canonical form: somebody has changed or reformatted it");
}

function asciiOf(bytes: Uint8Array): string | null {
  // By pieces: a call takes only so many arguments.
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += 4_096) {
    const piece = bytes.subarray(at, at + 4_096);
    if (piece.some((byte) => byte > 0x7e)) return null;
    pieces.push(String.fromCharCode(...piece));
  }
  return pieces.join("");
}

export function setToJson(set: TrusteeSet): TrusteeSetJson {
  return {
    epoch: set.epoch,
    threshold: set.threshold,
    trustees: set.trustees.map(({ nodeId, peerId, publicKey, evmAddress }) => ({
      nodeId,
      peerId,
      publicKey: bytesToHex(publicKey),
      evmAddress,
    })),
  };
}

/** The set of a file, its peer ids checked against their keys. */
export function setFromJson(
  clusterId: ClusterId,
  json: TrusteeSetJson,
): Result<TrusteeSet, string> {
  const trustees = json.trustees.map((t) => ({ ...t, publicKey: hexToBytes(t.publicKey) }));
  const { epoch, threshold } = json;
  const set = makeTrusteeSet({ clusterId, epoch, threshold, trustees });
  return set.ok
    ? set
    : err(`the trustee set of epoch ${json.epoch} can't be one: ${set.error.join("; ")}`);
}

/**
 * Names a trustee set: BLAKE3, in hexadecimal, of `quorate/trustee-set/v1`, a line end, and the set as JSON
 * without spaces. Whoever compares it with one learnt elsewhere need not trust a file's own trustee set.
 */
export function trusteeSetFingerprint(set: TrusteeSet): string {
  const content = JSON.stringify({ clusterId: set.clusterId, ...setToJson(set) });
  return bytesToHex(hash(utf8(`quorate/trustee-set/v1\n${content}`)));
}

const BASE64 = textLike(/^[A-Za-z0-9+/]*={0,2}$/, "base64");
const DIGITS = textLike(/^(?:0|[1-9][0-9]{0,18})$/, "a number in decimal digits");
const HEX_32 = textLike(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
// Sentences, names of topics: bounded by the file's own size.
const PRINTABLE = textLike(/^[ -~]*$/, "printable text");

const nodeId = parsedBy(parseNodeId);
const peerId = parsedBy(parsePeerId);
const nodeIds = listOf(nodeId, LIMITS.trusteesMax);

const epoch: Reader<Epoch> = (input, at) =>
  typeof input === "number" ? parsedBy(parseEpoch)(input, at) : err(`${at} is not a number`);

const timeMs: Reader<number> = (input, at) => {
  const ms = wholeNumber(input, at);
  return ms.ok && ms.value > LIMITS.issuedAtMsMax ? err(`${at} is not a time`) : ms;
};

const time: Reader<string> = (input, at) => {
  const ms = typeof input === "string" ? Date.parse(input) : Number.NaN;
  return typeof input === "string" && !Number.isNaN(ms) && isoTime(ms) === input
    ? ok(input)
    : err(`${at} is not a time such as 2026-01-15T12:00:00.000Z`);
};

const valueText: Reader<string> = (input, at) => {
  if (typeof input !== "string") return err(`${at} is not decimal text`);
  const value = parsedBy(parseValue)(input, at);
  return value.ok ? ok(value.value.toString()) : value;
};

/** Rebuilt from its signed bytes, so that what people read is what was signed. */
const vote: Reader<VoteJson> = (input, at) => {
  const signed = voteFromJson(input);
  if (!signed.ok) return err(`${at}: ${signed.error.message}`);
  const { peer_id } = input as { readonly peer_id?: unknown };
  const peer = peerId(peer_id, `${at}.peer_id`);
  return peer.ok ? ok(voteToJson(signed.value, peer.value)) : peer;
};

type Of<T extends ViolationType> = Extract<Evidence, { readonly type: T }>;

const EVIDENCE: { readonly [T in ViolationType]: Reader<Of<T>> } = {
  DOUBLE_VOTING: objectOf<Of<"DOUBLE_VOTING">>({
    type: wordOf(["DOUBLE_VOTING"]),
    first: vote,
    second: vote,
  }),
  MINORITY_VOTE: objectOf<Of<"MINORITY_VOTE">>({
    type: wordOf(["MINORITY_VOTE"]),
    vote,
    threshold: wholeNumber,
    majority: listOf(vote, LIMITS.trusteesMax),
  }),
  INVALID_SIGNATURE: objectOf<Of<"INVALID_SIGNATURE">>({
    type: wordOf(["INVALID_SIGNATURE"]),
    envelope: objectOf({
      from: BASE64,
      data: BASE64,
      seqno: BASE64,
      topic: PRINTABLE,
      signature: BASE64,
    }),
  }),
  SILENT_FAILURE: objectOf<Of<"SILENT_FAILURE">>({
    type: wordOf(["SILENT_FAILURE"]),
    nodeId,
    openedAtMs: timeMs,
    deadlineAtMs: timeMs,
    voted: nodeIds,
  }),
};

/** Evidence with exactly the fields of its type. */
export const evidenceOf: Reader<Evidence> = (input, at) => {
  const type = VIOLATION_TYPES.find(
    (t) => typeof input === "object" && input !== null && "type" in input && input.type === t,
  );
  return type === undefined ? err(`${at} is of no known type`) : EVIDENCE[type](input, at);
};

const ABORT_REASONS: readonly AbortReason[] = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "SPLIT_VOTE",
  "QUORUM_UNREACHABLE",
  "SILENT_FAILURE",
];

const record = objectOf<RecordJson>({
  epoch,
  policy: wordOf(["strict-abort", "quarantine-and-continue"]),
  profile: wordOf(["strict", "balanced"]),
  excluded: nodeIds,
  openedAtMs: timeMs,
  deadlineAtMs: timeMs,
  value: nullable(valueText),
  unanimous: trueOrFalse,
  thresholdAtMs: nullable(timeMs),
  reason: nullable(wordOf(ABORT_REASONS)),
  offenders: nodeIds,
  absent: nullable(nodeIds),
  chain: nullable(objectOf({ txHash: PRINTABLE, blockNumber: DIGITS })),
});

const tally = objectOf<TallyJson>({
  revision: DIGITS,
  status: wordOf(TX_STATUSES),
  record,
  votes: listOf(objectOf({ nodeId, vote }), LIMITS.trusteesMax),
});

const evidenceFile = objectOf<EvidenceFile>({
  format: wordOf([EVIDENCE_FORMAT]),
  clusterId: parsedBy(parseClusterId),
  id: PRINTABLE,
  accused: objectOf({ nodeId, peerId, publicKey: HEX_32 }),
  type: wordOf(VIOLATION_TYPES),
  grade: wordOf(["PROOF", "OPINION"]),
  rule: PRINTABLE,
  detectedAt: time,
  trusteeSets: listOf(
    objectOf<TrusteeSetJson>({
      epoch,
      threshold: wholeNumber,
      trustees: listOf(
        objectOf({ nodeId, peerId, publicKey: HEX_32, evmAddress: parsedBy(parseEvmAddress) }),
        LIMITS.trusteesMax,
      ),
    }),
    SETS_MAX,
  ),
  evidence: evidenceOf,
  tally: nullable(tally),
  finding: PRINTABLE,
  exportedBy: objectOf({ nodeId, peerId, at: time }),
  signature: textLike(/^[A-Za-z0-9+/]{86}==$/, "a signature in base64"),
});

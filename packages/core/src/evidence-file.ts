import {
  bytesToHex,
  concatBytes,
  equalBytes,
  fromBase64,
  hash,
  lengthPrefixed,
  toBase64,
  utf8,
} from "./bytes.ts";
import { type Evidence, namedVote, type TrusteeSets, verifyEvidence } from "./evidence.ts";
import {
  canonicalText,
  EVIDENCE_FORMAT,
  type EvidenceFile,
  evidenceOf,
  readCanonical,
  setFromJson,
  setToJson,
  type TallyJson,
  trusteeSetFingerprint,
} from "./evidence-file-shape.ts";
import { checkTally, silenceFinding, tallyOf } from "./evidence-tally.ts";
import {
  type ClusterId,
  type Epoch,
  type NodeId,
  type ParseError,
  type PeerId,
  parsePeerId,
  parseTxId,
  type TxId,
} from "./ids.ts";
import { assert, assertNever, err, ok, type Result } from "./result.ts";
import type { TxSnapshot, Violation } from "./tally.ts";
import { peerIdBytesOf, type TrusteeSet } from "./trustee-set.ts";
import { type EvidenceGrade, gradeOf, VIOLATION_TYPES, type ViolationType } from "./violation.ts";
import type { Verify } from "./vote.ts";
import { isoTime, voteFromJson } from "./vote-json.ts";

const SIGNATURE_DOMAIN = "quorate/evidence-file/v1";

/** What each accusation rests on, as the file says it. @see spec §3.1 */
const RULES: Readonly<Record<ViolationType, string>> = {
  DOUBLE_VOTING: "A trustee signs at most one value for a transaction (specification 3.1, Type 1).",
  MINORITY_VOTE:
    "A trustee votes no other value than the one that a threshold of trustees voted (specification 3.1, Type 2).",
  INVALID_SIGNATURE:
    "A trustee publishes no vote with a signature that is not the named voter's; the publisher answers for it, by its own signature on the message (specification 3.1, Type 3).",
  SILENT_FAILURE:
    "A trustee votes on every transaction before its deadline (specification 3.1, Type 4).",
};

/** Which violation a piece of evidence is of: unique in a cluster. */
export interface EvidenceId {
  readonly txId: TxId;
  readonly peerId: PeerId;
  readonly type: ViolationType;
}

/** `txId/peerId/TYPE`. */
export function evidenceIdText({ txId, peerId, type }: EvidenceId): string {
  return `${txId}/${peerId}/${type}`;
}

/** Reads `txId/peerId/TYPE`. */
export function parseEvidenceId(
  text: string,
): Result<
  EvidenceId,
  ParseError | { readonly code: "EVIDENCE_ID_INVALID"; readonly message: string }
> {
  const [tx, peer, word, ...rest] = text.split("/");
  const type = VIOLATION_TYPES.find((t) => t === word);
  if (type === undefined || rest.length > 0)
    return err({
      code: "EVIDENCE_ID_INVALID",
      message: `evidence id must be TX/PEER/TYPE with one of ${VIOLATION_TYPES.join(", ")}`,
    });
  const txId = parseTxId(tx);
  if (!txId.ok) return txId;
  const peerId = parsePeerId(peer);
  return peerId.ok ? ok({ txId: txId.value, peerId: peerId.value, type }) : peerId;
}

/** Which transaction the evidence itself names; null when it names none (an absence) or is not readable. */
export function evidenceTxId(evidence: Evidence): TxId | null {
  switch (evidence.type) {
    case "DOUBLE_VOTING":
      return voteTxId(evidence.second);
    case "MINORITY_VOTE":
      return voteTxId(evidence.vote);
    case "INVALID_SIGNATURE": {
      const data = fromBase64(evidence.envelope.data);
      return data === null ? null : (namedVote(data)?.txId ?? null);
    }
    case "SILENT_FAILURE":
    case "LOW_REPUTATION":
      return null;
    default:
      return assertNever(evidence);
  }
}

function voteTxId(json: unknown): TxId | null {
  const read = voteFromJson(json);
  return read.ok ? read.value.vote.txId : null;
}

export interface EvidenceFileInput {
  readonly violation: Pick<Violation, keyof EvidenceId | "evidence" | "detectedAtMs">;
  readonly clusterId: ClusterId;
  /** All trustee sets that are known; those that the evidence needs go into the file. */
  readonly sets: TrusteeSets;
  /** One read of the transaction: goes into the file where the rule is about the tally. */
  readonly tally: { readonly snapshot: TxSnapshot; readonly revision: bigint };
  /** The exporting node; it goes into the file under the name that the file's newest set has for it. */
  readonly exporter: PeerId;
  readonly exportedAtMs: number;
}

/**
 * The self-contained file of one violation, as text: the same input gives the same bytes. A file that
 * `verifyEvidenceFile` would refuse is never made.
 * @param sign with the exporting node's Ed25519 key
 * @returns the text, or why the evidence does not bear out what is recorded
 */
export function makeEvidenceFile(
  input: EvidenceFileInput,
  sign: (message: Uint8Array) => Uint8Array,
  verify: Verify,
): Result<string, string> {
  const { violation, clusterId, exporter, exportedAtMs } = input;
  const evidence = evidenceOf(violation.evidence, "the stored evidence");
  if (!evidence.ok) return evidence;
  const tally = needsTally(violation.type) ? tallyOf(input.tally, input.sets, verify) : ok(null);
  if (!tally.ok) return tally;
  const sets = neededSets(evidence.value, tally.value, exporter, input.sets);
  if (!sets.ok) return sets;
  const member = sets.value.findLast((set) => set.byPeerId.has(exporter))?.byPeerId.get(exporter);
  assert(member !== undefined, "one of the needed sets knows the exporter");
  const claim: Claim = {
    id: violation,
    evidence: evidence.value,
    tally: tally.value,
    exporter: member.nodeId,
    sets: new Map(sets.value.map((set) => [set.epoch, set])),
  };
  const statement = prove(claim, verify);
  if (!statement.ok) return statement;
  const { id, accused, type, grade, rule, finding } = statement.value;
  const content: Omit<EvidenceFile, "signature"> = {
    format: EVIDENCE_FORMAT,
    clusterId,
    id,
    accused,
    type,
    grade,
    rule,
    detectedAt: isoTime(violation.detectedAtMs),
    trusteeSets: sets.value.map(setToJson),
    evidence: evidence.value,
    tally: tally.value,
    finding,
    exportedBy: { nodeId: member.nodeId, peerId: exporter, at: isoTime(exportedAtMs) },
  };
  const signature = toBase64(sign(signedBytes(content)));
  const text = canonicalText({ ...content, signature });
  const checked = verifyEvidenceFile(utf8(text), verify);
  return checked.ok ? ok(text) : checked;
}

/** What a good file says, and under which trustee sets it holds: nobody vouches for those inside the file. */
export interface EvidenceVerdict {
  readonly id: string;
  readonly clusterId: ClusterId;
  readonly txId: TxId;
  readonly accused: { readonly nodeId: NodeId; readonly peerId: PeerId };
  readonly type: ViolationType;
  readonly grade: EvidenceGrade;
  readonly rule: string;
  readonly finding: string;
  readonly detectedAt: string;
  /** Every set that the file holds, oldest first. */
  readonly sets: readonly {
    readonly epoch: Epoch;
    readonly threshold: number;
    readonly trustees: number;
    readonly fingerprint: string;
  }[];
  readonly exportedBy: { readonly nodeId: NodeId; readonly peerId: PeerId; readonly at: string };
}

/**
 * Checks an exported file with nothing but its bytes. Total: any bytes at all get an answer. Each byte of a
 * good file counts: with any of them changed it is good no more.
 */
export function verifyEvidenceFile(
  bytes: Uint8Array,
  verify: Verify,
): Result<EvidenceVerdict, string> {
  const read = readCanonical(bytes);
  if (!read.ok) return read;
  const { signature, ...content } = read.value;
  const sets = setsOf(content);
  if (!sets.ok) return sets;
  const signed = checkExporter(content, signature, sets.value, verify);
  if (!signed.ok) return signed;
  const id = parseEvidenceId(content.id);
  if (!id.ok) return err(id.error.message);
  const { evidence, tally, exportedBy } = content;
  const needed = neededSets(evidence, tally, exportedBy.peerId, sets.value);
  if (!needed.ok) return needed;
  if (needed.value.length !== sets.value.size)
    return err("the file holds a trustee set that it has no use for");
  const claim: Claim = {
    id: id.value,
    evidence,
    tally,
    exporter: exportedBy.nodeId,
    sets: sets.value,
  };
  const statement = prove(claim, verify);
  if (!statement.ok) return statement;
  const lie = differenceOf(content, statement.value);
  if (lie !== null) return err(`the file's ${lie} is not what its evidence proves`);
  return ok({
    id: content.id,
    clusterId: content.clusterId,
    txId: id.value.txId,
    accused: { nodeId: content.accused.nodeId, peerId: content.accused.peerId },
    type: content.type,
    grade: content.grade,
    rule: content.rule,
    finding: content.finding,
    detectedAt: content.detectedAt,
    sets: needed.value.map((set) => ({
      epoch: set.epoch,
      threshold: set.threshold,
      trustees: set.trustees.length,
      fingerprint: trusteeSetFingerprint(set),
    })),
    exportedBy,
  });
}

type Content = Omit<EvidenceFile, "signature">;

function signedBytes(content: Content): Uint8Array {
  return concatBytes(lengthPrefixed(utf8(SIGNATURE_DOMAIN)), hash(utf8(canonicalText(content))));
}

function setsOf(content: Content): Result<TrusteeSets, string> {
  const sets = new Map<Epoch, TrusteeSet>();
  let last = 0;
  for (const json of content.trusteeSets) {
    const set = setFromJson(content.clusterId, json);
    if (!set.ok) return set;
    if (json.epoch <= last) return err("the trustee sets are not in the order of their epochs");
    last = json.epoch;
    sets.set(json.epoch, set.value);
  }
  return ok(sets);
}

function checkExporter(
  content: Content,
  signature: string,
  sets: TrusteeSets,
  verify: Verify,
): Result<null, string> {
  const { nodeId, peerId } = content.exportedBy;
  const member = [...sets.values()]
    .map((set) => set.byPeerId.get(peerId))
    .find((trustee) => trustee?.nodeId === nodeId);
  if (member === undefined) return err("who exported the file is in none of its trustee sets");
  const bytes = fromBase64(signature);
  if (bytes === null || !verify(member.publicKey, signedBytes(content), bytes))
    return err(`the file is not as ${nodeId} exported it: its signature is not valid`);
  return ok(null);
}

function needsTally(type: ViolationType): boolean {
  return type === "MINORITY_VOTE" || type === "SILENT_FAILURE";
}

/**
 * The sets without which the evidence can't be checked, oldest first: of the epochs it refers to, and, where they
 * are not members of these, the newest one that knows the publisher and the newest one that knows the exporter.
 */
function neededSets(
  evidence: Evidence,
  tally: TallyJson | null,
  exporter: PeerId,
  available: TrusteeSets,
): Result<readonly TrusteeSet[], string> {
  const needed = new Map<Epoch, TrusteeSet>();
  for (const epoch of epochsOf(evidence, tally)) {
    const set = available.get(epoch);
    if (set === undefined) return err(`the trustee set of epoch ${epoch} is not there`);
    needed.set(epoch, set);
  }
  const newestFirst = [...available.values()].sort((a, b) => b.epoch - a.epoch);
  const include = (knows: (set: TrusteeSet) => boolean): boolean => {
    if ([...needed.values()].some(knows)) return true;
    const set = newestFirst.find(knows);
    if (set !== undefined) needed.set(set.epoch, set);
    return set !== undefined;
  };
  if (evidence.type === "INVALID_SIGNATURE") {
    const from = fromBase64(evidence.envelope.from);
    include((set) =>
      set.trustees.some((t) => from !== null && equalBytes(peerIdBytesOf(t.publicKey), from)),
    );
  }
  if (!include((set) => set.byPeerId.has(exporter)))
    return err(`the exporting node ${exporter} is a trustee in no epoch that is known`);
  return ok([...needed.values()].sort((a, b) => a.epoch - b.epoch));
}

function epochsOf(evidence: Evidence, tally: TallyJson | null): readonly Epoch[] {
  const ofVotes = (votes: readonly unknown[]): readonly Epoch[] =>
    votes.flatMap((json) => {
      const read = voteFromJson(json);
      return read.ok ? [read.value.vote.epoch] : [];
    });
  const ofTally = tally === null ? [] : [tally.record.epoch];
  if (evidence.type === "DOUBLE_VOTING") return ofVotes([evidence.first, evidence.second]);
  if (evidence.type === "MINORITY_VOTE") return [...ofVotes([evidence.vote]), ...ofTally];
  if (evidence.type !== "INVALID_SIGNATURE") return ofTally;
  const data = fromBase64(evidence.envelope.data);
  const named = data === null ? null : namedVote(data);
  return named === null ? [] : [named.epoch];
}

interface Claim {
  readonly id: EvidenceId;
  readonly evidence: Evidence;
  readonly tally: TallyJson | null;
  readonly exporter: NodeId;
  readonly sets: TrusteeSets;
}

/** All that a file says of its evidence: nothing else may stand there. */
type Statement = Pick<EvidenceFile, "id" | "accused" | "type" | "grade" | "rule" | "finding">;

function prove(claim: Claim, verify: Verify): Result<Statement, string> {
  const { evidence, tally, sets } = claim;
  const { type } = claim.id;
  if (evidence.type !== type) return err(`the evidence is of ${evidence.type}, not of ${type}`);
  if (needsTally(type) !== (tally !== null))
    return err(`evidence of ${type} must come ${tally === null ? "with" : "without"} the tally`);
  if (tally !== null) {
    const good = checkTally(tally, claim.id.txId, evidence, sets, verify);
    if (!good.ok) return good;
  }
  const found =
    evidence.type === "SILENT_FAILURE" && tally !== null
      ? silenceFinding(evidence, tally, claim)
      : verifyEvidence(evidence, sets, verify);
  if (!found.ok) return found;
  const { nodeId, peerId, txId, sentence } = found.value;
  const member = [...sets.values()].map((set) => set.byPeerId.get(peerId)).find(Boolean);
  assert(member !== undefined, "who is found guilty is in one of the sets");
  // What the votes say may be proven and yet be of another violation than the one that is recorded.
  const id = evidenceIdText({ txId, peerId, type });
  if (id !== evidenceIdText(claim.id)) return err(`the evidence is of ${id}`);
  return ok({
    id,
    accused: { nodeId, peerId, publicKey: bytesToHex(member.publicKey) },
    type,
    grade: gradeOf(type),
    rule: RULES[type],
    finding: sentence,
  });
}

function differenceOf(content: Content, statement: Statement): string | null {
  const { accused } = content;
  if (content.id !== statement.id) return "id";
  if (content.type !== statement.type) return "type";
  if (content.grade !== statement.grade) return "grade";
  if (content.rule !== statement.rule) return "rule";
  if (content.finding !== statement.finding) return "finding";
  const same =
    accused.nodeId === statement.accused.nodeId &&
    accused.peerId === statement.accused.peerId &&
    accused.publicKey === statement.accused.publicKey;
  return same ? null : "accused";
}

import {
  type AbortReason,
  type BanLift,
  type Evidence,
  type EvidenceGrade,
  err,
  type FinalDecision,
  isoTime,
  type NodeId,
  ok,
  type PeerId,
  parseEpoch,
  parseNodeId,
  parsePeerId,
  parseTraceparent,
  parseValue,
  type Result,
  type SignedVote,
  TX_STATUSES,
  type TxId,
  type TxRecord,
  type TxStatus,
  traceparentOf,
  voteFromJson,
} from "@quorate/core";
import type { Presence, StandaloneViolation } from "@quorate/ports";
import { banReasonOf } from "./keys.ts";

/** A value that etcd holds, read back; or what is wrong with it. Reading never throws: anybody may have written it. */
export type Read<T> = Result<T, string>;

type Fields = Readonly<Record<string, unknown>>;

const ABORT_REASONS: readonly AbortReason[] = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "SPLIT_VOTE",
  "QUORUM_UNREACHABLE",
  "SILENT_FAILURE",
];

export function parseObject(text: string): Read<Fields> {
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === "object" && json !== null && !Array.isArray(json))
      return ok(json as Fields);
    return err("value is not a JSON object");
  } catch {
    return err("value is not JSON");
  }
}

const isTime = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

export function readStatus(text: string): Read<TxStatus> {
  const status = TX_STATUSES.find((word) => word === text);
  return status === undefined ? err("unknown status word") : ok(status);
}

export function readCount(text: string): Read<number> {
  return /^(?:0|[1-9][0-9]{0,8})$/.test(text) ? ok(Number(text)) : err("not a whole number");
}

/** `SUBMIT:<value>` or `ABORT:<reason>`. */
export function writeDecision(decision: FinalDecision): string {
  return decision.kind === "SUBMIT" ? `SUBMIT:${decision.value}` : `ABORT:${decision.reason}`;
}

export function readDecision(text: string): Read<FinalDecision> {
  const colon = text.indexOf(":");
  const rest = text.slice(colon + 1);
  if (text.slice(0, colon) === "SUBMIT") {
    const value = parseValue(rest);
    return value.ok ? ok({ kind: "SUBMIT", value: value.value }) : err(value.error.message);
  }
  const reason = ABORT_REASONS.find((word) => word === rest);
  if (text.slice(0, colon) === "ABORT" && reason !== undefined)
    return ok({ kind: "ABORT", reason });
  return err("unknown decision");
}

export function writeRecord({ traceContext, ...record }: TxRecord): string {
  const value = record.value === null ? null : `${record.value}`;
  // Only where it is traced: 75 bytes.
  const trace = traceContext === undefined ? {} : { traceparent: traceparentOf(traceContext) };
  return JSON.stringify({ ...record, value, ...trace });
}

export function readRecord(text: string): Read<TxRecord> {
  const object = parseObject(text);
  if (!object.ok) return object;
  const f = object.value;
  const epoch = parseEpoch(f["epoch"]);
  const excluded = nodeList(f["excluded"]);
  const offenders = nodeList(f["offenders"]);
  const absent = f["absent"] === null ? null : nodeList(f["absent"]);
  const value = f["value"] === null ? ok(null) : parseValue(f["value"]);
  const reason = f["reason"] === null ? null : ABORT_REASONS.find((word) => word === f["reason"]);
  const chain = readChain(f["chain"]);
  // One that is not readable is as if it were not there: nothing but tracing looks at it.
  const traceContext = parseTraceparent(f["traceparent"]);
  const { policy, profile, openedAtMs, deadlineAtMs, thresholdAtMs, unanimous } = f;
  if (!epoch.ok) return err(epoch.error.message);
  if (!value.ok) return err(value.error.message);
  if (excluded === undefined || offenders === undefined || absent === undefined)
    return err("record names no valid nodes");
  if (policy !== "strict-abort" && policy !== "quarantine-and-continue")
    return err("record has an unknown policy");
  if (profile !== "strict" && profile !== "balanced") return err("record has an unknown profile");
  if (!isTime(openedAtMs) || !isTime(deadlineAtMs)) return err("record has no times");
  if (thresholdAtMs !== null && !isTime(thresholdAtMs)) return err("record has no threshold time");
  if (typeof unanimous !== "boolean") return err("record does not say whether it is unanimous");
  if (reason === undefined) return err("record has an unknown reason");
  if (chain === undefined) return err("record has an unreadable chain part");
  return ok({
    epoch: epoch.value,
    policy,
    profile,
    excluded,
    openedAtMs,
    deadlineAtMs,
    value: value.value,
    unanimous,
    thresholdAtMs,
    reason,
    offenders,
    absent,
    chain,
    ...(traceContext === null ? {} : { traceContext }),
  });
}

function nodeList(input: unknown): readonly NodeId[] | undefined {
  if (!Array.isArray(input)) return undefined;
  const nodes: NodeId[] = [];
  for (const item of input) {
    const node = parseNodeId(item);
    if (!node.ok) return undefined;
    nodes.push(node.value);
  }
  return nodes;
}

function readChain(input: unknown): TxRecord["chain"] | undefined {
  if (input === null) return null;
  if (typeof input !== "object" || input === undefined) return undefined;
  const { txHash, blockNumber } = input as Fields;
  if (typeof txHash !== "string" || typeof blockNumber !== "string") return undefined;
  return { txHash, blockNumber };
}

/**
 * The text of core's `voteToJson`, which states the format. Put together by hand, with
 * Node's own base64, because this is the store's hottest path; nothing in it needs escaping.
 */
export function writeVote({ vote, proof }: SignedVote, peerId: PeerId): string {
  const head = `{"value":"${vote.value}","timestamp":"${isoTimeOf(vote.issuedAtMs)}"`;
  const signed = `"signature":"${base64Of(proof.signature)}","peer_id":"${peerId}"`;
  const place = `"leaf":"${base64Of(proof.leaf)}","index":${proof.index},"size":${proof.size}`;
  return `${head},${signed},${place},"path":"${base64OfPath(proof.path)}"}`;
}

let lastTime = { ms: 0, text: isoTime(0) };

/** Votes that wait together were mostly signed together. */
function isoTimeOf(ms: number): string {
  if (lastTime.ms !== ms) lastTime = { ms, text: isoTime(ms) };
  return lastTime.text;
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

// Sixteen siblings are twice what the longest path has.
const pathBytes = Buffer.alloc(32 * 16);

function base64OfPath(path: SignedVote["proof"]["path"]): string {
  let length = 0;
  for (const sibling of path) {
    pathBytes.set(sibling, length);
    length += sibling.length;
  }
  return pathBytes.toString("base64", 0, length);
}

/** A stored vote that belongs where it lies: its signed bytes name the same transaction and node as its key. */
export function readVote(
  text: string,
  place: { readonly txId: TxId; readonly nodeId: NodeId; readonly clusterId: string },
): Read<{ readonly vote: SignedVote; readonly peerId: PeerId }> {
  const object = parseObject(text);
  if (!object.ok) return object;
  const signed = voteFromJson(object.value);
  if (!signed.ok) return err(signed.error.message);
  const peerId = parsePeerId(object.value["peer_id"]);
  if (!peerId.ok) return err(peerId.error.message);
  const { vote } = signed.value;
  if (vote.txId !== place.txId || vote.nodeId !== place.nodeId)
    return err("vote is signed for another transaction or by another node than its key says");
  if (vote.clusterId !== place.clusterId) return err("vote is signed for another cluster");
  return ok({ vote: signed.value, peerId: peerId.value });
}

type OpenViolation = StandaloneViolation["violation"];
type OpenBan = StandaloneViolation["ban"];

export function writeViolation(violation: OpenViolation): string {
  return JSON.stringify({
    node_id: violation.nodeId,
    grade: violation.grade,
    detected_at: isoTime(violation.detectedAtMs),
    evidence: violation.evidence,
  });
}

export function readViolation(
  text: string,
  key: Pick<OpenViolation, "txId" | "peerId" | "type">,
): Read<OpenViolation> {
  const object = parseObject(text);
  if (!object.ok) return object;
  const common = readAccusation(object.value, object.value["detected_at"]);
  if (!common.ok) return common;
  const evidence = readEvidence(object.value["evidence"]);
  if (!evidence.ok) return evidence;
  const { nodeId, grade, atMs } = common.value;
  const { txId, peerId, type } = key;
  return ok({ txId, peerId, type, nodeId, grade, evidence: evidence.value, detectedAtMs: atMs });
}

/** The specification's three fields, and what is needed to lift or upgrade the ban. [spec §7.1] */
export function writeBan(ban: OpenBan, txId: TxId | null): string {
  return JSON.stringify({
    reason: ban.reason,
    banned_at: isoTime(ban.bannedAtMs),
    evidence: Buffer.from(JSON.stringify(ban.evidence)).toString("base64"),
    node_id: ban.nodeId,
    grade: ban.grade,
    tx_id: txId,
  });
}

export function readBan(text: string, peerId: PeerId): Read<OpenBan> {
  const object = parseObject(text);
  if (!object.ok) return object;
  const common = readAccusation(object.value, object.value["banned_at"]);
  if (!common.ok) return common;
  const reason = banReasonOf(object.value["reason"]);
  if (reason === null) return err("ban has an unknown reason");
  const encoded = object.value["evidence"];
  if (typeof encoded !== "string") return err("ban has no evidence");
  const inner = parseObject(Buffer.from(encoded, "base64").toString("utf8"));
  if (!inner.ok) return inner;
  const evidence = readEvidence(inner.value);
  if (!evidence.ok) return evidence;
  const { nodeId, grade, atMs } = common.value;
  return ok({ peerId, nodeId, reason, grade, bannedAtMs: atMs, evidence: evidence.value });
}

export function writeLift(lift: BanLift): string {
  return JSON.stringify({
    node_id: lift.nodeId,
    kind: lift.kind,
    by: lift.by,
    reason: lift.reason,
    ban_reason: lift.banReason,
  });
}

export function readLift(
  text: string,
  { peerId, liftedAtMs }: Pick<BanLift, "peerId" | "liftedAtMs">,
): Read<BanLift> {
  const object = parseObject(text);
  if (!object.ok) return object;
  const f = object.value;
  const node = f["node_id"] === null ? ok(null) : parseNodeId(f["node_id"]);
  const banReason = f["ban_reason"] === null ? null : banReasonOf(f["ban_reason"]);
  const { kind, by, reason } = f;
  if (!node.ok) return err(node.error.message);
  if (kind !== "OPERATOR" && kind !== "UNPROVEN") return err("unknown kind of end of a ban");
  if (typeof by !== "string" || typeof reason !== "string")
    return err("end of a ban does not say by whom and why");
  if (f["ban_reason"] !== null && banReason === null) return err("ban had an unknown reason");
  return ok({ peerId, nodeId: node.value, kind, by, reason, liftedAtMs, banReason });
}

/** Only how sure a ban is. */
export function readBanGrade(text: string): EvidenceGrade | null {
  const object = parseObject(text);
  const grade = object.ok ? object.value["grade"] : null;
  return grade === "PROOF" || grade === "OPINION" ? grade : null;
}

function readAccusation(
  fields: Fields,
  isoText: unknown,
): Read<{ readonly nodeId: NodeId | null; readonly grade: EvidenceGrade; readonly atMs: number }> {
  const node = fields["node_id"] === null ? ok(null) : parseNodeId(fields["node_id"]);
  const { grade } = fields;
  const atMs = typeof isoText === "string" ? Date.parse(isoText) : Number.NaN;
  if (!node.ok) return err(node.error.message);
  if (grade !== "PROOF" && grade !== "OPINION") return err("unknown grade of evidence");
  if (!isTime(atMs)) return err("not an ISO 8601 time");
  return ok({ nodeId: node.value, grade, atMs });
}

/** Checks the outline, so that reading on cannot crash; whoever relies on evidence verifies it with `verifyEvidence`. */
function readEvidence(input: unknown): Read<Evidence> {
  if (!isFields(input)) return err("evidence is not an object");
  const type = banReasonOf(input["type"]);
  if (type === null) return err("unknown type of evidence");
  if (!EVIDENCE_OUTLINE[type](input)) return err("evidence has not the fields of its type");
  if (!isShallow(input, EVIDENCE_DEPTH_MAX)) return err("evidence is nested too deeply");
  return ok(input as unknown as Evidence);
}

/** Real evidence is nested four deep. Thousands of levels parse, and then break whoever writes them again. */
const EVIDENCE_DEPTH_MAX = 8;

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isShallow(inner, levels - 1));
}

const isFields = (input: unknown): input is Fields => typeof input === "object" && input !== null;
const isText = (input: unknown): boolean => typeof input === "string";

const EVIDENCE_OUTLINE: Readonly<Record<Evidence["type"], (f: Fields) => boolean>> = {
  DOUBLE_VOTING: (f) => isFields(f["first"]) && isFields(f["second"]),
  MINORITY_VOTE: (f) =>
    isFields(f["vote"]) &&
    typeof f["threshold"] === "number" &&
    Array.isArray(f["majority"]) &&
    f["majority"].every(isFields),
  INVALID_SIGNATURE: ({ envelope }) =>
    isFields(envelope) &&
    ["from", "data", "seqno", "topic", "signature"].every((key) => isText(envelope[key])),
  SILENT_FAILURE: (f) =>
    isText(f["nodeId"]) &&
    isTime(f["openedAtMs"]) &&
    isTime(f["deadlineAtMs"]) &&
    Array.isArray(f["voted"]) &&
    f["voted"].every(isText),
  LOW_REPUTATION: (f) =>
    isText(f["nodeId"]) &&
    typeof f["score"] === "number" &&
    typeof f["bound"] === "number" &&
    Array.isArray(f["violations"]) &&
    f["violations"].every(
      (v) => isFields(v) && isText(v["txId"]) && isText(v["type"]) && isTime(v["detectedAtMs"]),
    ),
};

export function writePresence(presence: Presence): string {
  return JSON.stringify({
    node_id: presence.nodeId,
    addresses: presence.addresses,
    api_url: presence.apiUrl,
    version: presence.version,
    started_at: isoTime(presence.startedAtMs),
  });
}

export function readPresence(text: string, peerId: PeerId): Read<Presence> {
  const object = parseObject(text);
  if (!object.ok) return object;
  const f = object.value;
  const nodeId = parseNodeId(f["node_id"]);
  const addresses = f["addresses"];
  const apiUrl = f["api_url"];
  const version = f["version"];
  const startedAt = f["started_at"];
  const startedAtMs = typeof startedAt === "string" ? Date.parse(startedAt) : Number.NaN;
  if (!nodeId.ok) return err(nodeId.error.message);
  if (!Array.isArray(addresses) || !addresses.every((a): a is string => typeof a === "string"))
    return err("presence has no addresses");
  if (apiUrl !== null && typeof apiUrl !== "string") return err("presence has an unreadable URL");
  if (typeof version !== "string" || !isTime(startedAtMs))
    return err("presence has no version or start time");
  return ok({ peerId, nodeId: nodeId.value, addresses, apiUrl, version, startedAtMs });
}

import {
  type BanReason,
  type ClusterId,
  type Epoch,
  type NodeId,
  type PeerId,
  parseEpoch,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
  type TxId,
  type Value,
  type ViolationType,
} from "@quorate/core";

/**
 * Every key of the cluster; no other file spells one. All ids are free of "/",
 * so a key's parts are what lies between the slashes. @see spec §7.1
 */
export interface Keys {
  /** With its "/" at the end: the range of everything that belongs to the cluster. */
  readonly root: string;
  voteCount(txId: TxId, value: Value): string;
  /** All counters of one transaction. */
  voteCountsOf(txId: TxId): string;
  vote(txId: TxId, nodeId: NodeId): string;
  /** All votes of one transaction. */
  votesOf(txId: TxId): string;
  status(txId: TxId): string;
  readonly statuses: string;
  record(txId: TxId): string;
  decision(txId: TxId): string;
  violation(txId: TxId, peerId: PeerId, type: ViolationType): string;
  violationsOf(txId: TxId): string;
  readonly violations: string;
  banned(peerId: PeerId): string;
  readonly bans: string;
  /** The end of a ban. @param liftedAtMs since the Unix epoch */
  lift(peerId: PeerId, liftedAtMs: number): string;
  readonly lifts: string;
  /** Receipts that were written together. @param sequence the first one's */
  receipts(nodeId: NodeId, runStartedAtMs: number, sequence: number): string;
  readonly allReceipts: string;
  readonly threshold: string;
  readonly totalNodes: string;
  readonly epoch: string;
  /** How the cluster's keys are to be read; absent: version 1. */
  readonly dataVersion: string;
  trustee(nodeId: NodeId): string;
  readonly trustees: string;
  /** A whole trustee set, for as long as transactions and evidence may name its epoch. */
  epochDocument(epoch: Epoch): string;
  readonly epochDocuments: string;
  presence(peerId: PeerId): string;
  readonly presences: string;
  /** Makes etcd count a Txn against its quota; says nothing. */
  readonly counted: string;
  silence(nodeId: NodeId): string;
  readonly silences: string;
  /** All candidates for one leadership. @param name any text; it is escaped. */
  candidates(name: string): string;
  candidate(name: string, leaseId: string): string;
}

export function keysOf(clusterId: ClusterId): Keys {
  const root = `/quorate/${clusterId}/`;
  const candidates = (name: string): string => `${root}locks/election/${encodeURIComponent(name)}/`;
  return {
    root,
    voteCount: (txId, value) => `${root}vote_counts/${txId}/${value}`,
    voteCountsOf: (txId) => `${root}vote_counts/${txId}/`,
    vote: (txId, nodeId) => `${root}votes/${txId}/${nodeId}`,
    votesOf: (txId) => `${root}votes/${txId}/`,
    status: (txId) => `${root}transaction_status/${txId}`,
    statuses: `${root}transaction_status/`,
    record: (txId) => `${root}transactions/${txId}`,
    decision: (txId) => `${root}decisions/${txId}`,
    violation: (txId, peerId, type) => `${root}violations/${txId}/${peerId}/${type}`,
    violationsOf: (txId) => `${root}violations/${txId}/`,
    violations: `${root}violations/`,
    banned: (peerId) => `${root}banned/${peerId}`,
    bans: `${root}banned/`,
    lift: (peerId, liftedAtMs) => `${root}lifts/${peerId}/${liftedAtMs}`,
    lifts: `${root}lifts/`,
    receipts: (nodeId, runStartedAtMs, sequence) =>
      `${root}receipts/${nodeId}/${runStartedAtMs}/${padded(sequence)}`,
    allReceipts: `${root}receipts/`,
    threshold: `${root}config/threshold`,
    totalNodes: `${root}config/total_nodes`,
    epoch: `${root}config/epoch`,
    dataVersion: `${root}config/data_version`,
    trustee: (nodeId) => `${root}config/trustees/${nodeId}`,
    trustees: `${root}config/trustees/`,
    epochDocument: (epoch) => `${root}config/epochs/${epoch}`,
    epochDocuments: `${root}config/epochs/`,
    presence: (peerId) => `${root}nodes/${peerId}`,
    presences: `${root}nodes/`,
    counted: `${root}locks/counted`,
    silence: (nodeId) => `${root}silence/${nodeId}`,
    silences: `${root}silence/`,
    candidates,
    candidate: (name, leaseId) => `${candidates(name)}${leaseId}`,
  };
}

// As many digits as the largest safe integer has: then keys sort as their numbers do.
const SEQUENCE_DIGITS = 16;
const padded = (sequence: number): string => String(sequence).padStart(SEQUENCE_DIGITS, "0");

/** What a key names. */
export type ParsedKey =
  | { readonly kind: "vote-count"; readonly txId: TxId; readonly value: Value }
  | { readonly kind: "vote"; readonly txId: TxId; readonly nodeId: NodeId }
  | { readonly kind: "status" | "record" | "decision"; readonly txId: TxId }
  | {
      readonly kind: "violation";
      readonly txId: TxId;
      readonly peerId: PeerId;
      readonly type: ViolationType;
    }
  | { readonly kind: "ban" | "presence"; readonly peerId: PeerId }
  | { readonly kind: "lift"; readonly peerId: PeerId; readonly liftedAtMs: number }
  | {
      readonly kind: "receipts";
      readonly nodeId: NodeId;
      readonly runStartedAtMs: number;
      readonly sequence: number;
    }
  | { readonly kind: "silence"; readonly nodeId: NodeId }
  | { readonly kind: "config" | "lock" }
  | { readonly kind: "unreadable"; readonly problem: string };

const VIOLATION_TYPES: readonly ViolationType[] = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "INVALID_SIGNATURE",
  "SILENT_FAILURE",
];

/** The violation that a word names, or null. */
export function violationTypeOf(word: unknown): ViolationType | null {
  return VIOLATION_TYPES.find((type) => type === word) ?? null;
}

/** The reason of a ban that a word names, or null. */
export function banReasonOf(word: unknown): BanReason | null {
  return word === "LOW_REPUTATION" ? word : violationTypeOf(word);
}

/** The epoch that a set's key names, or null. */
export function epochOf(keys: Keys, key: string): Epoch | null {
  const epoch = parseEpoch(key.slice(keys.epochDocuments.length));
  return epoch.ok && keys.epochDocument(epoch.value) === key ? epoch.value : null;
}

const unreadable = (problem: string): ParsedKey => ({ kind: "unreadable", problem });

/** Reads a key of this cluster. Total: whatever is not ours is "unreadable". */
export function parseKey(keys: Keys, key: string): ParsedKey {
  if (!key.startsWith(keys.root)) return unreadable("key is not of this cluster");
  const [section = "", ...parts] = key.slice(keys.root.length).split("/");
  switch (section) {
    case "vote_counts":
      return parseVoteCount(parts);
    case "votes":
      return parseVote(parts);
    case "transaction_status":
      return parseTx("status", parts);
    case "transactions":
      return parseTx("record", parts);
    case "decisions":
      return parseTx("decision", parts);
    case "violations":
      return parseViolation(parts);
    case "banned":
      return parsePeer("ban", parts);
    case "lifts":
      return parseLift(parts);
    case "receipts":
      return parseReceipts(parts);
    case "nodes":
      return parsePeer("presence", parts);
    case "silence":
      return parseSilence(parts);
    case "config":
      return { kind: "config" };
    case "locks":
      return { kind: "lock" };
    default:
      return unreadable("unknown part of the key space");
  }
}

function parseVoteCount([tx, valueText, ...rest]: readonly string[]): ParsedKey {
  const txId = parseTxId(tx);
  const value = parseValue(valueText);
  if (!txId.ok) return unreadable(txId.error.message);
  if (!value.ok) return unreadable(value.error.message);
  if (rest.length > 0) return unreadable("key has too many parts");
  return { kind: "vote-count", txId: txId.value, value: value.value };
}

function parseVote([tx, node, ...rest]: readonly string[]): ParsedKey {
  const txId = parseTxId(tx);
  const nodeId = parseNodeId(node);
  if (!txId.ok) return unreadable(txId.error.message);
  if (!nodeId.ok) return unreadable(nodeId.error.message);
  if (rest.length > 0) return unreadable("key has too many parts");
  return { kind: "vote", txId: txId.value, nodeId: nodeId.value };
}

function parseTx(kind: "status" | "record" | "decision", parts: readonly string[]): ParsedKey {
  const txId = parseTxId(parts[0]);
  if (!txId.ok) return unreadable(txId.error.message);
  return parts.length > 1 ? unreadable("key has too many parts") : { kind, txId: txId.value };
}

function parseViolation([tx, peer, word, ...rest]: readonly string[]): ParsedKey {
  const txId = parseTxId(tx);
  const peerId = parsePeerId(peer);
  const type = violationTypeOf(word);
  if (!txId.ok) return unreadable(txId.error.message);
  if (!peerId.ok) return unreadable(peerId.error.message);
  if (type === null) return unreadable("unknown violation type");
  if (rest.length > 0) return unreadable("key has too many parts");
  return { kind: "violation", txId: txId.value, peerId: peerId.value, type };
}

function parsePeer(kind: "ban" | "presence", parts: readonly string[]): ParsedKey {
  const peerId = parsePeerId(parts[0]);
  if (!peerId.ok) return unreadable(peerId.error.message);
  return parts.length > 1 ? unreadable("key has too many parts") : { kind, peerId: peerId.value };
}

const DECIMAL = /^(?:0|[1-9][0-9]{0,15})$/;

function parseLift([peer, time = "", ...rest]: readonly string[]): ParsedKey {
  const peerId = parsePeerId(peer);
  if (!peerId.ok) return unreadable(peerId.error.message);
  if (!DECIMAL.test(time) || !Number.isSafeInteger(Number(time))) return unreadable("no time");
  if (rest.length > 0) return unreadable("key has too many parts");
  return { kind: "lift", peerId: peerId.value, liftedAtMs: Number(time) };
}

function parseReceipts([node, run = "", first = "", ...rest]: readonly string[]): ParsedKey {
  const nodeId = parseNodeId(node);
  if (!nodeId.ok) return unreadable(nodeId.error.message);
  if (!DECIMAL.test(run) || !Number.isSafeInteger(Number(run))) return unreadable("no run");
  const sequence = Number(first);
  if (!Number.isSafeInteger(sequence) || padded(sequence) !== first)
    return unreadable("no sequence number");
  if (rest.length > 0) return unreadable("key has too many parts");
  return { kind: "receipts", nodeId: nodeId.value, runStartedAtMs: Number(run), sequence };
}

function parseSilence(parts: readonly string[]): ParsedKey {
  const nodeId = parseNodeId(parts[0]);
  if (!nodeId.ok) return unreadable(nodeId.error.message);
  return parts.length > 1
    ? unreadable("key has too many parts")
    : { kind: "silence", nodeId: nodeId.value };
}

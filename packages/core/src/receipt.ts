import { concatBytes, fromBase64, hash, lengthPrefixed, toBase64, u64, utf8 } from "./bytes.ts";
import type { TrusteeSets } from "./evidence.ts";
import {
  type ClusterId,
  type NodeId,
  type PeerId,
  parseClusterId,
  parseNodeId,
  parsePeerId,
  parseTxId,
  type TxId,
} from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { assert, err, ok, type Result } from "./result.ts";
import type { Verify } from "./vote.ts";

/** Why a vote, or a message that should have held votes, was not taken; closed, for it is a metric label. */
export const REFUSAL_REASONS = [
  // Dropped before anything was verified.
  "author_not_trustee",
  "author_banned",
  "oversized",
  "malformed_envelope",
  "rate_limited",
  "no_room",
  // Refused by what the message says.
  "malformed",
  "stale",
  "wrong_cluster",
  "wrong_epoch",
  "unknown_trustee",
  "trustee_banned",
  "quota",
  "bad_signature",
  "queue_full",
  // Refused by the rules, against what is recorded.
  "equivocation",
  "record_forged",
  "archived",
  // Refused to a local caller.
  "already_voted",
  "not_a_trustee",
  "journal_failed",
  "stopped",
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];

const AUTHOR_CLAIMED: ReadonlySet<RefusalReason> = new Set([
  "author_not_trustee",
  "author_banned",
  "oversized",
  "malformed_envelope",
  "rate_limited",
  "no_room",
]);

/** Whether a message refused for this reason has an author that was authenticated: what is dropped before only claims one. */
export function isAuthorVerified(reason: RefusalReason): boolean {
  return !AUTHOR_CLAIMED.has(reason);
}

/**
 * A node's signed word that it did not take a message, and why (I9). One receipt may stand for
 * many messages of one peer that were refused for one reason: under flood it counts instead of naming each.
 */
export interface Receipt {
  readonly clusterId: ClusterId;
  /** Who refused. */
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Grows by one with each receipt of a node's run; unique with `nodeId` and `runStartedAtMs`. */
  readonly sequence: number;
  /** When the refusing node was started, in ms since the Unix epoch: sequences begin anew with each run. */
  readonly runStartedAtMs: number;
  readonly issuedAtMs: number;
  readonly reason: RefusalReason;
  /** Messages that it stands for; 1 unless aggregated. */
  readonly count: number;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** BLAKE3 of the refused bytes, base64: the message's, or the vote's when it came alone. The first one's when aggregated. */
  readonly messageHash: string;
  readonly txId: TxId | null;
  /** Whose vote it claims to be. */
  readonly voter: NodeId | null;
  /** Who published it: authenticated for what is refused by content, claimed for what was dropped before. */
  readonly author: PeerId | null;
  readonly forwarder: PeerId | null;
  /** Ed25519 by the refusing node over the canonical bytes, base64. */
  readonly signature: string;
}

/** A receipt before it is signed. */
export type ReceiptFields = Omit<Receipt, "signature">;

/** A receipt as etcd, PostgreSQL and the API hold it: every field as it is, for all are texts and numbers. */
export type ReceiptJson = {
  readonly [Name in keyof Receipt]: Receipt[Name] extends number
    ? number
    : null extends Receipt[Name]
      ? string | null
      : string;
};

const RECEIPT_DOMAIN = "quorate/receipt/v1";
const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;

/** The text form of a refused message's hash. */
export function refusedMessageHash(bytes: Uint8Array): string {
  return toBase64(hash(bytes));
}

/**
 * What a refusing node's key signs: the domain, then each field behind its length. No id is ever
 * empty, so an absent one is the empty field.
 */
export function receiptSigningBytes(receipt: ReceiptFields): Uint8Array {
  const messageHash = fromBase64(receipt.messageHash);
  assert(messageHash?.length === HASH_BYTES, "a message hash is 32 bytes");
  const text = (value: string | null): Uint8Array => lengthPrefixed(utf8(value ?? ""));
  const number = (value: number): Uint8Array => lengthPrefixed(u64(BigInt(value)));
  return concatBytes(
    text(RECEIPT_DOMAIN),
    text(receipt.clusterId),
    text(receipt.nodeId),
    text(receipt.peerId),
    number(receipt.sequence),
    number(receipt.runStartedAtMs),
    number(receipt.issuedAtMs),
    text(receipt.reason),
    number(receipt.count),
    number(receipt.firstAtMs),
    number(receipt.lastAtMs),
    lengthPrefixed(messageHash),
    text(receipt.txId),
    text(receipt.voter),
    text(receipt.author),
    text(receipt.forwarder),
  );
}

/** @param sign makes a 64-byte Ed25519 signature with the key of `fields.peerId`. */
export function signReceipt(
  fields: ReceiptFields,
  sign: (message: Uint8Array) => Uint8Array,
): Receipt {
  const signature = sign(receiptSigningBytes(fields));
  assert(signature.length === SIGNATURE_BYTES, "an Ed25519 signature is 64 bytes");
  return { ...fields, signature: toBase64(signature) };
}

/**
 * Checks that the trustee it names signed the receipt. The key comes from the trustee sets, never from
 * the receipt; a receipt belongs to no epoch, so a node's key of any known epoch will do.
 * @param receipt as `receiptFromJson` or `signReceipt` returned it
 */
export function verifyReceipt(
  receipt: Receipt,
  sets: TrusteeSets,
  verify: Verify,
): Result<Receipt, string> {
  const { nodeId, peerId, clusterId } = receipt;
  const members = [...sets.values()]
    .filter((set) => set.clusterId === clusterId)
    .map((set) => set.byPeerId.get(peerId));
  const member = members.find((trustee) => trustee?.nodeId === nodeId);
  if (member === undefined)
    return err(`${nodeId} with the key ${peerId} is no trustee of ${clusterId} in a known epoch`);
  const signature = fromBase64(receipt.signature);
  if (signature === null || !verify(member.publicKey, receiptSigningBytes(receipt), signature))
    return err(`signature is not by ${nodeId}`);
  return ok(receipt);
}

export function receiptToJson(receipt: Receipt): ReceiptJson {
  return {
    clusterId: receipt.clusterId,
    nodeId: receipt.nodeId,
    peerId: receipt.peerId,
    sequence: receipt.sequence,
    runStartedAtMs: receipt.runStartedAtMs,
    issuedAtMs: receipt.issuedAtMs,
    reason: receipt.reason,
    count: receipt.count,
    firstAtMs: receipt.firstAtMs,
    lastAtMs: receipt.lastAtMs,
    messageHash: receipt.messageHash,
    txId: receipt.txId,
    voter: receipt.voter,
    author: receipt.author,
    forwarder: receipt.forwarder,
    signature: receipt.signature,
  };
}

const FIELDS = 16;

/** Reads a stored receipt: these fields and no others, each within its bounds. The signature is not checked. */
export function receiptFromJson(json: unknown): Result<Receipt, string> {
  if (typeof json !== "object" || json === null) return err("receipt is not an object");
  const fields = json as Readonly<Partial<Record<keyof Receipt, unknown>>>;
  const clusterId = parseClusterId(fields.clusterId);
  const nodeId = parseNodeId(fields.nodeId);
  const peerId = parsePeerId(fields.peerId);
  const txId = nullable(fields.txId, parseTxId);
  const voter = nullable(fields.voter, parseNodeId);
  const author = nullable(fields.author, parsePeerId);
  const forwarder = nullable(fields.forwarder, parsePeerId);
  if (!clusterId.ok) return err(clusterId.error.message);
  if (!nodeId.ok) return err(nodeId.error.message);
  if (!peerId.ok) return err(peerId.error.message);
  if (!txId.ok) return err(txId.error.message);
  if (!voter.ok) return err(voter.error.message);
  if (!author.ok) return err(author.error.message);
  if (!forwarder.ok) return err(forwarder.error.message);
  const reason = REFUSAL_REASONS.find((known) => known === fields.reason);
  if (reason === undefined) return err("receipt's reason is not a known one");
  const { sequence, count, runStartedAtMs, issuedAtMs, firstAtMs, lastAtMs } = fields;
  if (!isWhole(sequence, 0, Number.MAX_SAFE_INTEGER) || !isWhole(count, 1, Number.MAX_SAFE_INTEGER))
    return err("receipt's sequence or count is not a whole number in range");
  if (!isTime(runStartedAtMs) || !isTime(issuedAtMs) || !isTime(firstAtMs) || !isTime(lastAtMs))
    return err("one of the receipt's times is out of range");
  if (firstAtMs > lastAtMs) return err("receipt's first message comes after its last");
  const { messageHash, signature } = fields;
  if (!isBase64Of(messageHash, HASH_BYTES) || !isBase64Of(signature, SIGNATURE_BYTES))
    return err("receipt's hash or signature is not readable");
  // What is not signed must not travel with it.
  if (Object.keys(json).length !== FIELDS) return err("receipt has fields that are none of its");
  return ok({
    clusterId: clusterId.value,
    nodeId: nodeId.value,
    peerId: peerId.value,
    sequence,
    runStartedAtMs,
    issuedAtMs,
    reason,
    count,
    firstAtMs,
    lastAtMs,
    messageHash,
    txId: txId.value,
    voter: voter.value,
    author: author.value,
    forwarder: forwarder.value,
    signature,
  });
}

function nullable<T, E>(
  input: unknown,
  parse: (input: unknown) => Result<T, E>,
): Result<T | null, E> {
  return input === null ? ok(null) : parse(input);
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max;
}

function isTime(value: unknown): value is number {
  return isWhole(value, 0, LIMITS.issuedAtMsMax);
}

function isBase64Of(value: unknown, bytes: number): value is string {
  if (typeof value !== "string" || value.length !== Math.ceil(bytes / 3) * 4) return false;
  return fromBase64(value)?.length === bytes;
}

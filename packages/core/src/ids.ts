import { LIMITS } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A transaction's name, chosen by whoever opens it; safe inside etcd keys and URLs. */
export type TxId = Branded<string, "TxId">;
/** An operator's name for a trustee's node; a DNS label. */
export type NodeId = Branded<string, "NodeId">;
/** A libp2p peer id in base58btc text form. */
export type PeerId = Branded<string, "PeerId">;
/** The cluster's name; keeps votes of one cluster from counting in another. */
export type ClusterId = Branded<string, "ClusterId">;
/** The voted value, a u64. */
export type Value = Branded<bigint, "Value">;
/** The number of a trustee set; grows by one at each change. */
export type Epoch = Branded<number, "Epoch">;
/** A lower-case 0x-prefixed EVM address. */
export type EvmAddress = Branded<string, "EvmAddress">;

/** Why a text is not a valid id: a stable code, and a sentence for a person. */
export interface ParseError {
  readonly code:
    | "TX_ID_INVALID"
    | "NODE_ID_INVALID"
    | "PEER_ID_INVALID"
    | "CLUSTER_ID_INVALID"
    | "VALUE_INVALID"
    | "EPOCH_INVALID"
    | "ADDRESS_INVALID";
  readonly message: string;
}

const TX_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
// Ed25519 peer ids are an identity multihash and always begin with 12D3KooW.
const PEER_ID = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;
const DECIMAL = /^(?:0|[1-9][0-9]{0,19})$/;
const ADDRESS = /^0x[0-9a-fA-F]{40}$/;

// Only this file may brand: everything else goes through a parser.
const branded = <T>(value: unknown): T => value as T;

function shown(input: unknown): string {
  if (typeof input !== "string") return `a ${input === null ? "null" : typeof input}`;
  // Control characters beyond ASCII are left alone by JSON, and a terminal may obey them.
  const printable = JSON.stringify(input.slice(0, 40)).replace(
    /[^ -~]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return input.length > 40 ? `${printable}… (${input.length} characters)` : printable;
}

/** Reads a transaction id. @see spec §7.1 */
export function parseTxId(input: unknown): Result<TxId, ParseError> {
  if (typeof input === "string" && TX_ID.test(input)) return ok(branded<TxId>(input));
  return err({
    code: "TX_ID_INVALID",
    message: `transaction id must be 1 to ${LIMITS.txIdCharsMax} characters of A-Z a-z 0-9 . _ : - and begin with a letter or digit, but got ${shown(input)}`,
  });
}

/** Reads a node id. */
export function parseNodeId(input: unknown): Result<NodeId, ParseError> {
  if (typeof input === "string" && DNS_LABEL.test(input)) return ok(branded<NodeId>(input));
  return err({
    code: "NODE_ID_INVALID",
    message: `node id must be 1 to ${LIMITS.nodeIdCharsMax} characters of a-z 0-9 - and begin and end with a letter or digit, but got ${shown(input)}`,
  });
}

/** Reads the text form of an Ed25519 libp2p peer id. */
export function parsePeerId(input: unknown): Result<PeerId, ParseError> {
  if (typeof input === "string" && PEER_ID.test(input)) return ok(branded<PeerId>(input));
  return err({
    code: "PEER_ID_INVALID",
    message: `peer id must be the base58 text of an Ed25519 peer id (12D3KooW…), but got ${shown(input)}`,
  });
}

/** Reads a cluster id. */
export function parseClusterId(input: unknown): Result<ClusterId, ParseError> {
  if (typeof input === "string" && DNS_LABEL.test(input)) return ok(branded<ClusterId>(input));
  return err({
    code: "CLUSTER_ID_INVALID",
    message: `cluster id must be 1 to ${LIMITS.clusterIdCharsMax} characters of a-z 0-9 - and begin and end with a letter or digit, but got ${shown(input)}`,
  });
}

/**
 * Reads a value: a bigint, or its canonical decimal text. Numbers are refused,
 * for a JavaScript number above 2^53 has already lost digits.
 */
export function parseValue(input: unknown): Result<Value, ParseError> {
  if (typeof input === "bigint" && input >= 0n && input <= LIMITS.valueMax)
    return ok(branded<Value>(input));
  if (typeof input === "string" && DECIMAL.test(input)) {
    const value = BigInt(input);
    if (value <= LIMITS.valueMax) return ok(branded<Value>(value));
  }
  const got = typeof input === "bigint" ? input.toString() : shown(input);
  return err({
    code: "VALUE_INVALID",
    message: `value must be a whole number from 0 to ${LIMITS.valueMax} in decimal digits, but got ${got}`,
  });
}

/** Reads an epoch number. */
export function parseEpoch(input: unknown): Result<Epoch, ParseError> {
  if (typeof input === "number" && Number.isSafeInteger(input) && input >= 1)
    return ok(branded<Epoch>(input));
  if (typeof input === "string" && DECIMAL.test(input) && Number.isSafeInteger(Number(input)))
    return parseEpoch(Number(input));
  return err({
    code: "EPOCH_INVALID",
    message: `epoch must be a whole number from 1 up, but got ${typeof input === "number" ? input : shown(input)}`,
  });
}

/** Reads an EVM address and lower-cases it. */
export function parseEvmAddress(input: unknown): Result<EvmAddress, ParseError> {
  if (typeof input === "string" && ADDRESS.test(input))
    return ok(branded<EvmAddress>(input.toLowerCase()));
  return err({
    code: "ADDRESS_INVALID",
    message: `EVM address must be 0x and 40 hexadecimal digits, but got ${shown(input)}`,
  });
}

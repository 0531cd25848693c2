import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  encodeFrame,
  hexToBytes,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parseTxId,
  parseValue,
  peerIdOf,
  signFrame,
  unwrap,
  type Vote,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import type { LocalCluster } from "@quorate/localcluster";
import type { Signer } from "./wire.ts";

/** A key and, when it is a trustee's, the name that goes with it. */
export interface Identity extends Signer {
  readonly name: string;
  readonly seed: Uint8Array;
  readonly peerId: PeerId;
}

export function identityOf(name: string, seed: Uint8Array): Identity {
  const signer = createVoteSigner(seed);
  return {
    name,
    seed,
    publicKey: signer.publicKey,
    peerId: peerIdOf(signer.publicKey),
    sign: (message) => signer.sign(message),
  };
}

/** A trustee's own key, out of its directory. */
export async function stolenIdentity(cluster: LocalCluster, nodeId: string): Promise<Identity> {
  const text = await readFile(join(cluster.directory, nodeId, "node.key"), "utf8");
  return identityOf(nodeId, hexToBytes(text.trim()));
}

/** A key that no trustee set has. */
export function strangerIdentity(name: string): Identity {
  return identityOf(name, randomBytes(32));
}

/** What a vote says; only the transaction and the value have no default. */
export interface VoteFields {
  readonly txId: string;
  readonly value: string;
  readonly nodeId: string;
  readonly clusterId: string;
  readonly epoch: number;
  readonly issuedAtMs?: number;
}

export function voteOf(fields: VoteFields): Vote {
  return {
    clusterId: unwrap(parseClusterId(fields.clusterId)),
    epoch: unwrap(parseEpoch(fields.epoch)),
    txId: unwrap(parseTxId(fields.txId)),
    value: unwrap(parseValue(fields.value)),
    nodeId: unwrap(parseNodeId(fields.nodeId)),
    issuedAtMs: fields.issuedAtMs ?? Date.now(),
  };
}

/** Votes under one signature, as the bytes that gossip carries. */
export function frameBytes(signer: Signer, votes: readonly Vote[]): Uint8Array {
  return encodeFrame(signFrame(votes, (message) => signer.sign(message)));
}

/** The same bytes with one bit of the signature turned over. */
export function spoilSignature(frame: Uint8Array): Uint8Array {
  const spoiled = Uint8Array.from(frame);
  // Byte 0 is the version; the 64 after it are the signature.
  spoiled[1] = (spoiled[1] ?? 0) ^ 1;
  return spoiled;
}

import { createPrivateKey, createPublicKey } from "node:crypto";
import { privateKeyFromRaw } from "@libp2p/crypto/keys";
import type { PeerId as Libp2pPeerId, PrivateKey } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import {
  assert,
  concatBytes,
  equalBytes,
  type PeerId,
  parsePeerId,
  toBase58,
  unwrap,
} from "@quorate/core";
import { LRUCache } from "lru-cache";

/**
 * An Ed25519 peer id is the identity multihash (code 0, 36 bytes) of the protobuf
 * PublicKey{type: Ed25519, data: 32 bytes}. Everything but the key is constant.
 */
const MULTIHASH_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);
const MULTIHASH_BYTES = MULTIHASH_PREFIX.length + 32;
/** The DER header of a PKCS #8 Ed25519 private key; the 32-byte seed follows. */
const PKCS8_PREFIX = Uint8Array.from(Buffer.from("302e020100300506032b657004220420", "hex"));

function publicKeyOfSeed(seed: Uint8Array): Uint8Array {
  assert(seed instanceof Uint8Array && seed.length === 32, "an Ed25519 seed has 32 bytes");
  const der = Buffer.from(concatBytes(PKCS8_PREFIX, seed));
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return Uint8Array.from(spki.subarray(spki.length - 32));
}

/**
 * The peer id of an Ed25519 seed.
 * @param seed 32 bytes.
 * @see spec §5.1
 */
export function peerIdFromSeed(seed: Uint8Array): PeerId {
  return peerIdFromPublicKey(publicKeyOfSeed(seed));
}

/** The peer id of a 32-byte Ed25519 public key. */
export function peerIdFromPublicKey(publicKey: Uint8Array): PeerId {
  assert(publicKey.length === 32, "an Ed25519 public key has 32 bytes");
  return unwrap(parsePeerId(toBase58(concatBytes(MULTIHASH_PREFIX, publicKey))));
}

/** libp2p's form of a private key: the seed and the public key after it. */
export function privateKeyFromSeed(seed: Uint8Array): PrivateKey {
  return privateKeyFromRaw(concatBytes(seed, publicKeyOfSeed(seed)));
}

/** Our id of a libp2p peer; null when it is not an Ed25519 peer, which no member of a cluster is. */
export function toPeerId(peer: Libp2pPeerId): PeerId | null {
  if (peer.type !== "Ed25519") return null;
  const parsed = parsePeerId(peer.toString());
  return parsed.ok ? parsed.value : null;
}

/** libp2p's id of one of ours. */
export function toLibp2pPeerId(peer: PeerId): Libp2pPeerId {
  return peerIdFromString(peer);
}

/**
 * The peer id in a message's `from` field; null unless the bytes are exactly the canonical
 * multihash. libp2p also accepts other spellings of the same id, but only decodes them:
 * the signed bytes could then not be rebuilt from the envelope, and a forger's own
 * signature would be no evidence against it.
 */
export function peerIdFromCanonicalMultihash(from: Uint8Array): PeerId | null {
  if (from.length !== MULTIHASH_BYTES) return null;
  if (!equalBytes(from.subarray(0, MULTIHASH_PREFIX.length), MULTIHASH_PREFIX)) return null;
  const key = latin1(from);
  const known = textOfMultihash.get(key);
  if (known !== undefined) return known;
  const peerId = peerIdFromPublicKey(Uint8Array.from(from.subarray(MULTIHASH_PREFIX.length)));
  textOfMultihash.set(key, peerId);
  return peerId;
}

/** Base58 costs more than a hash, and every message names its author: the texts are kept. */
const textOfMultihash = new LRUCache<string, PeerId>({ max: 1_000 });

/** Bytes as a text of as many characters, for keys of maps. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

import { createHash } from "node:crypto";
import {
  bytesToHex,
  type ClusterId,
  hash,
  makeTrusteeSet,
  type NodeId,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  peerIdOf,
  type Trustee,
  type TrusteeSet,
  unwrap,
  utf8,
} from "@quorate/core";
import type { VoteSigner } from "@quorate/ports";
import { nodeVoteSigner } from "@quorate/testkit";

/** Whose key: the same words mean the same key in every world and every run. */
export interface Who {
  readonly kind: "honest" | "byzantine" | "outsider";
  /** From when on it is a trustee; 0 for those whose keys never change. */
  readonly epoch: number;
  readonly index: number;
}

export interface Person extends Who {
  readonly seed: Uint8Array;
  readonly signer: VoteSigner;
  readonly peerId: PeerId;
}

/** Four agree, and four are honest: the adversary has all it may have (N − t), and cannot elect a value alone. */
export const THRESHOLD = 4;
export const HONEST = 4;
export const BYZANTINE = 3;
export const OUTSIDERS = 4;
/** Below `LIMITS.epochsKept`, so that no set is forgotten. */
export const EPOCHS_MAX = 60;
/** As long as ids may be. */
export const CLUSTER: ClusterId = unwrap(parseClusterId(`fuzz-${"c".repeat(58)}`));
export const OTHER_CLUSTER: ClusterId = unwrap(parseClusterId("elsewhere"));

const HONEST_NAMES = ["self", `h${"-".repeat(61)}1`, "h", "node-003"] as const;

/** Which values honest trustees vote for, by transaction: one for all of them. */
export function honestValue(txId: string): bigint {
  const digest = createHash("sha256").update(txId).digest();
  const edges = [0n, 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, 255n];
  return edges[digest[0] ?? 0] ?? digest.readBigUInt64BE(8);
}

const KINDS = ["honest", "byzantine", "outsider"] as const;
const people = new Map<string, Person>();
const byPeer = new Map<PeerId, Person>();

export function personOf({ kind, epoch, index }: Who): Person {
  const name = `${kind}/${epoch}/${index}`;
  const known = people.get(name);
  if (known !== undefined) return known;
  const seed = hash(utf8(`quorate/fuzz/${name}`));
  const signer = nodeVoteSigner(seed);
  const person = { kind, epoch, index, seed, signer, peerId: peerIdOf(signer.publicKey) };
  people.set(name, person);
  byPeer.set(person.peerId, person);
  return person;
}

export const honest = (index: number): Person => personOf({ kind: "honest", epoch: 0, index });
export const outsider = (index: number): Person => personOf({ kind: "outsider", epoch: 0, index });

/** A Byzantine trustee of an epoch. The last of them keeps its key for two epochs, under another name each. */
export function byzantine(epoch: number, index: number): Person {
  const since = index === BYZANTINE - 1 ? epoch - (epoch % 2) : epoch;
  return personOf({ kind: "byzantine", epoch: since, index });
}

/** Who has a key; null for a key that nobody was ever given. */
export function ownerOf(peerId: PeerId): Person | null {
  return byPeer.get(peerId) ?? null;
}

/** A Byzantine trustee's name: the first two names go from key to key. */
function byzantineName(epoch: number, index: number): string {
  return ["b", `b${"x".repeat(61)}0`, `b-${epoch}`][index] ?? `b-${epoch}-${index}`;
}

interface Epoch {
  readonly set: TrusteeSet;
  readonly byName: ReadonlyMap<string, Person>;
  readonly nameOf: ReadonlyMap<PeerId, NodeId>;
}
const epochs = new Map<number, Epoch>();

/** Who is who in an epoch, from 1 up. */
export function epochOf(epoch: number): Epoch {
  const known = epochs.get(epoch);
  if (known !== undefined) return known;
  const members: [string, Person][] = [
    ...HONEST_NAMES.map((name, i): [string, Person] => [name, honest(i)]),
    ...Array.from({ length: BYZANTINE }, (_, i): [string, Person] => [
      byzantineName(epoch, i),
      byzantine(epoch, i),
    ]),
  ];
  const trustees = members.map(([name, person]) => trusteeOf(name, person));
  const set = unwrap(
    makeTrusteeSet({
      clusterId: CLUSTER,
      epoch: unwrap(parseEpoch(epoch)),
      threshold: THRESHOLD,
      trustees,
    }),
  );
  const made = {
    set,
    byName: new Map(members),
    nameOf: new Map(trustees.map((t) => [t.peerId, t.nodeId])),
  };
  epochs.set(epoch, made);
  return made;
}

function trusteeOf(name: string, { signer, peerId }: Person): Trustee {
  const { publicKey } = signer;
  const evmAddress = unwrap(parseEvmAddress(`0x${bytesToHex(hash(publicKey)).slice(0, 40)}`));
  return { nodeId: unwrap(parseNodeId(name)), peerId, publicKey, evmAddress };
}

/** Four bytes that name a key in an input that is written down. */
export function whoBytes({ kind, epoch, index }: Who): readonly number[] {
  return [KINDS.indexOf(kind), epoch >> 8, epoch & 255, index];
}

export function whoFrom(bytes: Uint8Array): Who {
  const [kind = 0, high = 0, low = 0, index = 0] = bytes;
  return { kind: KINDS[kind % KINDS.length] ?? "outsider", epoch: high * 256 + low, index };
}

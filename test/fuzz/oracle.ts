import {
  type Evidence,
  envelopeSigningBytes,
  type PeerId,
  peerIdBytesOf,
  type VoteJson,
} from "@quorate/core";
import type { BanEntry, Change, GossipMessage, GossipVerdict } from "@quorate/ports";
import { honestValue, ownerOf, type Person, THRESHOLD } from "./people.ts";
import {
  hasSigned,
  namedBy,
  type RawVote,
  readVote,
  rootByPath,
  signedBytes,
  truthOf,
} from "./reference.ts";

/** A law that does not hold; what is thrown, so that the input at hand is the one that is reported. */
export class Broken extends Error {
  readonly law: string;

  constructor(law: string, detail: string) {
    super(`${law}: ${detail}`);
    this.law = law;
  }
}

export function must(condition: boolean, law: string, detail: string): void {
  if (!condition) throw new Broken(law, detail);
}

const VERDICTS: readonly unknown[] = ["ACCEPT", "IGNORE", "REJECT"];
const bytesOf = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, "base64"));

/** The fuzzer's own idea of who did what, held against all that the node does. Knows the keys, believes nothing else. */
export class Oracle {
  /** The newest epoch that there is. */
  epochsMade = 1;
  refusals = 0;
  receipts = 0;
  /** Refused messages by reason, as the receipts say. */
  readonly reasons = new Map<string, number>();
  /** Bans by reason. */
  readonly bans = new Map<string, number>();
  readonly #banned = new Set<PeerId>();

  get banned(): ReadonlySet<PeerId> {
    return this.#banned;
  }

  verdict(verdict: GossipVerdict, { author, data }: GossipMessage): void {
    must(VERDICTS.includes(verdict), "a verdict is one of three", String(verdict));
    if (verdict !== "ACCEPT") return;
    const truth = truthOf(data, this.epochsMade);
    must(truth.kind === "genuine", "only genuine votes are let in", `the frame is ${truth.kind}`);
    must(!this.#banned.has(author), "a banned author is not heard", author);
    must(ownerOf(author)?.kind !== "outsider", "an outsider is not heard", author);
  }

  /** A message that came through the router. */
  envelope({ author, envelope }: GossipMessage): void {
    const owner = ownerOf(author);
    const genuine = owner !== null && sealed(owner, envelope);
    must(genuine, "who a message is said to be by has signed it", author);
  }

  /** A stored vote that core calls verified. */
  proof(proof: {
    readonly leaf: Uint8Array;
    readonly index: number;
    readonly size: number;
    readonly path: readonly Uint8Array[];
    readonly signature: Uint8Array;
  }): void {
    must(
      this.#signer(proof)?.by !== undefined,
      "a verified vote was signed by its trustee",
      `place ${proof.index} of ${proof.size}`,
    );
  }

  change(change: Change): void {
    if (change.kind === "receipts")
      for (const { count, reason } of change.receipts) {
        this.receipts += count;
        this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + count);
      }
    else if (change.kind === "vote") this.#vote(change);
    else if (change.kind === "ban") {
      must(change.ban !== null, "a ban stands", `that of ${change.peerId} was taken back`);
      if (change.ban !== null) this.#ban(change.ban);
    } else if (change.kind === "violation") this.#blame(change.violation);
    else must(change.kind !== "unreadable", "all that is stored is readable", change.kind);
  }

  #vote({ txId, vote, peerId }: Extract<Change, { kind: "vote" }>): void {
    const law = "a recorded vote was signed by its trustee";
    const signer = this.#signer(vote.proof);
    must(signer !== null, law, `one in the name of ${vote.vote.nodeId} was not`);
    if (signer === null) return;
    must(signer.by.peerId === peerId, law, `it is by ${signer.by.peerId}, not ${peerId}`);
    must(signer.vote.txId === txId, law, `it was for ${signer.vote.txId}, not ${txId}`);
    const same =
      signer.vote.value === vote.vote.value &&
      signer.vote.nodeId === vote.vote.nodeId &&
      signer.vote.epoch === BigInt(vote.vote.epoch);
    must(same, law, "what was recorded is not what was signed");
  }

  #ban(ban: BanEntry): void {
    this.#banned.add(ban.peerId);
    this.bans.set(ban.reason, (this.bans.get(ban.reason) ?? 0) + 1);
    this.#blame({ ...ban, type: ban.reason });
  }

  /** Whoever is blamed must have done it, by the evidence and by what the fuzzer knows. */
  #blame(blamed: {
    readonly peerId: PeerId;
    readonly nodeId: string | null;
    readonly type: string;
    readonly evidence: Evidence;
  }): void {
    const { peerId, type, evidence } = blamed;
    const owner = ownerOf(peerId);
    const who = `${owner?.kind ?? "nobody's key"} ${blamed.nodeId ?? ""} for ${type}`;
    must(owner !== null && owner.kind !== "outsider", "only trustees are blamed", who);
    must(owner?.kind !== "honest", "no honest trustee is blamed", who);
    if (owner === null) return;
    const borne = evidence.type === type && this.#isBorneOut(evidence, owner);
    must(borne, "whoever is blamed has done it", who);
  }

  #isBorneOut(evidence: Evidence, owner: Person): boolean {
    if (evidence.type === "INVALID_SIGNATURE") {
      const { from, data, seqno, signature, topic } = evidence.envelope;
      const envelope = {
        from: bytesOf(from),
        data: bytesOf(data),
        sequenceNumber: bytesOf(seqno),
        topic,
        signature: bytesOf(signature),
      };
      return sealed(owner, envelope) && truthOf(envelope.data, this.epochsMade).kind === "forged";
    }
    if (evidence.type === "DOUBLE_VOTING") {
      const [one, other] = [this.#said(evidence.first), this.#said(evidence.second)];
      const both = one?.by === owner && other?.by === owner;
      return both && one.vote.txId === other.vote.txId && one.vote.value !== other.vote.value;
    }
    if (evidence.type !== "MINORITY_VOTE") return false;
    const dissent = this.#said(evidence.vote);
    const majority = evidence.majority.map((vote) => this.#said(vote)).filter((v) => v !== null);
    const voters = new Set(majority.map(({ by }) => by));
    return (
      dissent?.by === owner &&
      voters.size >= THRESHOLD &&
      majority.every(
        ({ vote }) =>
          vote.txId === dissent.vote.txId &&
          vote.value === majority[0]?.vote.value &&
          vote.value !== dissent.vote.value,
      )
    );
  }

  #said(json: VoteJson): { readonly by: Person; readonly vote: RawVote } | null {
    const joined = bytesOf(json.path);
    const path = Array.from({ length: joined.length / 32 }, (_, i) =>
      joined.subarray(32 * i, 32 * i + 32),
    );
    const { index, size } = json;
    return this.#signer({
      leaf: bytesOf(json.leaf),
      index,
      size,
      path,
      signature: bytesOf(json.signature),
    });
  }

  /** Who signed a vote; null when nobody did. */
  #signer(proof: {
    readonly leaf: Uint8Array;
    readonly index: number;
    readonly size: number;
    readonly path: readonly Uint8Array[];
    readonly signature: Uint8Array;
  }): { readonly by: Person; readonly vote: RawVote } | null {
    const vote = readVote(proof.leaf);
    const by = vote === null ? null : namedBy(vote, this.epochsMade);
    const root = rootByPath(proof.leaf, proof.index, proof.size, proof.path);
    if (vote === null || by === null || root === null) return null;
    if (!hasSigned(by, signedBytes(proof.size, root), proof.signature)) return null;
    // The fuzzer signs with an honest key only what an honest trustee says.
    const honest = by.kind !== "honest" || vote.value === honestValue(vote.txId);
    must(honest, "an honest trustee says one thing", `${vote.nodeId} on ${vote.txId}`);
    return { by, vote };
  }
}

function sealed(owner: Person, envelope: GossipMessage["envelope"]): boolean {
  const from = peerIdBytesOf(owner.signer.publicKey);
  if (!Buffer.from(from).equals(envelope.from)) return false;
  return hasSigned(owner, envelopeSigningBytes(envelope), envelope.signature);
}

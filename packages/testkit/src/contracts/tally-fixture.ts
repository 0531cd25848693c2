import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import {
  type ClusterId,
  DEFAULT_PROTOCOL_CONFIG,
  type DecideInput,
  decide,
  type Epoch,
  hash,
  isoTime,
  makeTrusteeSet,
  type NodeId,
  openFrame,
  type ProtocolConfig,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parseValue,
  peerIdOf,
  type Receipt,
  refusedMessageHash,
  signFrame,
  signReceipt,
  type Trustee,
  type TrusteeSet,
  type TxId,
  type TxWrites,
  unwrap,
  utf8,
  type Value,
  type VerifiedVote,
  type Verify,
  verifyFrame,
  verifyVote,
} from "@quorate/core";
import type {
  ChangeSet,
  CommitOutcome,
  Election,
  StandaloneViolation,
  TallyMaintenance,
  TallyStore,
} from "@quorate/ports";
import { txIdOf } from "../builders.ts";
import { nodeEd25519 } from "../node-ed25519.ts";

/** One store, empty at first, as one test sees it. */
export interface TallyWorld {
  readonly clusterId: ClusterId;
  /** Another client of the same store, started. */
  client(): Promise<TallyStore & Election & TallyMaintenance>;
  /** Ends a client as a crash would: its leases are not revoked, they run out. */
  crash(client: TallyStore & Election & TallyMaintenance): Promise<void>;
  /** Lets time pass for leases; a real store's clock needs no help. */
  pass(ms: number): Promise<void>;
  /** Makes the client's next commit take effect and lose its reply. */
  loseNextReply(client: TallyStore & Election & TallyMaintenance): Promise<void>;
  /** Stops the servers and starts them again on the same data. */
  restart(): Promise<void>;
  /** Moves the epoch on. */
  moveEpoch(set: TrusteeSet): Promise<void>;
  /** Makes history before this revision unavailable. */
  compact(revision: bigint): Promise<void>;
  /** Writes a key under the cluster that nobody can read. */
  writeUnreadable(): Promise<void>;
  close(): Promise<void>;
}

export const SEVEN: Value = unwrap(parseValue(7n));
export const EIGHT: Value = unwrap(parseValue(8n));
export const NINE: Value = unwrap(parseValue(9n));
export const NOW_MS: number = Date.UTC(2026, 0, 1);
const DEADLINE_MS = 20_000;
const VOTES_PER_FRAME = 16;
// PKCS#8 of an Ed25519 seed, up to the seed itself (RFC 8410).
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

const testVerify: Verify = (key, message, signature) => nodeEd25519.verify(key, message, signature);

export interface Member {
  readonly trustee: Trustee;
  readonly key: KeyObject;
}

/** Deterministic trustees with real keys, and votes that really verify. */
export class TallyFixture {
  readonly clusterId: ClusterId;
  readonly members: readonly Member[];
  readonly #publicKeys = new Map<string, KeyObject>();

  constructor(clusterId: ClusterId, size: number) {
    this.clusterId = clusterId;
    this.members = Array.from({ length: size }, (_, index) => {
      const seed = hash(utf8(`tally fixture ${index}`));
      const der = Buffer.concat([PKCS8_PREFIX, seed]);
      const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
      const spki = createPublicKey(key).export({ format: "der", type: "spki" });
      const publicKey = Uint8Array.from(spki.subarray(-32));
      const trustee: Trustee = {
        nodeId: unwrap(parseNodeId(`node-${String(index).padStart(3, "0")}`)),
        peerId: peerIdOf(publicKey),
        publicKey,
        evmAddress: unwrap(parseEvmAddress(`0x${String(index).padStart(40, "0")}`)),
      };
      this.#publicKeys.set(Buffer.from(publicKey).toString("hex"), createPublicKey(key));
      return { trustee, key };
    });
  }

  set(threshold: number, epoch: number = 1): TrusteeSet {
    return unwrap(
      makeTrusteeSet({
        clusterId: this.clusterId,
        epoch: unwrap(parseEpoch(epoch)),
        threshold,
        trustees: this.members.map(({ trustee }) => trustee),
      }),
    );
  }

  /** Some of the trustees, by index. */
  setOf(indices: readonly number[], threshold: number, epoch: number): TrusteeSet {
    return unwrap(
      makeTrusteeSet({
        clusterId: this.clusterId,
        epoch: unwrap(parseEpoch(epoch)),
        threshold,
        trustees: indices.map((index) => this.#member(index).trustee),
      }),
    );
  }

  /** A receipt that really verifies. @param index which trustee refused */
  receipt(index: number, sequence: number, issuedAtMs: number = NOW_MS): Receipt {
    const { trustee, key } = this.#member(index);
    return signReceipt(
      {
        clusterId: this.clusterId,
        nodeId: trustee.nodeId,
        peerId: trustee.peerId,
        sequence,
        runStartedAtMs: NOW_MS - 60_000,
        issuedAtMs,
        reason: "malformed",
        count: 1,
        firstAtMs: issuedAtMs,
        lastAtMs: issuedAtMs,
        messageHash: refusedMessageHash(utf8(`message ${index} ${sequence}`)),
        txId: null,
        voter: null,
        author: trustee.peerId,
        forwarder: null,
      },
      (message) => Uint8Array.from(sign(null, message, key)),
    );
  }

  #member(index: number): Member {
    const member = this.members[index];
    if (member === undefined) throw new Error(`there is no trustee ${index}`);
    return member;
  }

  /** @param index which trustee votes */
  vote(
    index: number,
    txId: TxId,
    value: Value,
    epoch: Epoch = unwrap(parseEpoch(1)),
  ): VerifiedVote {
    const member = this.#member(index);
    const { nodeId } = member.trustee;
    const vote = { clusterId: this.clusterId, epoch, txId, value, nodeId, issuedAtMs: NOW_MS };
    const frame = signFrame([vote], (message) => Uint8Array.from(sign(null, message, member.key)));
    const signed = unwrap(openFrame(frame)).votes[0];
    if (signed === undefined) throw new Error("a frame of one vote holds one vote");
    return unwrap(verifyVote(signed, this.set(1, epoch), this.verify));
  }

  /** Every trustee's vote for `value` on each transaction, many under one signature. */
  votesOn(txIds: readonly TxId[], value: Value): ReadonlyMap<TxId, readonly VerifiedVote[]> {
    const byTx = new Map<TxId, VerifiedVote[]>(txIds.map((txId) => [txId, []]));
    const epoch = unwrap(parseEpoch(1));
    const { clusterId } = this;
    for (const { key, trustee } of this.members) {
      const { nodeId } = trustee;
      for (let at = 0; at < txIds.length; at += VOTES_PER_FRAME) {
        const votes = txIds
          .slice(at, at + VOTES_PER_FRAME)
          .map((txId) => ({ clusterId, epoch, txId, value, nodeId, issuedAtMs: NOW_MS }));
        const frame = signFrame(votes, (message) => Uint8Array.from(sign(null, message, key)));
        for (const vote of unwrap(verifyFrame(frame, this.set(1), this.verify)))
          byTx.get(vote.vote.txId)?.push(vote);
      }
    }
    return byTx;
  }

  readonly verify = (
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ): boolean => {
    const key = this.#publicKeys.get(Buffer.from(publicKey).toString("hex"));
    return key !== undefined && verify(null, message, key, signature);
  };
}

/**
 * Reads, decides and commits until the votes are in, as the pipeline does.
 * @returns the writes that were committed; null when there was nothing to do.
 */
export async function castVotes(
  store: TallyStore,
  set: TrusteeSet,
  epochVersion: bigint,
  input: { readonly txId: TxId } & Pick<DecideInput, "votes"> & Partial<DecideInput>,
  config: ProtocolConfig = DEFAULT_PROTOCOL_CONFIG,
): Promise<TxWrites | null> {
  const { txId, votes, nowMs = NOW_MS, deadlinePassed = false } = input;
  let versioned = await store.read(txId);
  const bans = new Map([...(await store.readBans()).bans].map(([p, ban]) => [p, ban.grade]));
  for (let tries = 0; tries < 100; tries++) {
    const silenceStreaks = await store.readSilenceStreaks();
    const context = { set, config, bans, silenceStreaks, verify: testVerify };
    const { writes } = decide(versioned.snapshot, { votes, nowMs, deadlinePassed }, context);
    if (writes === null) return null;
    const [outcome] = await store.commit([{ version: versioned.version, writes }], epochVersion);
    if (outcome?.kind === "committed") return writes;
    if (outcome === undefined) throw new Error("one commit has one outcome");
    versioned = outcome.fresh;
    for (const [peer, grade] of outcome.bans) bans.set(peer, grade);
  }
  throw new Error("no commit went through in 100 tries");
}

/** Collects a watch, and waits for what should come. */
export class Watched {
  readonly sets: ChangeSet[] = [];
  readonly end: Promise<void>;
  readonly #abort = new AbortController();
  #wake: () => void = () => {};

  constructor(store: TallyStore, after: bigint) {
    this.end = store.watch(
      after,
      (set) => {
        this.sets.push(set);
        this.#wake();
      },
      { signal: this.#abort.signal },
    );
    this.end.catch(() => this.#wake());
  }

  get changes(): readonly ChangeSet["changes"][number][] {
    return this.sets.flatMap((set) => set.changes);
  }

  async until(condition: (watched: Watched) => boolean, what: string): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, DEADLINE_MS);
    while (!condition(this)) {
      if (late) throw new Error(`the watch did not show ${what} in time`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(timer);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.end;
  }
}

/** Resolves when called as often as asked. */
export function countdown(): { readonly done: Promise<void>; reached(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { done: promise, reached: resolve };
}

export function conflictOf(
  outcome: CommitOutcome | undefined,
): Extract<CommitOutcome, { kind: "conflict" }> {
  if (outcome?.kind !== "conflict") throw new Error(`expected a conflict, got ${outcome?.kind}`);
  return outcome;
}

export const sortedRevisions = (sets: readonly ChangeSet[]): boolean =>
  sets.every((set, i) => i === 0 || set.revision > (sets[i - 1]?.revision ?? 0n));

/** A forged vote caught by its envelope; the content does not matter to a store. */
export function forgery(fixture: TallyFixture, set: TrusteeSet): StandaloneViolation {
  const trustee = set.trustees[2] ?? fail();
  const evidence = {
    type: "INVALID_SIGNATURE",
    envelope: { from: "AA==", data: "AA==", seqno: "AA==", topic: "votes", signature: "AA==" },
  } as const;
  const common = { peerId: trustee.peerId, grade: "PROOF", evidence } as const;
  const nodeId: NodeId | null = fixture.members.length > 0 ? trustee.nodeId : null;
  return {
    violation: {
      ...common,
      txId: txIdOf("tx-forged"),
      nodeId,
      type: "INVALID_SIGNATURE",
      detectedAtMs: Date.parse(isoTime(NOW_MS)),
    },
    ban: { ...common, nodeId, reason: "INVALID_SIGNATURE", bannedAtMs: NOW_MS },
  };
}

export function fail(): never {
  throw new Error("the fixture lacks what the test needs");
}

export const testClusterId = (name: string): ClusterId => unwrap(parseClusterId(name));

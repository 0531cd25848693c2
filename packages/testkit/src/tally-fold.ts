import {
  assert,
  type Ban,
  DEFAULT_PROTOCOL_CONFIG,
  type DecideInput,
  type Decision,
  decide,
  type EvidenceGrade,
  emptySnapshot,
  type FinalDecision,
  type NodeId,
  type PeerId,
  type ProtocolConfig,
  type TrusteeSet,
  type TxId,
  type TxSnapshot,
  type TxWrites,
  type Value,
  type Verify,
  type Violation,
} from "@quorate/core";
import { nodeEd25519 } from "./node-ed25519.ts";

/** The snapshot that a commit of `writes` leaves behind. Pure. */
export function applyWrites(snapshot: TxSnapshot, writes: TxWrites): TxSnapshot {
  assert(writes.txId === snapshot.txId, "a commit belongs to its own transaction");
  const votes = new Map(snapshot.votes);
  for (const { vote, proof } of writes.newVotes) {
    assert(!votes.has(vote.nodeId), "vote keys are written once");
    votes.set(vote.nodeId, { vote, proof });
  }
  const violations = new Map(
    [...snapshot.violations].map(([node, types]) => [node, new Set(types)]),
  );
  for (const { nodeId, type } of writes.violations)
    violations.set(nodeId, (violations.get(nodeId) ?? new Set()).add(type));
  return {
    txId: snapshot.txId,
    status: writes.status,
    record: writes.record ?? snapshot.record,
    votes,
    violations,
    decision: snapshot.decision ?? writes.decision,
  };
}

/**
 * A cluster's tally as a plain fold over commits, one after the other: no store,
 * no race. Keeps what a store would keep besides the snapshots.
 */
export class TallyFold {
  readonly set: TrusteeSet;
  readonly config: ProtocolConfig;
  readonly bans = new Map<PeerId, Ban>();
  readonly silenceStreaks = new Map<NodeId, number>();
  readonly counts = new Map<string, number>();
  readonly decisions = new Map<TxId, FinalDecision>();
  readonly violations: Violation[] = [];
  readonly #snapshots = new Map<TxId, TxSnapshot>();
  readonly #verify: Verify;

  constructor(
    set: TrusteeSet,
    config: Partial<ProtocolConfig> = {},
    verify: Verify = (key, message, signature) => nodeEd25519.verify(key, message, signature),
  ) {
    this.set = set;
    this.config = { ...DEFAULT_PROTOCOL_CONFIG, ...config };
    this.#verify = verify;
  }

  snapshot(txId: TxId): TxSnapshot {
    return this.#snapshots.get(txId) ?? emptySnapshot(txId);
  }

  count(txId: TxId, value: Value): number {
    return this.counts.get(`${txId}/${value}`) ?? 0;
  }

  banGrades(): ReadonlyMap<PeerId, EvidenceGrade> {
    return new Map([...this.bans].map(([peerId, ban]) => [peerId, ban.grade]));
  }

  /** Decides on the current snapshot and commits what follows. */
  commit(txId: TxId, input: Partial<DecideInput>): Decision {
    const decision = decide(
      this.snapshot(txId),
      { votes: [], nowMs: 0, deadlinePassed: false, ...input },
      {
        set: this.set,
        config: this.config,
        bans: this.banGrades(),
        silenceStreaks: this.silenceStreaks,
        verify: this.#verify,
      },
    );
    if (decision.writes !== null) this.apply(decision.writes);
    return decision;
  }

  /** Commits writes as they are: a claim, or a confirmation. */
  apply(writes: TxWrites): void {
    const { txId } = writes;
    this.#snapshots.set(txId, applyWrites(this.snapshot(txId), writes));
    for (const [value, count] of writes.counts) this.counts.set(`${txId}/${value}`, count);
    if (writes.decision !== null) {
      assert(!this.decisions.has(txId), "a final decision is written once");
      this.decisions.set(txId, writes.decision);
    }
    this.violations.push(...writes.violations);
    for (const ban of writes.bans) this.bans.set(ban.peerId, ban);
    for (const [nodeId, { before, after }] of writes.silenceStreaks) {
      assert(
        (this.silenceStreaks.get(nodeId) ?? 0) === before,
        "a streak goes on from where it is",
      );
      this.silenceStreaks.set(nodeId, after);
    }
  }

  /** Puts a snapshot in place, as somebody with write access to the store could. */
  forge(snapshot: TxSnapshot): void {
    this.#snapshots.set(snapshot.txId, snapshot);
  }
}

import type { Change, ChangeSet } from "@quorate/ports";
import { whyUnproven } from "./evidence-reader.ts";
import type { Accuse, Roll } from "./law.ts";
import { isSignedBy, readLeaf } from "./wire-reader.ts";

/** One transaction as the change stream told it so far. */
export interface TxFold {
  readonly votes: Map<string, bigint>;
  readonly counts: Map<bigint, number>;
  status: string | null;
  decision: { readonly kind: "SUBMIT"; readonly value: bigint } | { readonly kind: "ABORT" } | null;
  /** Somebody with access to etcd wrote into it. */
  isTampered: boolean;
  isArchived: boolean;
  /** Under which it opened. */
  epoch: number;
}

interface BanFold {
  readonly grade: string;
  readonly reason: string;
  /** Made up by the intruder. */
  readonly isForged: boolean;
}

const MOVES: Readonly<Record<string, readonly string[]>> = {
  "": ["COLLECTING", "THRESHOLD_REACHED", "ABORTED_BYZANTINE"],
  COLLECTING: ["COLLECTING", "THRESHOLD_REACHED", "ABORTED_BYZANTINE"],
  THRESHOLD_REACHED: ["THRESHOLD_REACHED", "COLLECTING", "SUBMITTED", "ABORTED_BYZANTINE"],
  SUBMITTED: ["SUBMITTED", "CONFIRMED"],
  CONFIRMED: ["CONFIRMED"],
  ABORTED_BYZANTINE: ["ABORTED_BYZANTINE"],
};

/** Holds each revision of etcd against the laws, in the moment in which it comes to be. */
export class TallyLaw {
  readonly transactions = new Map<string, TxFold>();
  readonly bans = new Map<string, BanFold>();
  /** By transaction, peer and type. */
  readonly violations = new Map<string, { readonly type: string; readonly peerId: string }>();
  readonly #roll: Roll;
  readonly #accuse: Accuse;

  constructor(roll: Roll, accuse: Accuse) {
    this.#roll = roll;
    this.#accuse = accuse;
  }

  fold(txId: string): TxFold {
    const known = this.transactions.get(txId);
    if (known !== undefined) return known;
    const made: TxFold = {
      votes: new Map(),
      counts: new Map(),
      status: null,
      decision: null,
      isTampered: false,
      isArchived: false,
      epoch: 1,
    };
    this.transactions.set(txId, made);
    return made;
  }

  /** @param isForged the intruder wrote it, and not a process of the cluster */
  published({ revision, changes }: ChangeSet, isForged: boolean): void {
    const touched = new Set<string>();
    const bannedBefore = new Set(this.bans.keys());
    for (const change of changes) if (change.kind === "record") this.#record(change);
    for (const change of changes)
      if (change.kind === "vote") {
        touched.add(change.txId);
        this.#vote(change, bannedBefore);
      }
    for (const change of changes) {
      if (change.kind === "count") {
        touched.add(change.txId);
        this.fold(change.txId).counts.set(change.value, change.count);
      } else if (change.kind === "violation") this.#violation(change);
      else if (change.kind === "ban") this.#ban(change, changes, isForged);
    }
    for (const change of changes) if (change.kind === "decision") this.#decision(change);
    for (const change of changes)
      if (change.kind === "status") {
        touched.add(change.txId);
        this.#status(change, isForged);
      }
    for (const change of changes)
      if (change.kind === "archived") this.fold(change.txId).isArchived = true;
    for (const txId of touched) this.#counts(txId, revision);
  }

  #record({ txId, record }: Extract<Change, { kind: "record" }>): void {
    const tx = this.fold(txId);
    if (tx.status !== null && tx.epoch !== record.epoch && !tx.isTampered)
      this.#accuse("the state machine", `${txId} moved from epoch ${tx.epoch} to ${record.epoch}`);
    tx.epoch = record.epoch;
  }

  #thresholdOf({ epoch }: TxFold): number {
    return this.#roll.epochs.get(epoch)?.threshold ?? Number.POSITIVE_INFINITY;
  }

  #vote(
    { txId, vote, peerId }: Extract<Change, { kind: "vote" }>,
    bannedBefore: ReadonlySet<string>,
  ): void {
    const tx = this.fold(txId);
    const read = readLeaf(vote.proof.leaf);
    const member = this.#roll.members.find((m) => m.nodeId === read?.nodeId);
    const isGenuine =
      read !== null &&
      member !== undefined &&
      member.peerId === peerId &&
      read.txId === txId &&
      read.clusterId === this.#roll.clusterId &&
      read.nodeId === vote.vote.nodeId &&
      read.value === vote.vote.value &&
      Number(read.epoch) === tx.epoch &&
      this.#roll.epochs.get(tx.epoch)?.nodeIds.has(read.nodeId) === true &&
      isSignedBy(member.publicKey, vote.proof);
    if (!isGenuine) return this.#accuse("votes are genuine", `${txId} got a vote that is none`);
    if (tx.votes.has(read.nodeId))
      this.#accuse("I8 no accepted vote is lost", `${txId}: ${read.nodeId}'s vote was overwritten`);
    if (bannedBefore.has(peerId))
      this.#accuse("the state machine", `${txId} took a vote of ${read.nodeId}, who was banned`);
    tx.votes.set(read.nodeId, read.value);
  }

  #counts(txId: string, revision: bigint): void {
    const { votes, counts, isTampered } = this.fold(txId);
    if (isTampered) return;
    const own = new Map<bigint, number>();
    for (const value of votes.values()) own.set(value, (own.get(value) ?? 0) + 1);
    for (const value of new Set([...own.keys(), ...counts.keys()]))
      if (own.get(value) !== counts.get(value))
        this.#accuse(
          "I7 counts are votes",
          `${txId} at ${revision}: value ${value} has ${own.get(value) ?? 0} votes and counts ${counts.get(value) ?? 0}`,
        );
  }

  #decision({ txId, decision }: Extract<Change, { kind: "decision" }>): void {
    const tx = this.fold(txId);
    if (tx.decision !== null)
      return this.#accuse(
        "I3 no submission after an abort",
        `${txId} was decided ${tx.decision.kind} and then ${decision.kind}`,
      );
    if (decision.kind === "ABORT") {
      tx.decision = { kind: "ABORT" };
      if (tx.status === "SUBMITTED" || tx.status === "CONFIRMED")
        this.#accuse("I3 no submission after an abort", `${txId} is aborted after its submission`);
      return;
    }
    tx.decision = { kind: "SUBMIT", value: decision.value };
    const agreeing = [...tx.votes.values()].filter((value) => value === decision.value).length;
    if (agreeing < this.#thresholdOf(tx))
      this.#accuse(
        "I2 no effect without votes",
        `${txId} is claimed with ${agreeing} votes of ${this.#thresholdOf(tx)}`,
      );
    for (const [nodeId, value] of tx.votes) {
      if (value === decision.value) continue;
      const peerId = this.#roll.members.find((m) => m.nodeId === nodeId)?.peerId ?? "";
      if (this.#roll.strictAbort)
        this.#accuse("dissent is not forgotten", `${txId} is claimed against ${nodeId}'s vote`);
      else if (!this.bans.has(peerId))
        this.#accuse("dissent is not forgotten", `${txId} is claimed and ${nodeId} is not banned`);
    }
  }

  #status({ txId, status }: Extract<Change, { kind: "status" }>, isForged: boolean): void {
    const tx = this.fold(txId);
    if (isForged) {
      tx.isTampered = true;
      tx.status = status;
      return;
    }
    // Purged: the decision stands.
    if (status === null) return;
    if (!(MOVES[tx.status ?? ""] ?? []).includes(status) && !tx.isTampered)
      this.#accuse("the state machine", `${txId} went from ${tx.status ?? "nothing"} to ${status}`);
    tx.status = status;
    const isSubmit = status === "SUBMITTED" || status === "CONFIRMED";
    if (isSubmit && tx.decision?.kind !== "SUBMIT")
      this.#accuse("the state machine", `${txId} is ${status} without a decision to submit`);
    if (status === "ABORTED_BYZANTINE" && tx.decision?.kind !== "ABORT")
      this.#accuse("the state machine", `${txId} is aborted without a decision to abort`);
    if (status !== "THRESHOLD_REACHED") return;
    const most = Math.max(0, ...tx.counts.values());
    if (most < this.#thresholdOf(tx))
      this.#accuse("I2 no effect without votes", `${txId} has its threshold with ${most} votes`);
  }

  #violation({ violation }: Extract<Change, { kind: "violation" }>): void {
    const { txId, peerId, type, grade, evidence } = violation;
    const why = whyUnproven(this.#roll, peerId, evidence);
    const is = `${this.#nameOf(peerId)}'s ${type} in ${txId}`;
    if (why !== null) this.#accuse("I5 no ban without evidence", `${is}: ${why}`);
    const isProof = type === "DOUBLE_VOTING" || type === "INVALID_SIGNATURE";
    if ((grade === "PROOF") !== isProof)
      this.#accuse("I5 no ban without evidence", `${is} is of grade ${grade}`);
    if (isProof && this.#isHonest(peerId))
      this.#accuse("I6 honest trustees are never proven guilty", is);
    this.violations.set(`${txId}/${peerId}/${type}`, { type, peerId });
  }

  #ban(
    { peerId, ban }: Extract<Change, { kind: "ban" }>,
    changes: readonly Change[],
    isForged: boolean,
  ): void {
    if (ban === null) {
      const before = this.bans.get(peerId);
      this.bans.delete(peerId);
      // A proof that the product itself found has no way back.
      if (before?.grade === "PROOF" && !before.isForged)
        this.#accuse("I4 conflicts end in a proof", `${this.#nameOf(peerId)}'s proven ban ended`);
      return;
    }
    const { grade, reason, evidence } = ban;
    const before = this.bans.get(peerId);
    if (before?.grade === "PROOF" && grade === "OPINION" && !before.isForged)
      this.#accuse("I4 conflicts end in a proof", `${this.#nameOf(peerId)}'s proof was replaced`);
    this.bans.set(peerId, { grade, reason, isForged });
    if (isForged) return;
    const is = `${this.#nameOf(peerId)} is banned for ${reason}`;
    const why = whyUnproven(this.#roll, peerId, evidence);
    if (why !== null) this.#accuse("I5 no ban without evidence", `${is}: ${why}`);
    if (grade === "PROOF" && this.#isHonest(peerId))
      this.#accuse("I6 honest trustees are never proven guilty", is);
    if (grade === "PROOF" && !["DOUBLE_VOTING", "INVALID_SIGNATURE"].includes(reason))
      this.#accuse("I5 no ban without evidence", `${is} with grade PROOF`);
    const named = changes.some(
      (change) =>
        change.kind === "violation" &&
        change.violation.peerId === peerId &&
        change.violation.type === reason,
    );
    if (!named && reason !== "LOW_REPUTATION")
      this.#accuse("I5 no ban without evidence", `${is}, and no violation is recorded with it`);
  }

  #isHonest(peerId: string): boolean {
    return this.#roll.members.find((m) => m.peerId === peerId)?.isHonest ?? false;
  }

  #nameOf(peerId: string): string {
    return this.#roll.members.find((m) => m.peerId === peerId)?.nodeId ?? peerId;
  }
}

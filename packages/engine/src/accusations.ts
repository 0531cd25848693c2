import {
  doubleVotingEvidence,
  LIMITS,
  type PeerId,
  type SignedVote,
  type TrusteeSets,
  type VerifiedVote,
  type Verify,
  verifyVote,
  voteFromJson,
  voteToJson,
} from "@quorate/core";
import {
  type AccusationJournal,
  type BanEntry,
  type Clock,
  type FaultPoint,
  type Logger,
  noFault,
  type StandaloneViolation,
  StoreError,
  type TallyStore,
} from "@quorate/ports";
import { LRUCache } from "lru-cache";
import type { NodeMetrics } from "./catalogue.ts";
import type { TallyView } from "./tally-view.ts";
import type { RecordOutcome } from "./vote-pipeline-options.ts";

export interface AccusationDependencies {
  readonly store: Pick<TallyStore, "recordViolation">;
  readonly journal: AccusationJournal;
  readonly view: TallyView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  readonly sets: () => TrusteeSets;
  readonly verify: Verify;
  /** Has a vote decided on in its transaction. */
  readonly record: (vote: VerifiedVote) => Promise<RecordOutcome>;
  /** Called for a ban that was recorded here outside any transaction's commit. */
  readonly onBan: (ban: BanEntry, committedAtMs: number) => void;
  readonly fault?: FaultPoint | undefined;
}

/**
 * Accusations under way at once against one peer: the first that is recorded bans it for ever, and each costs a sync
 * of the disk. Further double votes are decided in their transactions all the same.
 */
const UNDER_WAY_MAX = 4;

/**
 * Sees every accusation through to the tally, over crashes: it is on this node's disk
 * before anything else is done about it, and leaves the disk when the tally has it.
 *
 * Two differing votes by one key are decided in their transaction when they can be, so that the
 * ban comes with the abort in one commit. What the transaction refuses (a banned voter's votes, votes of
 * another epoch) is held against the voter all the same (I4), as a violation by itself.
 */
export class Accusations {
  readonly #deps: AccusationDependencies;
  /** By offender; of the trustees there are few. */
  readonly #underWay = new Map<PeerId, Set<string>>();
  readonly #stopping = new AbortController();
  /** Something that the journal holds is not in the tally: then it is kept whole, for the next run. */
  #unsettled = false;
  /** Votes that the rules refused, by transaction and key: a second one that differs is a double vote. */
  readonly #refused = new LRUCache<string, VerifiedVote>({ max: LIMITS.refusedVotesMax });

  constructor(dependencies: AccusationDependencies) {
    this.#deps = dependencies;
  }

  /** Accusations that are not in the tally yet. */
  get underWay(): number {
    let count = 0;
    for (const keys of this.#underWay.values()) count += keys.size;
    return count;
  }

  /** Takes up what an earlier run left undone. Before the network port opens; must come before any other call. */
  async load(): Promise<void> {
    for (const accusation of await this.#deps.journal.load()) {
      if (accusation.kind === "violation") {
        this.badSignature(accusation.entry);
        continue;
      }
      const first = voteFromJson(accusation.first);
      const second = voteFromJson(accusation.second);
      const verified = second.ok ? this.#verified(second.value) : null;
      if (first.ok && verified !== null) this.conflict(first.value, verified);
      else {
        this.#unsettled = true;
        this.#deps.logger.error("an accusation in the journal can't be judged; it stays there", {});
      }
    }
  }

  /** A bad inner signature under a valid envelope (R2). One is enough of each author. */
  badSignature(entry: StandaloneViolation): void {
    this.#pursue(entry.ban.peerId, "a bad signature", { kind: "violation", entry }, () =>
      this.#recordViolation(entry),
    );
  }

  /** Two votes that may be a double vote. Does nothing when they are not, or when it is known already. */
  conflict(first: SignedVote, second: VerifiedVote): void {
    const { txId, nodeId } = second.vote;
    const { view } = this.#deps;
    if (view.violations(txId).get(nodeId)?.has("DOUBLE_VOTING") === true) return;
    const { peerId } = second;
    if (!this.#hasRoom(peerId, txId)) return;
    // What is stored may be forged, and a name may have had another key: then it accuses nobody.
    const genuine = this.#verified(first);
    if (genuine === null || genuine.peerId !== second.peerId) return;
    if (genuine.vote.txId !== txId || genuine.vote.value === second.vote.value) return;
    const accusation = {
      kind: "conflict",
      first: voteToJson(genuine, peerId),
      second: voteToJson(second, peerId),
    } as const;
    this.#pursue(peerId, txId, accusation, () => this.#decideConflict(genuine, second));
  }

  /** Remembers a vote that was refused, and holds it against what else this trustee has signed. */
  refused(vote: VerifiedVote): void {
    const { txId, value } = vote.vote;
    // It can't be banned more than it is.
    if (this.#deps.view.bans.get(vote.peerId) === "PROOF") return;
    const key = `${txId}/${vote.peerId}`;
    const earlier = this.#refused.get(key);
    if (earlier === undefined) this.#refused.set(key, vote);
    else if (earlier.vote.value !== value) this.conflict(earlier, vote);
    const recorded = this.#recordedBy(vote);
    if (recorded !== undefined && recorded.vote.value !== value) this.conflict(recorded, vote);
  }

  /** What the tally has by the same key, under whatever name: a trustee may be called otherwise in another epoch. */
  #recordedBy({ vote, peerId }: VerifiedVote): SignedVote | undefined {
    const sets = this.#deps.sets();
    return [...this.#deps.view.votes(vote.txId).values()].find(
      (other) => sets.get(other.vote.epoch)?.byNodeId.get(other.vote.nodeId)?.peerId === peerId,
    );
  }

  /** Holds a vote that is being taken against what was refused before. */
  taken(vote: VerifiedVote): void {
    if (this.#refused.size === 0) return;
    const earlier = this.#refused.get(`${vote.vote.txId}/${vote.peerId}`);
    if (earlier !== undefined && earlier.vote.value !== vote.vote.value)
      this.conflict(earlier, vote);
  }

  /** Waits for nothing: what is undone is in the journal. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the node stops"));
    await this.#deps.journal.close();
  }

  #verified(signed: SignedVote): VerifiedVote | null {
    const set = this.#deps.sets().get(signed.vote.epoch);
    const read = set === undefined ? null : verifyVote(signed, set, this.#deps.verify);
    return read?.ok === true ? read.value : null;
  }

  #hasRoom(offender: PeerId, about: string): boolean {
    const keys = this.#underWay.get(offender);
    return keys === undefined || (keys.size < UNDER_WAY_MAX && !keys.has(about));
  }

  #end(offender: PeerId, about: string): void {
    const keys = this.#underWay.get(offender);
    keys?.delete(about);
    if (keys?.size === 0) this.#underWay.delete(offender);
  }

  #pursue(
    offender: PeerId,
    about: string,
    accusation: Parameters<AccusationJournal["append"]>[0],
    work: () => Promise<void>,
  ): void {
    const { journal, logger, fault = noFault } = this.#deps;
    if (!this.#hasRoom(offender, about)) return;
    const keys = this.#underWay.get(offender) ?? new Set();
    this.#underWay.set(offender, keys.add(about));
    try {
      journal.append(accusation);
    } catch (error) {
      // Still worth pursuing: only a crash in the next moments would lose it.
      logger.error("the accusation journal can't be written", { error });
    }
    fault("accusation.journaled");
    // Later, for a vote that is just being taken must be in the queue first.
    void Promise.resolve()
      .then(work)
      .then(async () => {
        this.#end(offender, about);
        if (this.#underWay.size === 0 && !this.#unsettled) await journal.clear();
      })
      .catch((error: unknown) => {
        this.#unsettled = true;
        this.#end(offender, about);
        if (this.#stopping.signal.aborted) return;
        logger.error("an accusation is not recorded; it stays in the journal", { error });
      });
  }

  async #decideConflict(first: VerifiedVote, second: VerifiedVote): Promise<void> {
    const { record, view, clock } = this.#deps;
    const outcomes = await Promise.all([record(first), record(second)]);
    if (outcomes.some((o) => o.kind === "EQUIVOCATION")) return;
    if (outcomes.some((o) => o.kind === "REFUSED" && o.code === "STOPPED"))
      throw new Error("the node stops");
    const { txId, nodeId } = second.vote;
    if (view.violations(txId).get(nodeId)?.has("DOUBLE_VOTING") === true) return;
    const at = clock.nowMs();
    const evidence = doubleVotingEvidence(first, second);
    const who = { peerId: second.peerId, nodeId, grade: "PROOF", evidence } as const;
    await this.#recordViolation({
      violation: { ...who, txId, type: "DOUBLE_VOTING", detectedAtMs: at },
      ban: { ...who, reason: "DOUBLE_VOTING", bannedAtMs: at },
    });
  }

  /** Tries until the store has it: the offender may never do such a thing again. */
  async #recordViolation(entry: StandaloneViolation): Promise<void> {
    const { store, clock, logger, metrics, fault = noFault } = this.#deps;
    const { signal } = this.#stopping;
    for (let attempt = 0; ; attempt++)
      try {
        const fresh = await store.recordViolation(entry, { signal });
        fault("accusation.recorded");
        if (!fresh) return;
        break;
      } catch (error) {
        if (signal.aborted || !(error instanceof StoreError) || !error.retryable) throw error;
        logger.warn("violation is not recorded yet, it is tried again", { error });
        await clock.sleep(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)), { signal });
      }
    // The ban follows the record, here and on every other node.
    metrics.votesRejectedByzantine.inc({ type: entry.violation.type });
    this.#deps.onBan(entry.ban, clock.monotonicMs());
    logger.warn("violation recorded", { type: entry.violation.type, peer: entry.ban.peerId });
  }
}

import {
  type Epoch,
  encodeFrame,
  encodeVote,
  equalBytes,
  FRAME_OVERHEAD_BYTES,
  frameBytesOf,
  LIMITS,
  type NodeId,
  signFrame,
  type TrusteeSet,
  type TxId,
  type Value,
  type VerifiedVote,
  type Verify,
  type Vote,
  verifyFrame,
} from "@quorate/core";
import type { Clock, Gossip, Logger, VoteJournal, VoteSigner } from "@quorate/ports";
import type { NodeMetrics } from "./catalogue.ts";
import { MovingAverage } from "./moving-average.ts";
import type { TallyView } from "./tally-view.ts";
import type { RecordOutcome } from "./vote-pipeline-options.ts";
import type { VoteSpans } from "./vote-spans.ts";

export interface PublisherOptions {
  readonly nodeId: NodeId;
  /** How long a local vote waits for others to share its signature, in ms. */
  readonly windowMs: number;
  /**
   * Least time between two frames that are not full, in ms: under load votes share messages, which are
   * what gossip costs, and a vote that comes alone goes at once.
   */
  readonly intervalMs: number;
  /** Votes under one signature; 1 turns batching off. */
  readonly frameVotesMax: number;
}

export interface PublisherDependencies {
  /** The set in force. */
  readonly set: () => TrusteeSet;
  readonly sets: () => ReadonlyMap<Epoch, TrusteeSet>;
  readonly signer: VoteSigner;
  readonly verify: Verify;
  readonly gossip: Gossip;
  readonly view: TallyView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  readonly journal: VoteJournal;
  readonly record: (vote: VerifiedVote) => Promise<RecordOutcome>;
  readonly spans?: VoteSpans | undefined;
  /** This trustee's vote as etcd has it, or that its transaction is archived; asked only when the view and the journal do not tell. */
  readonly recordedValue: (txId: TxId) => Promise<Value | "archived" | undefined>;
}

export type CastOutcome =
  | RecordOutcome
  /** This trustee has signed another value for this transaction; signing this one would be a double vote. */
  | { readonly kind: "ALREADY_VOTED"; readonly value: Value }
  | { readonly kind: "NOT_A_TRUSTEE" };

/** A frame interval of four times the lateness keeps gossip to a fraction of what the core can do. */
const LATENESS_FACTOR = 4;
/** However busy, a vote waits no longer than this for others. */
const INTERVAL_MS_MAX = 250;

interface Waiting {
  readonly txId: TxId;
  readonly value: Value;
  readonly resolve: (outcome: RecordOutcome) => void;
}

interface Signing {
  readonly vote: Vote;
  readonly resolve: (outcome: RecordOutcome) => void;
}

interface OwnVote {
  readonly value: Value;
  /** Null when it was signed in an earlier run, or refused: then it may be published again. */
  readonly outcome: Promise<RecordOutcome> | null;
  /** Whether the outcome is that it was recorded: long ago, perhaps. */
  readonly recorded: boolean;
}

/**
 * Signs and publishes this trustee's own votes: those that come together share one
 * signature and one gossip message, for messages are what gossip costs.
 *
 * Refuses to sign a second value for a transaction, over crashes too, so that an
 * operator's mistake does not become a double vote.
 */
export class VotePublisher {
  readonly #options: PublisherOptions;
  readonly #deps: PublisherDependencies;
  readonly #own = new Map<TxId, OwnVote>();
  /** False when this trustee may have signed votes that are not in `#own`. */
  #remembersAll = true;
  #waiting: Waiting[] = [];
  #cancelTimer: (() => void) | null = null;
  #stopped = false;
  readonly #latenessMs = new MovingAverage();
  #publishing = false;
  #flushedAtMs = Number.NEGATIVE_INFINITY;
  #lastFlush: Promise<void> = Promise.resolve();

  constructor(options: PublisherOptions, dependencies: PublisherDependencies) {
    this.#options = options;
    this.#deps = dependencies;
  }

  /** Remembers what was signed before this run. Must come before the first `cast`. */
  async load(): Promise<void> {
    const { entries, complete } = await this.#deps.journal.load();
    for (const { txId, value } of entries)
      this.#own.set(txId, { value, outcome: null, recorded: false });
    this.#remembersAll = complete;
  }

  /**
   * Casts this trustee's vote. Idempotent: the same value again gives the same outcome, and is
   * published again when the first was refused.
   */
  async cast(txId: TxId, value: Value): Promise<CastOutcome> {
    const { view, metrics } = this.#deps;
    if (!this.#isMember(this.#setFor(txId))) return { kind: "NOT_A_TRUSTEE" };
    if (this.#stopped) return { kind: "REFUSED", code: "STOPPED" };
    if (view.isArchived(txId)) return { kind: "REFUSED", code: "ARCHIVED" };
    const recorded = view.votes(txId).get(this.#options.nodeId)?.vote.value;
    const lookedUp = recorded === undefined ? await this.#lookUp(txId) : undefined;
    if (lookedUp === "archived") return { kind: "REFUSED", code: "ARCHIVED" };
    const standing = recorded ?? lookedUp;
    // The look-up takes time, in which this may have stopped, or the same request come a second time.
    if (this.#stopped) return { kind: "REFUSED", code: "STOPPED" };
    const earlier = this.#own.get(txId);
    const bound = standing ?? earlier?.value;
    if (bound !== undefined && bound !== value) return { kind: "ALREADY_VOTED", value: bound };
    if (recorded !== undefined) return { kind: "RECORDED" };
    if (earlier !== undefined && earlier.outcome !== null) return earlier.outcome;
    metrics.votesReceived.inc({ source: "local" });
    this.#deps.spans?.cast(txId);
    const outcome = new Promise<RecordOutcome>((resolve) =>
      this.#waiting.push({ txId, value, resolve }),
    );
    this.#remember(txId, { value, outcome, recorded: false });
    void outcome.then((end) => {
      // Refused is not the end of it: the same value may be tried again, another never.
      if (end.kind === "REFUSED") this.#remember(txId, { value, outcome: null, recorded: false });
      else if (end.kind === "RECORDED") this.#remember(txId, { value, outcome, recorded: true });
    });
    this.#arm();
    return outcome;
  }

  /** A transaction keeps the trustees under which it opened; a new one opens under those in force. */
  #setFor(txId: TxId): TrusteeSet {
    const { view, set, sets } = this.#deps;
    const epoch = view.record(txId)?.epoch;
    return (epoch === undefined ? undefined : sets().get(epoch)) ?? set();
  }

  /** The name alone is not enough: what another key signs in its name verifies nowhere. */
  #isMember(set: TrusteeSet): boolean {
    const member = set.byNodeId.get(this.#options.nodeId);
    return member !== undefined && equalBytes(member.publicKey, this.#deps.signer.publicKey);
  }

  /** What this trustee voted: by its own memory, or according to etcd when that does not reach back far enough. */
  async #lookUp(txId: TxId): Promise<Value | "archived" | undefined> {
    const own = this.#own.get(txId);
    // Recorded, and in view no more: it may be archived since.
    if (own?.recorded === true) return (await this.#deps.recordedValue(txId)) ?? own.value;
    if (own !== undefined || this.#remembersAll) return own?.value;
    return this.#deps.recordedValue(txId);
  }

  #remember(txId: TxId, own: OwnVote): void {
    this.#own.set(txId, own);
    if (this.#own.size <= LIMITS.journalVotesMax) return;
    this.#remembersAll = false;
    for (const oldest of this.#own.keys()) {
      this.#own.delete(oldest);
      return;
    }
  }

  /** Publishes what waits and takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#flush();
    while (this.#publishing) await this.#lastFlush;
  }

  #arm(): void {
    if (this.#waiting.length >= this.#options.frameVotesMax) {
      this.#cancelTimer?.();
      this.#cancelTimer = null;
      this.#flush();
      return;
    }
    const { clock } = this.#deps;
    const sinceLastMs = clock.monotonicMs() - this.#flushedAtMs;
    const delayMs = Math.max(this.#options.windowMs, this.#intervalMs() - sinceLastMs);
    const dueMs = clock.monotonicMs() + delayMs;
    this.#cancelTimer ??= clock.schedule(delayMs, () => {
      this.#latenessMs.add(clock.monotonicMs() - dueMs);
      this.#cancelTimer = null;
      this.#flush();
    });
  }

  /** A timer that fires late tells of a busy core; then fewer and larger frames are what relieves it. */
  #intervalMs(): number {
    const eased = Math.min(LATENESS_FACTOR * this.#latenessMs.value, INTERVAL_MS_MAX);
    return Math.max(this.#options.intervalMs, Math.round(eased));
  }

  /**
   * One at a time: votes that come while the journal is being synced share the next sync, so that
   * a slow disk makes larger frames and not a growing queue of small ones.
   */
  #flush(): void {
    if (this.#publishing || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#publishing = true;
    this.#flushedAtMs = this.#deps.clock.monotonicMs();
    this.#lastFlush = this.#publishAll(waiting).finally(() => {
      this.#publishing = false;
      if (this.#stopped) this.#flush();
      else if (this.#waiting.length > 0) this.#arm();
    });
  }

  /** Journal first: what might have been published must be remembered (persist, then emit). */
  async #publishAll(waiting: readonly Waiting[]): Promise<void> {
    try {
      await this.#deps.journal.append(waiting);
    } catch (error) {
      this.#deps.logger.error("the vote journal can't be written, so nothing is signed", { error });
      for (const w of waiting) w.resolve({ kind: "REFUSED", code: "JOURNAL_FAILED" });
      return;
    }
    this.#sign(waiting);
  }

  #sign(waiting: readonly Waiting[]): void {
    const { nodeId } = this.#options;
    const issuedAtMs = Math.floor(this.#deps.clock.nowMs());
    // Votes of one frame are of one epoch; more than one is in use only after a change of trustees.
    const byEpoch = new Map<TrusteeSet, Signing[]>();
    for (const { txId, value, resolve } of waiting) {
      const set = this.#setFor(txId);
      const { clusterId, epoch } = set;
      const vote: Vote = { clusterId, epoch, txId, value, nodeId, issuedAtMs };
      const signing = byEpoch.get(set) ?? [];
      signing.push({ vote, resolve: (outcome) => this.#settle(vote, outcome, resolve) });
      byEpoch.set(set, signing);
    }
    for (const [set, signing] of byEpoch)
      for (const frame of this.#split(signing)) this.#publish(frame, set);
  }

  /** The transaction may have opened under another epoch just then: the same value is signed for that one. */
  #settle(vote: Vote, outcome: RecordOutcome, resolve: Waiting["resolve"]): void {
    const { txId, value } = vote;
    const moved = outcome.kind === "REFUSED" && outcome.code === "WRONG_EPOCH";
    const set = this.#setFor(txId);
    if (moved && set.epoch !== vote.epoch && this.#isMember(set) && !this.#stopped)
      this.#sign([{ txId, value, resolve }]);
    else resolve(outcome);
  }

  #split(waiting: readonly Signing[]): readonly (readonly Signing[])[] {
    const frames: Signing[][] = [];
    let frame: Signing[] = [];
    let sizeBytes = FRAME_OVERHEAD_BYTES;
    for (const item of waiting) {
      const bytes = frameBytesOf(encodeVote(item.vote));
      const full = frame.length >= this.#options.frameVotesMax;
      if (frame.length > 0 && (full || sizeBytes + bytes > LIMITS.voteFrameBytesMax)) {
        frames.push(frame);
        frame = [];
        sizeBytes = FRAME_OVERHEAD_BYTES;
      }
      frame.push(item);
      sizeBytes += bytes;
    }
    if (frame.length > 0) frames.push(frame);
    return frames;
  }

  #publish(waiting: readonly Signing[], set: TrusteeSet): void {
    const { signer, verify, gossip, logger, metrics, spans } = this.#deps;
    const votes = waiting.map((w) => w.vote);
    const frame = signFrame(votes, (message) => signer.sign(message));
    const checkingAtMs = spans?.now() ?? 0;
    const verified = verifyFrame(frame, set, verify);
    if (!verified.ok) {
      // The trustee set changed between the request and now.
      logger.error("own votes do not verify", { reason: verified.error.code });
      for (const w of waiting) w.resolve({ kind: "REFUSED", code: "UNKNOWN_TRUSTEE" });
      return;
    }
    metrics.framesPublished.inc({});
    const sent = spans?.published(frame, verified.value, checkingAtMs) ?? frame;
    for (const [i, vote] of verified.value.entries()) {
      const resolve = waiting[i]?.resolve;
      void this.#deps.record(vote).then((outcome) => resolve?.(outcome));
    }
    gossip.publish(encodeFrame(sent)).catch((error: unknown) => {
      // The vote is in this node's own queue and will be recorded from there.
      logger.warn("vote frame was not published", { error, votes: votes.length });
    });
  }
}

import {
  encodeFrame,
  encodeVote,
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
  verifyFrame,
  type Vote,
} from "@quorate/core";
import type { Clock, Gossip, Logger, VoteSigner } from "@quorate/ports";
import type { NodeMetrics } from "./catalogue.ts";
import type { TallyView } from "./tally-view.ts";
import type { RecordOutcome } from "./vote-pipeline.ts";

export interface PublisherOptions {
  readonly nodeId: NodeId;
  /** How long a local vote waits for others to share its signature, in ms. */
  readonly windowMs: number;
  /** Votes under one signature; 1 turns batching off. */
  readonly frameVotesMax: number;
}

export interface PublisherDependencies {
  readonly set: () => TrusteeSet;
  readonly signer: VoteSigner;
  readonly verify: Verify;
  readonly gossip: Gossip;
  readonly view: TallyView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  readonly record: (vote: VerifiedVote) => Promise<RecordOutcome>;
}

export type CastOutcome =
  | RecordOutcome
  /** This trustee has signed another value for this transaction; signing this one would be a double vote. */
  | { readonly kind: "ALREADY_VOTED"; readonly value: Value }
  | { readonly kind: "NOT_A_TRUSTEE" };

interface Waiting {
  readonly vote: Vote;
  readonly resolve: (outcome: RecordOutcome) => void;
}

/**
 * Signs and publishes this trustee's own votes: those that come together share one
 * signature and one gossip message, for messages are what gossip costs.
 *
 * Refuses to sign a second value for a transaction, so that an operator's mistake
 * does not become a double vote.
 */
export class VotePublisher {
  readonly #options: PublisherOptions;
  readonly #deps: PublisherDependencies;
  readonly #signed = new Map<
    TxId,
    { readonly value: Value; readonly outcome: Promise<RecordOutcome> }
  >();
  #waiting: Waiting[] = [];
  #cancelTimer: (() => void) | null = null;
  #stopped = false;

  constructor(options: PublisherOptions, dependencies: PublisherDependencies) {
    this.#options = options;
    this.#deps = dependencies;
  }

  /** Casts this trustee's vote. Idempotent: the same value again gives the same outcome. */
  async cast(txId: TxId, value: Value): Promise<CastOutcome> {
    const { view, clock, metrics } = this.#deps;
    const set = this.#deps.set();
    if (!set.byNodeId.has(this.#options.nodeId)) return { kind: "NOT_A_TRUSTEE" };
    if (this.#stopped) return { kind: "REFUSED", code: "STOPPED" };
    const recorded = view.votes(txId).get(this.#options.nodeId)?.vote.value;
    const earlier = this.#signed.get(txId);
    const standing = recorded ?? earlier?.value;
    if (standing !== undefined && standing !== value)
      return { kind: "ALREADY_VOTED", value: standing };
    if (recorded !== undefined) return { kind: "RECORDED" };
    if (earlier !== undefined) return earlier.outcome;
    metrics.votesReceived.inc({ source: "local" });
    const { clusterId, epoch } = set;
    const { nodeId } = this.#options;
    const vote: Vote = { clusterId, epoch, txId, value, nodeId, issuedAtMs: clock.nowMs() };
    const outcome = new Promise<RecordOutcome>((resolve) => this.#waiting.push({ vote, resolve }));
    this.#signed.set(txId, { value, outcome });
    this.#trimSigned();
    this.#arm();
    return outcome;
  }

  /** Publishes what waits and takes no more. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#flush();
  }

  /** Recorded votes are in the view; only those under way need this memory. */
  #trimSigned(): void {
    if (this.#signed.size <= LIMITS.voteSeenMax) return;
    for (const txId of this.#signed.keys()) {
      this.#signed.delete(txId);
      return;
    }
  }

  #arm(): void {
    if (this.#waiting.length >= this.#options.frameVotesMax) {
      this.#cancelTimer?.();
      this.#cancelTimer = null;
      this.#flush();
      return;
    }
    this.#cancelTimer ??= this.#deps.clock.schedule(this.#options.windowMs, () => {
      this.#cancelTimer = null;
      this.#flush();
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const frame of this.#split(waiting)) this.#publish(frame);
  }

  #split(waiting: readonly Waiting[]): readonly (readonly Waiting[])[] {
    const frames: Waiting[][] = [];
    let frame: Waiting[] = [];
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

  #publish(waiting: readonly Waiting[]): void {
    const { signer, verify, gossip, logger, metrics } = this.#deps;
    const votes = waiting.map((w) => w.vote);
    const frame = signFrame(votes, (message) => signer.sign(message));
    const verified = verifyFrame(frame, this.#deps.set(), verify);
    if (!verified.ok) {
      // The trustee set changed between the request and now.
      logger.error("own votes do not verify", { reason: verified.error.code });
      for (const w of waiting) w.resolve({ kind: "REFUSED", code: "WRONG_EPOCH" });
      return;
    }
    metrics.framesPublished.inc({});
    for (const [i, vote] of verified.value.entries()) {
      const resolve = waiting[i]?.resolve;
      void this.#deps.record(vote).then((outcome) => resolve?.(outcome));
    }
    gossip.publish(encodeFrame(frame)).catch((error: unknown) => {
      // The vote is in this node's own queue and will be recorded from there.
      logger.warn("vote frame was not published", { error, votes: votes.length });
    });
  }
}

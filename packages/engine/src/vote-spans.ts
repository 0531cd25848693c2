import {
  decodeFrameTraces,
  encodeFrameTraces,
  extensionBytesOf,
  FRAME_OVERHEAD_BYTES,
  frameBytesOf,
  LIMITS,
  type NodeId,
  type PeerId,
  type TraceContext,
  type TxId,
  type VerifiedVote,
  type VoteFrame,
} from "@quorate/core";
import type { Clock, Span, SpanAttributes, Tracer } from "@quorate/ports";
import { LRUCache } from "lru-cache";
import { TokenBucket } from "./token-bucket.ts";
import { type TracedVote, VoteTurn } from "./vote-turn.ts";

export interface VoteSpansDependencies {
  readonly tracer: Tracer;
  readonly clock: Clock;
  /** Whose node this is. */
  readonly nodeId: NodeId;
}

/** How votes came in by gossip. */
export interface Hearing {
  /** Who published the frame, by its outer signature. */
  readonly author: PeerId;
  /** When the frame came, and when it was decoded and found worth a signature check. */
  readonly heardAtMs: number;
  readonly checkingAtMs: number;
  readonly extension: Uint8Array | undefined;
  /** False when the queue was full. */
  readonly accepted: boolean;
}

interface Budget {
  /** For traces that the author's node began. */
  readonly carried: TokenBucket;
  /** For those that begin here. */
  readonly begun: TokenBucket;
}

/** One's own votes have a budget as every author's. */
const OWN = "";

/**
 * The spans of votes on one node, from reception to the commit. Which transactions are traced is decided by
 * their ids alone, here as on every other node; what a frame says only adds where the trace comes from, within a
 * budget for each author, so that nobody can have more traced than that.
 *
 * Off, or for a vote that is not traced, nothing is allocated.
 * @see spec §13.2
 */
export class VoteSpans {
  readonly enabled: boolean;
  readonly #deps: VoteSpansDependencies;
  /** Where each vote's trace goes on; gone with the vote. */
  readonly #contexts = new WeakMap<VerifiedVote, TraceContext>();
  /** Own votes between the request and their frame. */
  readonly #casts = new LRUCache<TxId, Span>({ max: LIMITS.tracedCastsMax });
  readonly #budgets = new LRUCache<string, Budget>({ max: LIMITS.authorAllowancesMax });

  constructor(dependencies: VoteSpansDependencies) {
    this.#deps = dependencies;
    this.enabled = dependencies.tracer.enabled;
  }

  /** When something begins that may become a span; costs nothing while tracing is off. */
  now(): number {
    return this.enabled ? this.#deps.clock.monotonicMs() : 0;
  }

  /** This trustee is asked to vote: a trace begins. */
  cast(txId: TxId): void {
    const { tracer, nodeId } = this.#deps;
    if (!this.enabled || !tracer.samples(txId)) return;
    const startMs = this.now();
    if (!this.#budgetOf(OWN, startMs).begun.take(1, startMs)) return;
    const span = tracer.start("vote.receive", {
      parent: null,
      startMs,
      attributes: {
        "quorate.tx_id": txId,
        "quorate.voter": nodeId,
        "quorate.node_id": nodeId,
        "quorate.source": "local",
      },
    });
    this.#casts.set(txId, span);
  }

  /**
   * Own votes were signed, and verified as any vote is. @returns the frame with the contexts of those that are
   * traced, as far as there is room
   */
  published(frame: VoteFrame, votes: readonly VerifiedVote[], checkingAtMs: number): VoteFrame {
    if (!this.enabled || this.#casts.size === 0) return frame;
    const endMs = this.now();
    const traces = new Map<number, TraceContext>();
    for (const [place, vote] of votes.entries()) {
      const span = this.#casts.get(vote.vote.txId);
      if (span === undefined) continue;
      this.#casts.delete(vote.vote.txId);
      this.#validated(vote, span.context, checkingAtMs, endMs);
      span.end(endMs, { "quorate.outcome": "published" });
      traces.set(place, span.context);
    }
    return withTraces(frame, traces);
  }

  /** A frame's votes were verified and handed on. */
  heard(votes: readonly VerifiedVote[], hearing: Hearing): void {
    const { tracer, nodeId } = this.#deps;
    if (!this.enabled) return;
    const { author, heardAtMs, checkingAtMs, extension, accepted } = hearing;
    const endMs = this.now();
    const carried = decodeFrameTraces(extension, votes.length);
    for (const [place, vote] of votes.entries()) {
      const { txId, nodeId: voter } = vote.vote;
      if (!tracer.samples(txId)) continue;
      // Whoever passes on another's vote in a frame of its own can't tell where that one's trace comes from.
      const parent = vote.peerId === author ? (carried.get(place) ?? null) : null;
      const budget = this.#budgetOf(author, endMs);
      if (!(parent === null ? budget.begun : budget.carried).take(1, endMs)) continue;
      const span = tracer.start("vote.receive", {
        parent,
        startMs: heardAtMs,
        attributes: {
          "quorate.tx_id": txId,
          "quorate.voter": voter,
          "quorate.node_id": nodeId,
          "quorate.source": "gossip",
        },
      });
      this.#validated(vote, span.context, checkingAtMs, endMs);
      span.end(endMs, { "quorate.outcome": accepted ? "accepted" : "queue_full" }, !accepted);
    }
  }

  /**
   * A transaction's votes are about to be decided on. @returns null when none of them is traced
   * @param startMs when the turn began, before the state to decide on was there
   * @param batch how many transactions share it
   */
  turn(
    votes: readonly { readonly vote: VerifiedVote; readonly sinceMs: number }[],
    startMs: number,
    batch: number,
  ): VoteTurn | null {
    if (!this.enabled) return null;
    let traced: TracedVote[] | null = null;
    for (const [place, { vote, sinceMs }] of votes.entries()) {
      const parent = this.#contexts.get(vote);
      if (parent !== undefined) (traced ??= []).push({ place, vote, sinceMs, parent });
    }
    return traced === null ? null : new VoteTurn(traced, { startMs, batch }, this.#deps);
  }

  #validated(vote: VerifiedVote, parent: TraceContext, startMs: number, endMs: number): void {
    const { tracer, nodeId } = this.#deps;
    const { txId, nodeId: voter } = vote.vote;
    const attributes: SpanAttributes = {
      "quorate.tx_id": txId,
      "quorate.voter": voter,
      "quorate.node_id": nodeId,
      "quorate.outcome": "valid",
    };
    const span = tracer.start("vote.validate", { parent, startMs, attributes });
    span.end(endMs);
    this.#contexts.set(vote, span.context);
  }

  #budgetOf(author: string, nowMs: number): Budget {
    const known = this.#budgets.get(author);
    if (known !== undefined) return known;
    const budget = {
      carried: new TokenBucket(LIMITS.tracedVotes, nowMs),
      begun: new TokenBucket(LIMITS.tracedVotes, nowMs),
    };
    this.#budgets.set(author, budget);
    return budget;
  }
}

/** A full frame goes without: its votes come first. */
function withTraces(frame: VoteFrame, traces: ReadonlyMap<number, TraceContext>): VoteFrame {
  const extension = encodeFrameTraces(traces);
  if (extension === undefined) return frame;
  const sizeBytes = frame.leaves.reduce(
    (sum, leaf) => sum + frameBytesOf(leaf),
    FRAME_OVERHEAD_BYTES + extensionBytesOf(extension),
  );
  return sizeBytes > LIMITS.voteFrameBytesMax ? frame : { ...frame, extension };
}

import type {
  DecideStep,
  Decision,
  NodeId,
  TraceContext,
  TxSnapshot,
  TxWrites,
  VerifiedVote,
} from "@quorate/core";
import type { Clock, Span, SpanAttributes, SpanName, Tracer } from "@quorate/ports";

/** A vote that is traced, in a transaction's turn. */
export interface TracedVote {
  /** Its place among the votes of the turn. */
  readonly place: number;
  readonly vote: VerifiedVote;
  /** Since when it waited. */
  readonly sinceMs: number;
  readonly parent: TraceContext;
}

export interface TurnDependencies {
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly nodeId: NodeId;
}

/** What the turn of a transaction came to. */
export type TurnOutcome =
  | "committed"
  /** Another writer was first, or a voter was banned. */
  | "conflict"
  /** Nothing was to be written. */
  | "nothing_to_write"
  /** The reply was lost or the store did not answer. */
  | "unknown"
  | "undecidable";

const FAILED: readonly TurnOutcome[] = ["unknown", "undecidable"];

/**
 * One transaction's turn, as spans of each of its traced votes: `vote.store` from the snapshot to etcd's answer, and
 * in it the steps of `decide`, with the times at which they really began and ended. Counter, status, violations and
 * bans are then written by the one Txn that `vote.store` waits for.
 */
export class VoteTurn {
  readonly #votes: readonly TracedVote[];
  readonly #startMs: number;
  readonly #batch: number;
  readonly #deps: TurnDependencies;
  readonly #decidingAtMs: number;
  readonly #ends: { step: DecideStep; atMs: number }[] = [];
  #stores: readonly { readonly traced: TracedVote; readonly span: Span }[] = [];

  constructor(
    votes: readonly TracedVote[],
    { startMs, batch }: { readonly startMs: number; readonly batch: number },
    dependencies: TurnDependencies,
  ) {
    this.#votes = votes;
    this.#startMs = startMs;
    this.#batch = batch;
    this.#deps = dependencies;
    this.#decidingAtMs = dependencies.clock.monotonicMs();
  }

  /** Given to `decide`. */
  readonly onStep = (step: DecideStep): void => {
    this.#ends.push({ step, atMs: this.#deps.clock.monotonicMs() });
  };

  /** @returns the decision, in whose record stands where the trace of the vote that completed the threshold goes on */
  decided(decision: Decision, before: TxSnapshot): Decision {
    const status = decision.writes?.status ?? before.status ?? "none";
    this.#stores = this.#votes.map((traced) => this.#store(traced, status));
    let goesOn: TraceContext | null = null;
    for (const { traced, span } of this.#stores) {
      const threshold = this.#steps(traced, span, decision, before, status);
      const { value } = traced.vote.vote;
      if (threshold !== null && decision.writes?.record?.value === value) goesOn = threshold;
    }
    return goesOn === null ? decision : marked(decision, goesOn);
  }

  ended(outcome: TurnOutcome, revision?: bigint): void {
    // What could not be decided has no spans yet.
    if (this.#stores.length === 0)
      this.#stores = this.#votes.map((traced) => this.#store(traced, "none"));
    const endMs = this.#deps.clock.monotonicMs();
    const attributes: SpanAttributes = {
      "quorate.outcome": outcome,
      ...(revision === undefined ? {} : { "quorate.revision": revision.toString() }),
    };
    for (const { span } of this.#stores) span.end(endMs, attributes, FAILED.includes(outcome));
  }

  #store(traced: TracedVote, status: string): { traced: TracedVote; span: Span } {
    const span = this.#deps.tracer.start("vote.store", {
      parent: traced.parent,
      startMs: this.#startMs,
      attributes: {
        ...this.#attributes(traced),
        "quorate.status": status,
        "quorate.batch": this.#batch,
        "quorate.waited_ms": Math.round(this.#startMs - traced.sinceMs),
      },
    });
    return { traced, span };
  }

  /** @returns where `threshold.check` is; null when the decision did not come so far */
  #steps(
    traced: TracedVote,
    store: Span,
    decision: Decision,
    before: TxSnapshot,
    status: string,
  ): TraceContext | null {
    const told = this.#told(traced, decision, before, status);
    let startMs = this.#decidingAtMs;
    let threshold: TraceContext | null = null;
    for (const { step, atMs } of this.#ends) {
      const span = this.#deps.tracer.start(SPAN_OF[step], {
        parent: store.context,
        startMs,
        attributes: { ...this.#attributes(traced), ...told[step] },
      });
      span.end(atMs);
      if (step === "threshold") threshold = span.context;
      startMs = atMs;
    }
    return threshold;
  }

  #told(
    { place }: TracedVote,
    { outcomes, writes }: Decision,
    before: TxSnapshot,
    status: string,
  ): Readonly<Record<DecideStep, SpanAttributes>> {
    const votes = before.votes.size + (writes?.newVotes.length ?? 0);
    const violations = writes?.violations.length ?? 0;
    const value = (writes?.record ?? before.record)?.value ?? null;
    return {
      count: {
        "quorate.votes": votes,
        "quorate.outcome": outcomes[place]?.kind.toLowerCase() ?? "none",
      },
      threshold: {
        "quorate.votes": votes,
        "quorate.outcome": value === null ? "open" : "reached",
      },
      byzantine: {
        "quorate.violations": violations,
        "quorate.outcome": violations === 0 ? "none" : "found",
      },
      aggregate: {
        "quorate.status": status,
        "quorate.outcome": status === before.status ? "unchanged" : "moved",
      },
    };
  }

  #attributes({ vote }: TracedVote): SpanAttributes {
    return {
      "quorate.tx_id": vote.vote.txId,
      "quorate.voter": vote.vote.nodeId,
      "quorate.node_id": this.#deps.nodeId,
    };
  }
}

const SPAN_OF = {
  count: "vote.count",
  threshold: "threshold.check",
  byzantine: "byzantine.check",
  aggregate: "vote.aggregate",
} as const satisfies Record<DecideStep, SpanName>;

/** The commit that reaches the threshold says where the submitter's spans belong. */
function marked(decision: Decision, traceContext: TraceContext): Decision {
  const writes: TxWrites | null = decision.writes;
  if (writes === null || writes.status !== "THRESHOLD_REACHED") return decision;
  const { record } = writes;
  if (record === null || record.traceContext !== undefined) return decision;
  return { ...decision, writes: { ...writes, record: { ...record, traceContext } } };
}

import { LIMITS, type TraceContext, type TxId, type TxRecord } from "@quorate/core";
import type {
  Attempt,
  Clock,
  Slot,
  SpanAttributes,
  SpanName,
  SubmissionStore,
  TakeRefusal,
  Tracer,
} from "@quorate/ports";
import { LRUCache } from "lru-cache";
import { overriding } from "./port-overrides.ts";
import { TokenBucket } from "./token-bucket.ts";

/** How the claim in etcd, which is this system's lock, came out. */
export type LockOutcome = "claimed" | "conflict" | "unbacked" | "dissent" | "unknown";

/** Which of a submission's writes it was. */
export type PersistStep = "queue" | "nonce" | "final" | "confirmed";

export type PersistOutcome =
  | "written"
  /** Whether it was written is not known. */
  | "failed"
  /** This process leads no more. */
  | "fenced";

/**
 * The spans of submissions: a transaction's trace goes on where its record in etcd says, or begins here. Which ones
 * are traced is decided by their ids, and no more a second than a budget allows, whatever the records say.
 *
 * Off, or for a transaction that is not traced, nothing is allocated.
 * @see spec §13.2
 */
export class SubmissionSpans {
  readonly enabled: boolean;
  readonly #deps: { readonly tracer: Tracer; readonly clock: Clock };
  /** What each traced transaction's later spans belong to. */
  readonly #contexts = new LRUCache<TxId, TraceContext>({ max: LIMITS.tracedSubmissionsKeptMax });
  readonly #budget: TokenBucket;

  constructor(dependencies: { readonly tracer: Tracer; readonly clock: Clock }) {
    this.#deps = dependencies;
    this.enabled = dependencies.tracer.enabled;
    this.#budget = new TokenBucket(LIMITS.tracedSubmissions, dependencies.clock.monotonicMs());
  }

  /** When something begins that may become a span; costs nothing while tracing is off. */
  now(): number {
    return this.enabled ? this.#deps.clock.monotonicMs() : 0;
  }

  /** A claim was decided on and, unless the votes do not bear it out, tried in etcd. */
  locked(
    { txId, record }: { readonly txId: TxId; readonly record: TxRecord | null },
    startMs: number,
    outcome: LockOutcome,
  ): void {
    const { tracer } = this.#deps;
    if (!this.enabled || !tracer.samples(txId)) return;
    const endMs = this.now();
    // A second try is part of a trace that has been paid for.
    if (!this.#contexts.has(txId) && !this.#budget.take(1, endMs)) return;
    const parent = record?.traceContext ?? null;
    const attributes = { "quorate.tx_id": txId };
    const span = tracer.start("submission.lock", { parent, startMs, attributes });
    span.end(endMs, { "quorate.outcome": outcome }, outcome === "unknown");
    this.#contexts.set(txId, span.context);
  }

  /** Claimed by another process or an earlier run: its trace goes on without the claim's span. */
  resumed(txId: TxId, record: TxRecord | null): void {
    const { tracer } = this.#deps;
    if (!this.enabled || this.#contexts.has(txId) || !tracer.samples(txId)) return;
    const context = record?.traceContext;
    if (context !== undefined && this.#budget.take(1, this.now()))
      this.#contexts.set(txId, context);
  }

  /** A slot's newest attempt was handed to the chain's endpoints. */
  submitted(slot: Slot, attempt: Attempt, startMs: number, outcome: string): void {
    if (!this.enabled) return;
    this.#each("submission.submit", idsOf(slot.items), startMs, {
      "quorate.outcome": outcome,
      "quorate.step": attempt.kind.toLowerCase(),
      "quorate.nonce": slot.nonce.toString(),
      "quorate.chain_tx": attempt.hash,
      "quorate.batch": slot.items.length,
    });
  }

  /** Something about submissions was written to PostgreSQL, or was not. */
  persisted(
    step: PersistStep,
    txIds: readonly TxId[],
    startMs: number,
    outcome: PersistOutcome,
    more: SpanAttributes = {},
  ): void {
    if (!this.enabled) return;
    this.#each("submission.persist", txIds, startMs, {
      "quorate.step": step,
      "quorate.outcome": outcome,
      "quorate.batch": txIds.length,
      ...more,
    });
  }

  #each(name: SpanName, txIds: readonly TxId[], startMs: number, attributes: SpanAttributes): void {
    const endMs = this.now();
    for (const txId of txIds) {
      const parent = this.#contexts.get(txId);
      if (parent === undefined) continue;
      const span = this.#deps.tracer.start(name, {
        parent,
        startMs,
        attributes: { "quorate.tx_id": txId, ...attributes },
      });
      span.end(endMs, {}, attributes["quorate.outcome"] === "failed");
    }
  }
}

/** The same store, whose writes on the way from the queue to finality are `submission.persist` spans. */
export function withSpans(store: SubmissionStore, spans: SubmissionSpans): SubmissionStore {
  async function timed<T>(
    step: PersistStep,
    call: () => Promise<T>,
    asked: readonly TxId[],
    look: (result: T) => Persisted = () => ({ txIds: asked }),
  ): Promise<T> {
    const startMs = spans.now();
    try {
      const result = await call();
      const { txIds, outcome = "written", more = {} } = look(result);
      spans.persisted(step, txIds, startMs, outcome, more);
      return result;
    } catch (error) {
      spans.persisted(step, asked, startMs, "failed");
      throw error;
    }
  }
  return overriding(store, {
    enqueue: (rows, sender, options) =>
      timed("queue", () => store.enqueue(rows, sender, options), idsOf(rows)),
    assign: (lease, request, options) =>
      timed("nonce", () => store.assign(lease, request, options), idsOf(request.items), taken),
    reserve: (lease, request, options) =>
      timed("nonce", () => store.reserve(lease, request, options), idsOf(request.items), taken),
    markFinalized: (lease, nonce, final, options) =>
      timed(
        "final",
        () => store.markFinalized(lease, nonce, final, options),
        idsOf(final.items),
        (outcome) => ({
          txIds: idsOf(final.items),
          outcome: outcome === "done" ? "written" : "fenced",
          more: { "quorate.nonce": nonce.toString() },
        }),
      ),
    markConfirmed: (txIds, options) =>
      timed("confirmed", () => store.markConfirmed(txIds, options), txIds),
  });
}

interface Persisted {
  readonly txIds: readonly TxId[];
  readonly outcome?: PersistOutcome;
  readonly more?: SpanAttributes;
}

const idsOf = (items: readonly { readonly txId: TxId }[]): readonly TxId[] =>
  items.map(({ txId }) => txId);

/** Of those asked for some may be gone by then: what was claimed is what the slot holds. */
function taken(
  result: { readonly kind: "assigned" | "reserved"; readonly slot: Slot } | TakeRefusal,
): Persisted {
  if (!("slot" in result)) return { txIds: [] };
  const { items, nonce } = result.slot;
  return { txIds: idsOf(items), more: { "quorate.nonce": nonce.toString() } };
}

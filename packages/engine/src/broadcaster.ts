import type {
  Attempt,
  Chain,
  Logger,
  SenderLease,
  SendOutcome,
  Slot,
  SubmissionStore,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";
import { FencedError } from "./fenced-error.ts";
import type { SubmissionSpans } from "./submission-spans.ts";

export interface BroadcasterDependencies {
  readonly chain: Pick<Chain, "send">;
  readonly submissions: Pick<SubmissionStore, "isLeader" | "noteSent">;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
  readonly spans?: SubmissionSpans | undefined;
}

/**
 * The only place that sends. It takes slots as the store read them back, so what goes out was
 * committed before; sending the same bytes again is harmless, whoever does it.
 */
export class Broadcaster {
  readonly #lease: SenderLease;
  readonly #deps: BroadcasterDependencies;

  constructor(lease: SenderLease, dependencies: BroadcasterDependencies) {
    this.#lease = lease;
    this.#deps = dependencies;
  }

  /**
   * Sends a slot's newest attempt. The leader epoch is asked first, so that a deposed leader stops wasting sends.
   * @returns null when nothing is signed for the slot yet.
   */
  async send(
    slot: Slot,
    options: { readonly signal: AbortSignal },
  ): Promise<SendOutcome["kind"] | null> {
    const attempt: Attempt | undefined = slot.attempts.at(-1);
    if (attempt === undefined) return null;
    const { chain, submissions, metrics, logger, spans } = this.#deps;
    if (!(await submissions.isLeader(this.#lease, options))) throw new FencedError();
    const startMs = spans?.now() ?? 0;
    const outcome = await chain.send(attempt.raw, options);
    spans?.submitted(slot, attempt, startMs, outcome.kind);
    metrics.sends.inc({ outcome: outcome.kind });
    logger.info("chain transaction sent", {
      nonce: slot.nonce.toString(),
      hash: attempt.hash,
      kind: attempt.kind,
      items: slot.items.length,
      outcome: outcome.kind,
      detail: outcome.detail,
    });
    await submissions.noteSent(attempt.hash, outcome.kind, options);
    return outcome.kind;
  }
}

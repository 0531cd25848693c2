import type { PeerId } from "@quorate/core";
import type { Clock, GossipMessage, GossipValidator, GossipVerdict, Logger } from "@quorate/ports";

export interface JudgeOptions {
  /** Messages in the validator at once. */
  readonly validatingMax: number;
  readonly timeoutMs: number;
}

/**
 * Runs the validator, bounded: in messages at once, in each forwarder's share of them,
 * and in time. Whatever goes wrong with the validator is IGNORE, for neither author nor
 * forwarder can help it.
 */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #byForwarder = new Map<PeerId, number>();
  #validator: GossipValidator | null = null;
  #total = 0;

  constructor(options: JudgeOptions, deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
  }

  setValidator(validator: GossipValidator): void {
    this.#validator = validator;
  }

  /** Whether one more message of this forwarder may be judged now. */
  hasRoom(forwarder: PeerId): boolean {
    if (this.#total >= this.#options.validatingMax) return false;
    // One flooding peer must leave room for the others.
    return (this.#byForwarder.get(forwarder) ?? 0) < this.#options.validatingMax / 4;
  }

  /** The verdict on a message; never rejects. At once when the validator answers at once. */
  judge(message: GossipMessage, then: (verdict: GossipVerdict) => void): void {
    if (this.#validator === null) return then("IGNORE");
    let answer: GossipVerdict | Promise<GossipVerdict>;
    try {
      answer = this.#validator(message);
    } catch (error) {
      this.#logger.error("gossip validator threw", { error });
      return then("IGNORE");
    }
    if (typeof answer === "string") return then(answer);
    this.#take(message.forwarder);
    let open = true;
    const finish = (verdict: GossipVerdict): void => {
      if (!open) return;
      open = false;
      cancel();
      this.#release(message.forwarder);
      then(verdict);
    };
    const cancel = this.#clock.schedule(this.#options.timeoutMs, () => {
      this.#logger.warn("gossip validator gave no verdict in time", {
        timeoutMs: this.#options.timeoutMs,
      });
      finish("IGNORE");
    });
    answer.then(finish, (error: unknown) => {
      this.#logger.error("gossip validator failed", { error });
      finish("IGNORE");
    });
  }

  #take(forwarder: PeerId): void {
    this.#total++;
    this.#byForwarder.set(forwarder, (this.#byForwarder.get(forwarder) ?? 0) + 1);
  }

  #release(forwarder: PeerId): void {
    this.#total--;
    const left = (this.#byForwarder.get(forwarder) ?? 1) - 1;
    if (left === 0) this.#byForwarder.delete(forwarder);
    else this.#byForwarder.set(forwarder, left);
  }
}

import { parseTxId, parseValue, type TxId, unwrap, type Value } from "@quorate/core";
import type { CastOutcome } from "@quorate/engine";
import type { NodeSeat } from "./node-seat.ts";
import type { CastPlan } from "./plan.ts";
import type { World } from "./world.ts";

const LOOK_MS = 400;
const PATIENCE_MS = 5_000;

/** Refusals after which the same request may be made again. */
const PASSING: ReadonlySet<string> = new Set(["QUEUE_FULL", "STOPPED", "JOURNAL_FAILED"]);

/**
 * An operator who wants a vote cast, asks the trustee's own node, and asks again while it gets no answer, for example
 * because the node has died. Sometimes one who asks for another value later.
 */
export class Client {
  readonly #world: World;
  readonly #seat: NodeSeat;
  readonly #plan: CastPlan;
  readonly #txId: TxId;
  /** The last word, null while there is none. */
  outcome: string | null = null;

  constructor(world: World, seat: NodeSeat, plan: CastPlan) {
    this.#world = world;
    this.#seat = seat;
    this.#plan = plan;
    this.#txId = unwrap(parseTxId(plan.txId));
  }

  get text(): string {
    return `${this.#seat.name}'s vote on ${this.#plan.txId}`;
  }

  begin(): void {
    const { clock } = this.#world;
    const { atMs, value, mistake } = this.#plan;
    clock.schedule(atMs, () =>
      this.#ask(unwrap(parseValue(value)), (outcome) => {
        this.outcome = outcome;
      }),
    );
    if (mistake === null) return;
    clock.schedule(atMs + mistake.afterMs, () =>
      this.#ask(unwrap(parseValue(mistake.value)), () => {}),
    );
  }

  #ask(value: Value, done: (outcome: string) => void): void {
    const { clock, witness } = this.#world;
    const { node, process } = this.#seat;
    if (node === null || process === null) {
      clock.schedule(LOOK_MS, () => this.#ask(value, done));
      return;
    }
    let open = true;
    const again = (afterMs: number): void => {
      if (!open) return;
      open = false;
      clock.schedule(afterMs, () => this.#ask(value, done));
    };
    const told = (outcome: CastOutcome): void => {
      // Who was told nothing in time has asked again, and yet was told: the promise counts.
      witness.answered(this.#seat.name, this.#plan.txId, value, textOf(outcome));
      if (!open) return;
      if (outcome.kind === "REFUSED" && PASSING.has(outcome.code)) return again(1_000);
      open = false;
      done(textOf(outcome));
    };
    process.enter(() => void node.cast(this.#txId, value).then(told, () => again(1_000)));
    // A dead process never answers.
    clock.schedule(PATIENCE_MS, () => again(0));
  }
}

function textOf(outcome: CastOutcome): string {
  return outcome.kind === "REFUSED" ? `REFUSED ${outcome.code}` : outcome.kind;
}

import type { SubmissionStore } from "@quorate/ports";
import type { Accuse } from "./law.ts";
import type { TallyLaw } from "./tally-law.ts";

interface OpenSlot {
  readonly txIds: readonly string[];
  readonly attempts: Set<string>;
}

/** Calls that only a leader may make, each with its lease first. */
const LEADERS_CALLS: ReadonlySet<string> = new Set([
  "assign",
  "reserve",
  "addAttempt",
  "markIncluded",
  "markReorged",
  "markFinalized",
  "markAlreadyRecorded",
  "quarantine",
  "abortQueued",
  "raiseFloor",
  "importRecords",
  "markHistoryChecked",
]);

/** Holds what PostgreSQL committed, and what reached the chain, against the laws of exactly once. */
export class SubmissionLaw {
  readonly #accuse: Accuse;
  readonly #tally: TallyLaw;
  #leaderEpoch = 0n;
  readonly #open = new Map<bigint, OpenSlot>();
  /** Every transaction that a committed row holds, as text. */
  readonly #stored = new Set<string>();
  /** What the contract recorded in canonical blocks, by transaction id. */
  readonly finalized = new Set<string>();

  constructor(tally: TallyLaw, accuse: Accuse) {
    this.#tally = tally;
    this.#accuse = accuse;
  }

  /** A call to the tables has committed. */
  committed(operation: keyof SubmissionStore, args: readonly unknown[], result: unknown): void {
    const [first, second, third] = args;
    if (operation === "becomeLeader") {
      const { leaderEpoch } = result as { readonly leaderEpoch: bigint };
      if (leaderEpoch <= this.#leaderEpoch)
        this.#accuse("fenced leaders change nothing", `epoch ${leaderEpoch} was given twice`);
      this.#leaderEpoch = leaderEpoch;
      return;
    }
    if (operation === "enqueue") return this.#enqueued(first);
    if (!LEADERS_CALLS.has(operation)) return;
    const { leaderEpoch } = first as { readonly leaderEpoch: bigint };
    const kind = typeof result === "string" ? result : (result as { kind: string }).kind;
    if (leaderEpoch !== this.#leaderEpoch && kind !== "fenced")
      this.#accuse(
        "fenced leaders change nothing",
        `${operation} of the leader of epoch ${leaderEpoch} was ${kind} in epoch ${this.#leaderEpoch}`,
      );
    if (kind === "assigned" || kind === "reserved") this.#opened(result);
    if (operation === "addAttempt" && kind === "done") {
      const { raw } = third as { readonly raw: Uint8Array };
      this.#carries(raw, second as bigint);
      this.#stored.add(text(raw));
      this.#open.get(second as bigint)?.attempts.add(text(raw));
    }
    if (operation === "markFinalized" && kind === "done") this.#open.delete(second as bigint);
  }

  #enqueued(rows: unknown): void {
    for (const { txId, value } of rows as readonly { txId: string; value: bigint }[]) {
      const decision = this.#tally.transactions.get(txId)?.decision ?? null;
      if (decision?.kind !== "SUBMIT" || decision.value !== value)
        this.#accuse(
          "I11 nothing is visible before it is committed",
          `${txId} was queued, and etcd does not say to submit ${value}`,
        );
    }
  }

  #opened(result: unknown): void {
    const { slot } = result as {
      readonly slot: {
        readonly nonce: bigint;
        readonly items: readonly { readonly txId: string }[];
        readonly attempts: readonly { readonly raw: Uint8Array }[];
      };
    };
    const txIds = slot.items.map(({ txId }) => txId);
    for (const [nonce, other] of this.#open)
      for (const txId of txIds)
        if (other.txIds.includes(txId))
          this.#accuse("one live nonce", `${txId} has nonces ${nonce} and ${slot.nonce} at once`);
    if (this.#open.has(slot.nonce))
      this.#accuse("one live nonce", `nonce ${slot.nonce} was taken twice`);
    for (const { raw } of slot.attempts) this.#carries(raw, slot.nonce);
    const raws = slot.attempts.map(({ raw }) => text(raw));
    for (const raw of raws) this.#stored.add(raw);
    this.#open.set(slot.nonce, { txIds, attempts: new Set(raws) });
    for (const txId of txIds)
      if (this.#tally.transactions.get(txId)?.decision?.kind !== "SUBMIT")
        this.#accuse("I3 no submission after an abort", `${txId} got a nonce without a decision`);
  }

  /** The simulated chain's transactions are JSON. */
  #carries(raw: Uint8Array, nonce: bigint): void {
    const { nonce: signed } = JSON.parse(Buffer.from(raw).toString("utf8")) as { nonce?: unknown };
    if (String(signed) !== nonce.toString())
      this.#accuse(
        "one live nonce",
        `nonce ${nonce} holds a transaction of nonce ${String(signed)}`,
      );
  }

  /** Bytes arrived at the chain. */
  sent(raw: Uint8Array): void {
    if (!this.#stored.has(text(raw)))
      this.#accuse("what is sent was stored", "a transaction was sent that no committed row holds");
  }

  /**
   * The contract's canonical events, all of them.
   * @param refused keys that came a second time, and that only the contract stopped
   */
  onChain(
    recorded: readonly { readonly txId: string | null; readonly value: bigint }[],
    refused: readonly string[],
  ): void {
    const seen = new Set<string>();
    for (const { txId, value } of recorded) {
      if (txId === null) {
        this.#accuse("I2 no effect without votes", "the contract holds a key of nobody's");
        continue;
      }
      if (seen.has(txId)) this.#accuse("I1 one effect", `${txId} was recorded twice`);
      seen.add(txId);
      const tx = this.#tally.transactions.get(txId);
      if (tx?.decision?.kind !== "SUBMIT" || tx.decision.value !== value)
        this.#accuse(
          "I3 no submission after an abort",
          `${txId} is on the chain with ${value}, and etcd does not say so`,
        );
    }
    for (const txId of refused)
      this.#accuse("I1 one effect", `${txId} was sent again, and only the contract refused it`);
  }
}

const text = (raw: Uint8Array): string => Buffer.from(raw).toString("latin1");

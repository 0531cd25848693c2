import { type Receipt, type RefusalReason, refusedMessageHash } from "@quorate/core";
import type { Refusal } from "./refusal.ts";

/** What a receipt says of the messages that it stands for. */
export type RefusedMessages = Pick<
  Receipt,
  | "reason"
  | "count"
  | "firstAtMs"
  | "lastAtMs"
  | "messageHash"
  | "txId"
  | "voter"
  | "author"
  | "forwarder"
>;

/** Counts refusals that get no receipt of their own. A field is what all of them have in common, else null. */
export class RefusalTally {
  readonly #reason: RefusalReason;
  readonly #messageHash: string;
  #count = 0;
  #firstAtMs: number;
  #lastAtMs: number;
  #txId: RefusedMessages["txId"];
  #voter: RefusedMessages["voter"];
  #author: RefusedMessages["author"];
  #forwarder: RefusedMessages["forwarder"];

  /** @param first hashed here and now, so that no bytes need be kept; `add` counts it too. */
  constructor(first: Refusal, atMs: number) {
    this.#reason = first.reason;
    this.#messageHash = refusedMessageHash(first.bytes);
    this.#firstAtMs = atMs;
    this.#lastAtMs = atMs;
    this.#txId = first.txId;
    this.#voter = first.voter;
    this.#author = first.author;
    this.#forwarder = first.forwarder;
  }

  add(refusal: Refusal, count: number, atMs: number): void {
    this.#count += count;
    // The wall clock may jump, either way.
    if (atMs > this.#lastAtMs) this.#lastAtMs = atMs;
    if (atMs < this.#firstAtMs) this.#firstAtMs = atMs;
    if (this.#txId !== refusal.txId) this.#txId = null;
    if (this.#voter !== refusal.voter) this.#voter = null;
    if (this.#author !== refusal.author) this.#author = null;
    if (this.#forwarder !== refusal.forwarder) this.#forwarder = null;
  }

  messages(): RefusedMessages {
    return {
      reason: this.#reason,
      count: this.#count,
      firstAtMs: this.#firstAtMs,
      lastAtMs: this.#lastAtMs,
      messageHash: this.#messageHash,
      txId: this.#txId,
      voter: this.#voter,
      author: this.#author,
      forwarder: this.#forwarder,
    };
  }
}

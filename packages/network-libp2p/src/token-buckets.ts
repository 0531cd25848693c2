import { assert } from "@quorate/core";
import type { Clock } from "@quorate/ports";
import { LRUCache } from "lru-cache";

/** What may pass on average and at once, in messages and in bytes. */
export interface RateLimit {
  readonly messagesPerSecond: number;
  readonly messagesBurst: number;
  readonly bytesPerSecond: number;
  readonly bytesBurst: number;
}

interface Bucket {
  messages: number;
  bytes: number;
  filledAtMs: number;
}

/**
 * Token buckets by key, all of one size, each full when first asked for. At most
 * `bucketsMax` are kept; the one longest unused is forgotten, which fills it again.
 */
export class TokenBuckets {
  readonly #limit: RateLimit;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #buckets: LRUCache<string, Bucket>;

  constructor(
    options: RateLimit & { readonly bucketsMax: number },
    deps: { readonly clock: Pick<Clock, "monotonicMs"> },
  ) {
    assert(options.messagesPerSecond > 0 && options.bytesPerSecond > 0, "a rate is positive");
    this.#limit = options;
    this.#clock = deps.clock;
    this.#buckets = new LRUCache({ max: options.bucketsMax });
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes so much from the key's bucket, all or nothing; false when there is too little in it. */
  take(key: string, messages: number, bytes = 0): boolean {
    const bucket = this.#filled(key);
    if (bucket.messages < messages || bucket.bytes < bytes) return false;
    bucket.messages -= messages;
    bucket.bytes -= bytes;
    return true;
  }

  /** Makes the key's bucket full again. */
  refill(key: string): void {
    this.#buckets.delete(key);
  }

  #filled(key: string): Bucket {
    const nowMs = this.#clock.monotonicMs();
    const { messagesPerSecond, messagesBurst, bytesPerSecond, bytesBurst } = this.#limit;
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      const full = { messages: messagesBurst, bytes: bytesBurst, filledAtMs: nowMs };
      this.#buckets.set(key, full);
      return full;
    }
    const seconds = Math.max(0, nowMs - bucket.filledAtMs) / 1_000;
    bucket.messages = Math.min(messagesBurst, bucket.messages + seconds * messagesPerSecond);
    bucket.bytes = Math.min(bytesBurst, bucket.bytes + seconds * bytesPerSecond);
    bucket.filledAtMs = nowMs;
    return bucket;
  }
}

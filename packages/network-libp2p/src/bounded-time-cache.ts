import { LRUCache } from "lru-cache";

/**
 * A duplicate cache bounded in entries as well as in time. GossipSub's own is bounded in
 * time only: a flood of valid messages would fill memory for a whole minute.
 * It has the methods that GossipSub calls on its own.
 * @see spec §4.3
 */
export class BoundedTimeCache<T extends NonNullable<unknown>> {
  readonly #entries: LRUCache<string | number, { readonly value: T | undefined }>;
  readonly #onHit: () => void;

  /** @param onHit called when `get` finds an entry. */
  constructor(options: {
    readonly entriesMax: number;
    readonly ttlMs: number;
    readonly onHit?: () => void;
  }) {
    this.#entries = new LRUCache({
      max: options.entriesMax,
      ttl: options.ttlMs,
      // A duplicate does not prolong an entry's life: 60 s counts from the first sight.
      updateAgeOnGet: false,
      updateAgeOnHas: false,
    });
    this.#onHit = options.onHit ?? (() => {});
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whether the key was there already; then nothing changes. */
  put(key: string | number, value?: T): boolean {
    if (this.#entries.has(key)) return true;
    this.#entries.set(key, { value });
    return false;
  }

  has(key: string | number): boolean {
    return this.#entries.has(key);
  }

  get(key: string | number): T | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#onHit();
    return entry?.value;
  }

  prune(): void {
    this.#entries.purgeStale();
  }

  clear(): void {
    this.#entries.clear();
  }
}

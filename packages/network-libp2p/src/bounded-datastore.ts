import type { Libp2pOptions } from "libp2p";
import { LRUCache } from "lru-cache";

type Datastore = NonNullable<Libp2pOptions["datastore"]>;
type Key = Parameters<Datastore["get"]>[0];
interface Pair {
  readonly key: Key;
  readonly value: Uint8Array;
}

/**
 * The memory in which libp2p keeps what it knows of peers (addresses, protocols, tags), bounded in entries:
 * libp2p bounds it by age only, and a peer id costs nothing, so each connection under a
 * new one would leave its entry for a week. The least recently used go first; the pinned
 * ones (this node's own and the trustees') are never counted nor dropped.
 */
export class BoundedDatastore implements Datastore {
  readonly #entries: LRUCache<string, Pair>;
  readonly #pinned = new Map<string, Pair>();
  readonly #isPinned: (key: string) => boolean;

  constructor(options: {
    readonly entriesMax: number;
    /** Must be true of a bounded number of keys. Asked whenever an entry is put. */
    readonly isPinned: (key: string) => boolean;
  }) {
    this.#entries = new LRUCache({ max: options.entriesMax });
    this.#isPinned = options.isPinned;
  }

  get size(): number {
    return this.#entries.size + this.#pinned.size;
  }

  /** Who is pinned has changed. */
  repin(): void {
    const all = [...this.#pinned.values(), ...this.#entries.values()];
    this.#pinned.clear();
    for (const pair of all) this.#put(pair);
  }

  put(key: Key, value: Uint8Array): Key {
    this.#put({ key, value });
    return key;
  }

  get(key: Key): Uint8Array {
    const name = key.toString();
    const pair = this.#pinned.get(name) ?? this.#entries.get(name);
    if (pair === undefined)
      throw Object.assign(new Error("nothing is stored under this key"), { name: "NotFoundError" });
    return pair.value;
  }

  has(key: Key): boolean {
    const name = key.toString();
    return this.#pinned.has(name) || this.#entries.has(name);
  }

  delete(key: Key): void {
    this.#pinned.delete(key.toString());
    this.#entries.delete(key.toString());
  }

  putMany: Datastore["putMany"] = async function* (this: BoundedDatastore, source) {
    for await (const { key, value } of source) yield this.put(key, value);
  };

  getMany: Datastore["getMany"] = async function* (this: BoundedDatastore, source) {
    for await (const key of source) yield { key, value: this.get(key) };
  };

  deleteMany: Datastore["deleteMany"] = async function* (this: BoundedDatastore, source) {
    for await (const key of source) {
      this.delete(key);
      yield key;
    }
  };

  batch: Datastore["batch"] = () => {
    const work: (() => void)[] = [];
    return {
      put: (key, value) => void work.push(() => this.put(key, value)),
      delete: (key) => void work.push(() => this.delete(key)),
      commit: () => {
        for (const step of work.splice(0)) step();
      },
    };
  };

  query: Datastore["query"] = async function* (this: BoundedDatastore, query) {
    const { prefix = "", filters = [], orders = [], offset = 0, limit } = query;
    const pairs = this.#all().filter(
      (pair) => pair.key.toString().startsWith(prefix) && filters.every((accepts) => accepts(pair)),
    );
    for (const order of orders) pairs.sort(order);
    yield* pairs.slice(offset, limit === undefined ? undefined : offset + limit);
  };

  queryKeys: Datastore["queryKeys"] = async function* (this: BoundedDatastore, query) {
    const { prefix = "", filters = [], orders = [], offset = 0, limit } = query;
    const keys = this.#all()
      .map(({ key }) => key)
      .filter(
        (key) => key.toString().startsWith(prefix) && filters.every((accepts) => accepts(key)),
      );
    for (const order of orders) keys.sort(order);
    yield* keys.slice(offset, limit === undefined ? undefined : offset + limit);
  };

  #put(pair: Pair): void {
    const name = pair.key.toString();
    if (this.#isPinned(name)) {
      this.#entries.delete(name);
      this.#pinned.set(name, pair);
    } else this.#entries.set(name, pair);
  }

  #all(): Pair[] {
    return [...this.#pinned.values(), ...this.#entries.values()];
  }
}

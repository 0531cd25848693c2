import {
  type AbortOptions,
  type ChangeSet,
  type Election,
  type Presence,
  StoreError,
  type TallyMaintenance,
  type TallyStore,
} from "@quorate/ports";
import type { SharedTally } from "../memory-tally-shared.ts";
import type { MemoryTallyStore } from "../memory-tally-store.ts";
import type { SimLink } from "./sim-link.ts";

export type TallyClient = TallyStore & Election & TallyMaintenance;

/** What a caller hears of an etcd that it can't reach. */
export function tallyError(kind: "unreachable" | "timeout", operation: string): StoreError {
  return kind === "timeout"
    ? new StoreError("TIMEOUT", `${operation} was not answered in time`, { retryable: true })
    : new StoreError("UNAVAILABLE", `${operation} did not reach etcd`, { retryable: true });
}

const STREAMS: ReadonlySet<PropertyKey> = new Set(["watch", "announce", "campaign", "stop"]);

/**
 * A process's client of the simulated etcd: every call goes over a link, watches are
 * streams that lag, leases are kept alive over the link and run out when it is cut.
 * @param server carries the calls out; a client of its own, without faults
 */
export function simTallyClient(
  link: SimLink,
  { shared, server }: { readonly shared: SharedTally; readonly server: MemoryTallyStore },
): TallyClient {
  const streams = new TallyStreams(link, shared);
  return new Proxy<TallyClient>(server, {
    get: (target, property) => {
      if (STREAMS.has(property)) {
        const stream: unknown = Reflect.get(streams, property, streams);
        return typeof stream === "function" ? stream.bind(streams) : stream;
      }
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      return (...args: readonly unknown[]) =>
        streams.call(String(property), args, (sent) => Reflect.apply(member, target, sent));
    },
  });
}

/** What has a life of its own on the link. */
class TallyStreams {
  readonly #link: SimLink;
  readonly #shared: SharedTally;
  readonly #over = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(link: SimLink, shared: SharedTally) {
    this.#link = link;
    this.#shared = shared;
  }

  /** One call; its signal stays on this side, for a server does not hear of an abort. */
  call(
    operation: string,
    args: readonly unknown[],
    effect: (args: readonly unknown[]) => unknown,
  ): Promise<unknown> {
    if (this.#over.signal.aborted)
      return Promise.reject(
        new StoreError("REFUSED", "the store has been stopped", { retryable: false }),
      );
    const { sent, signal } = withoutSignal(args);
    return this.#link.call(operation, () => effect(sent), { signal });
  }

  async stop(): Promise<void> {
    this.#over.abort(new Error("the store is stopping"));
    await Promise.allSettled(this.#running);
  }

  watch(
    after: bigint,
    onChanges: (set: ChangeSet) => void | Promise<void>,
    options: AbortOptions,
  ): Promise<void> {
    return this.#track(this.#watch(after, onChanges, this.#untilOver(options)));
  }

  async #watch(
    after: bigint,
    onChanges: (set: ChangeSet) => void | Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const shared = this.#shared;
    if (after > shared.revision)
      throw new StoreError("CORRUPT", `history ends before ${after}: a snapshot was restored`, {
        retryable: false,
      });
    let last = after;
    while (!signal.aborted) {
      let set = shared.changesAfter(last);
      if (set === null) {
        await shared.nextPublication(signal);
        continue;
      }
      await this.#link.arrival("watch", { signal });
      // Whatever has come up meanwhile is in the same answer.
      while (set !== null && !signal.aborted) {
        await onChanges(set);
        last = set.revision;
        set = shared.changesAfter(last);
      }
    }
  }

  announce(presence: Presence, ttlSeconds: number, options: AbortOptions): Promise<void> {
    return this.#track(this.#announce(presence, ttlSeconds, this.#untilOver(options)));
  }

  async #announce(presence: Presence, ttlSeconds: number, signal: AbortSignal): Promise<void> {
    const shared = this.#shared;
    const { peerId } = presence;
    while (!signal.aborted) {
      const granted = this.#link.call(
        "announce",
        () => {
          const leaseId = shared.grantLease(ttlSeconds);
          shared.onLeaseEnd(leaseId, () => {
            if (shared.presences.get(peerId)?.leaseId !== leaseId) return;
            shared.presences.delete(peerId);
            shared.publish([{ kind: "presence", peerId, presence: null }]);
          });
          shared.presences.set(peerId, { presence, leaseId });
          shared.publish([{ kind: "presence", peerId, presence }]);
          return leaseId;
        },
        { signal },
      );
      let leaseId: number;
      try {
        leaseId = await granted;
      } catch {
        await this.#link.process.clock.sleep(RETRY_MS, { signal }).catch(() => {});
        continue;
      }
      await this.#keepLease(leaseId, ttlSeconds, signal);
      await this.#revoke(leaseId);
    }
  }

  campaign<T>(
    name: string,
    candidate: string,
    ttlSeconds: number,
    lead: (lost: AbortSignal) => Promise<T>,
    options: AbortOptions = {},
  ): Promise<T> {
    const signal = this.#untilOver(options);
    return this.#track(this.#campaign({ name, candidate, ttlSeconds, signal }, lead));
  }

  async #campaign<T>(
    {
      name,
      candidate,
      ttlSeconds,
      signal,
    }: {
      readonly name: string;
      readonly candidate: string;
      readonly ttlSeconds: number;
      readonly signal: AbortSignal;
    },
    lead: (lost: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const shared = this.#shared;
    for (;;) {
      signal.throwIfAborted();
      // Waited for whatever happens: a place in the queue that nobody knows of would block it for a lease's life.
      const leaseId = await this.#link.call("campaign", () =>
        standFor(shared, name, candidate, ttlSeconds),
      );
      const lost = new AbortController();
      const over = new AbortController();
      const kept = this.#keepLease(
        leaseId,
        ttlSeconds,
        AbortSignal.any([over.signal, this.#over.signal]),
      ).finally(() => lost.abort(new Error("the lease was lost")));
      try {
        const either = AbortSignal.any([signal, lost.signal]);
        while (!either.aborted && shared.queues.get(name)?.[0]?.leaseId !== leaseId) {
          await shared.nextPublication(either);
          await this.#link.arrival("campaign", { signal: either });
        }
        signal.throwIfAborted();
        if (!lost.signal.aborted) return await lead(lost.signal);
      } finally {
        over.abort();
        await kept;
        await this.#revoke(leaseId);
      }
    }
  }

  /** Resolves when the signal aborts, when the server says that the lease is gone, or when nothing was heard of it for its whole life. */
  async #keepLease(leaseId: number, ttlSeconds: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#link.process;
    const ttlMs = ttlSeconds * 1_000;
    let keptAtMs = clock.monotonicMs();
    while (!signal.aborted) {
      await clock.sleep(ttlMs / 3, { signal }).catch(() => {});
      if (signal.aborted) return;
      const askedAtMs = clock.monotonicMs();
      try {
        const lives = await this.#link.call("lease", () => this.#shared.renewLease(leaseId), {
          signal,
        });
        if (!lives) return;
        keptAtMs = askedAtMs;
      } catch {
        if (clock.monotonicMs() - keptAtMs >= ttlMs) return;
      }
    }
  }

  /** Asked for once; a lease that is not revoked runs out. */
  async #revoke(leaseId: number): Promise<void> {
    await this.#link
      .call("revoke", () => this.#shared.endLease(leaseId), { signal: undefined })
      .catch(() => {});
  }

  #untilOver({ signal }: AbortOptions): AbortSignal {
    return signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal]);
  }

  async #track<T>(task: Promise<T>): Promise<T> {
    this.#running.add(task);
    try {
      return await task;
    } finally {
      this.#running.delete(task);
    }
  }
}

const RETRY_MS = 500;

/** The server's part of a candidacy: a lease, and a place at the end of the queue. */
function standFor(
  shared: SharedTally,
  name: string,
  candidate: string,
  ttlSeconds: number,
): number {
  const leaseId = shared.grantLease(ttlSeconds);
  const queue = shared.queues.get(name) ?? [];
  shared.queues.set(name, queue);
  queue.push({ candidate, leaseId });
  shared.onLeaseEnd(leaseId, () => {
    const at = queue.findIndex((entry) => entry.leaseId === leaseId);
    if (at >= 0) queue.splice(at, 1);
    shared.publish([]);
  });
  return leaseId;
}

/** A call's arguments without the signal in its options. */
export function withoutSignal(args: readonly unknown[]): {
  readonly sent: readonly unknown[];
  readonly signal: AbortSignal | undefined;
} {
  let signal: AbortSignal | undefined;
  const sent = args.map((arg) => {
    if (typeof arg !== "object" || arg === null || !("signal" in arg)) return arg;
    if (arg.signal instanceof AbortSignal) signal = arg.signal;
    const { signal: _, ...rest } = arg;
    return rest;
  });
  return { sent, signal };
}

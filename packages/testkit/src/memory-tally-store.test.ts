import type { AbortOptions, Clock } from "@quorate/ports";
import {
  type TallyWorld,
  tallyStoreContract,
  testClusterId,
} from "./contracts/tally-store.contract.ts";
import { SharedTally } from "./memory-tally-shared.ts";
import { MemoryTallyStore } from "./memory-tally-store.ts";

/** Time that moves only when told to. */
class ManualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, { signal }: AbortOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const cancel = this.schedule(ms, resolve);
      signal?.addEventListener("abort", () => {
        cancel();
        reject(signal.reason as Error);
      });
    });
  }

  schedule(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  async advance(ms: number): Promise<void> {
    this.#nowMs += ms;
    const due = [...this.#timers].filter(({ atMs }) => atMs <= this.#nowMs);
    for (const timer of due.sort((a, b) => a.atMs - b.atMs)) {
      if (this.#timers.delete(timer)) timer.callback();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function makeWorld(): Promise<TallyWorld> {
  const clock = new ManualClock();
  const shared = new SharedTally({ clock });
  const clients: MemoryTallyStore[] = [];
  let loseNext: string | null = null;
  return {
    clusterId: testClusterId("memory"),
    client: async () => {
      const name = `client-${clients.length}`;
      const client = new MemoryTallyStore(
        shared,
        { clock },
        {
          name,
          fault: (call) => {
            if (call.operation !== "commit" || loseNext !== call.client) return null;
            loseNext = null;
            return { loseReply: true };
          },
        },
      );
      clients.push(client);
      await client.start();
      return client;
    },
    crash: async (client) => {
      if (client instanceof MemoryTallyStore) client.crash();
    },
    pass: (ms) => clock.advance(ms),
    loseNextCommitReply: async (client) => {
      loseNext = `client-${clients.findIndex((one) => one === client)}`;
    },
    // Memory has no server that could go away.
    restart: async () => {},
    moveEpoch: async (set) => shared.setConfig(set),
    compact: async (revision) => shared.compact(revision),
    writeUnreadable: async () =>
      shared.inject([{ kind: "unreadable", key: "/quorate/memory/junk", problem: "unknown" }]),
    close: async () => {
      await Promise.all(clients.map((client) => client.stop()));
    },
  };
}

tallyStoreContract("memory", makeWorld);

import { LIMITS } from "@quorate/core";
import type { AbortOptions, Clock } from "@quorate/ports";
import { expect, test } from "vitest";
import { TallyFixture, type TallyWorld, testClusterId } from "./contracts/tally-fixture.ts";
import { tallyStoreContract } from "./contracts/tally-store.contract.ts";
import { SharedTally } from "./memory-tally-shared.ts";
import { MemoryTallyStore, type TallyOperation } from "./memory-tally-store.ts";

const WRITES: ReadonlySet<TallyOperation> = new Set(["commit", "bans", "receipts"]);

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
            if (!WRITES.has(call.operation) || loseNext !== call.client) return null;
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
    loseNextReply: async (client) => {
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

test("receipts are gone after their time, without anything being shown", async () => {
  const world = await makeWorld();
  const store = await world.client();
  await store.recordReceipts([new TallyFixture(world.clusterId, 1).receipt(0, 1)]);
  const before = await store.revision();
  await world.pass(LIMITS.receiptsTtlSeconds * 1_000);
  expect(await store.readReceipts(1)).toEqual([]);
  expect(await store.revision()).toBe(before);
  await world.close();
});

import {
  decodeFrame,
  encodeVote,
  FRAME_OVERHEAD_BYTES,
  frameBytesOf,
  LIMITS,
  onlySet,
  openFrame,
  unwrap,
  type VerifiedVote,
} from "@quorate/core";
import type { JournalEntry, VoteJournal } from "@quorate/ports";
import {
  MemoryGossip,
  MemoryNetwork,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  SimClock,
  testCluster,
  txIdOf,
  unsignedVote,
  valueOf,
  vote,
} from "@quorate/testkit";
import { describe, expect, test } from "vitest";
import { nodeMetrics } from "./catalogue.ts";
import { TallyView } from "./tally-view.ts";
import { peek } from "./test-world.ts";
import type { RecordOutcome } from "./vote-pipeline-options.ts";
import { VotePublisher } from "./vote-publisher.ts";

const cluster = testCluster({ trustees: 5, threshold: 4 });

interface DeskOptions {
  readonly frameVotesMax?: number;
  readonly intervalMs?: number;
  /** How late every timer fires. */
  readonly lateMs?: number;
  readonly key?: number;
  readonly journal?: Partial<VoteJournal>;
  readonly recorded?: Readonly<Record<string, number>>;
}

/** A trustee's publisher between a pipeline that answers to order and a peer that listens. */
async function desk({
  frameVotesMax = 256,
  intervalMs = 0,
  lateMs = 0,
  key = 0,
  journal = {},
  recorded: inStore = {},
}: DeskOptions = {}) {
  const clock = new SimClock();
  const network = new MemoryNetwork({ clock });
  const gossip = new MemoryGossip(nodeAt(cluster, key), network);
  const listener = new MemoryGossip(nodeAt(cluster, 4), network);
  const heard: (readonly (readonly [string, bigint])[])[] = [];
  const bytes: number[] = [];
  listener.setValidator(({ data }) => {
    bytes.push(data.length);
    const opened = unwrap(openFrame(unwrap(decodeFrame(data))));
    heard.push(opened.votes.map((s) => [s.vote.txId, s.vote.value]));
    return "ACCEPT";
  });
  await gossip.start();
  await listener.start();
  const recorded: VerifiedVote[] = [];
  const journaled: JournalEntry[] = [];
  const world = {
    clock,
    view: new TallyView(),
    heard,
    bytes,
    recorded,
    journaled,
    looked: [] as string[],
    outcome: { kind: "RECORDED" } as RecordOutcome,
  };
  const publisher = new VotePublisher(
    { nodeId: nodeAt(cluster, 0).nodeId, windowMs: 4, intervalMs, frameVotesMax },
    {
      set: () => cluster.set,
      sets: () => onlySet(cluster.set),
      signer: nodeAt(cluster, key).signer,
      verify: cluster.verify,
      gossip,
      view: world.view,
      clock: {
        nowMs: () => clock.nowMs(),
        monotonicMs: () => clock.monotonicMs(),
        sleep: (ms, options) => clock.sleep(ms, options),
        schedule: (ms, callback) => clock.schedule(ms + lateMs, callback),
      },
      logger: memoryLogger(),
      metrics: nodeMetrics(memoryMetrics()),
      journal: {
        load: async () => ({ entries: [], complete: true }),
        append: async (entries) => void journaled.push(...entries),
        close: async () => {},
        ...journal,
      },
      record: async (v) => {
        recorded.push(v);
        return world.outcome;
      },
      recordedValue: async (txId) => {
        world.looked.push(txId);
        const value = inStore[txId];
        return value === undefined ? undefined : valueOf(value);
      },
    },
  );
  await publisher.load();
  return { ...world, world, publisher };
}

const cast = (
  publisher: VotePublisher,
  txId: string,
  value = 7,
): ReturnType<VotePublisher["cast"]> => publisher.cast(txIdOf(txId), valueOf(value));

describe("batching", () => {
  test("votes that come together share one signature and one message", async () => {
    const { publisher, clock, heard, recorded } = await desk();
    const all = ["a", "b", "c"].map((id) => cast(publisher, id));
    await clock.advance(10);
    expect(await Promise.all(all)).toEqual(Array(3).fill({ kind: "RECORDED" }));
    expect(heard).toEqual([
      [
        ["a", 7n],
        ["b", 7n],
        ["c", 7n],
      ],
    ]);
    expect(new Set(recorded.map((v) => v.proof.signature)).size).toBe(1);
  });

  test("a full frame goes at once, the rest after the window", async () => {
    const { publisher, clock, heard } = await desk({ frameVotesMax: 2 });
    for (const id of ["a", "b", "c"]) void cast(publisher, id);
    await clock.advance(0);
    expect(heard.map((f) => f.length)).toEqual([2]);
    await clock.advance(4);
    expect(heard.map((f) => f.length)).toEqual([2, 1]);
  });

  test("votes that come soon after a frame wait out the interval together, one that comes late goes at once", async () => {
    const { publisher, clock, heard } = await desk({ intervalMs: 30 });
    void cast(publisher, "a");
    await clock.advance(4);
    void cast(publisher, "b");
    await clock.advance(20);
    void cast(publisher, "c");
    expect(heard.map((f) => f.length)).toEqual([1]);
    await clock.advance(10);
    expect(heard.map((f) => f.length)).toEqual([1, 2]);
    await clock.advance(100);
    void cast(publisher, "d");
    await clock.advance(4);
    expect(heard.map((f) => f.length)).toEqual([1, 2, 1]);
  });

  test("a busy core, whose timers fire late, makes fewer frames", async () => {
    const lateMs = 60;
    const { publisher, clock, heard } = await desk({ intervalMs: 30, lateMs });
    for (let i = 0; i < 400; i++) {
      void cast(publisher, `t${i}`);
      await clock.advance(10);
    }
    // With its timers merely late it would send one in 90 ms: at least 40.
    expect(heard.length).toBeLessThan(4_000 / (lateMs + 100));
    expect(Math.max(...heard.map((f) => f.length))).toBeGreaterThan(20);
  });

  test("votes that come while the journal is being written share its next write", async () => {
    const writes: number[] = [];
    let finish: () => void = () => {};
    const { publisher, clock, heard } = await desk({
      journal: {
        append: (entries) => {
          writes.push(entries.length);
          return new Promise((resolve) => {
            finish = resolve;
          });
        },
      },
    });
    void cast(publisher, "a");
    await clock.advance(4);
    for (const id of ["b", "c", "d"]) {
      void cast(publisher, id);
      await clock.advance(10);
    }
    expect([writes, heard]).toEqual([[1], []]);
    finish();
    await clock.advance(4);
    expect(writes).toEqual([1, 3]);
    finish();
    await clock.advance(0);
    expect(heard.map((f) => f.length)).toEqual([1, 3]);
  });

  test("with batching off every vote has a message of its own", async () => {
    const { publisher, clock, heard, recorded } = await desk({ frameVotesMax: 1 });
    for (const id of ["a", "b", "c"]) void cast(publisher, id);
    await clock.advance(10);
    expect(heard.map((f) => f.length)).toEqual([1, 1, 1]);
    expect(recorded.map((v) => v.proof.size)).toEqual([1, 1, 1]);
  });

  test("frames are cut before they outgrow a message, and none is smaller than it must be", async () => {
    const { publisher, clock, heard, bytes, recorded } = await desk();
    const long = (i: number): string => `${i}-`.padEnd(LIMITS.txIdCharsMax, "x");
    const all = Array.from({ length: 256 }, (_, i) => cast(publisher, long(i)));
    await clock.advance(10);
    await Promise.all(all);
    const voteBytes = frameBytesOf(
      encodeVote(unsignedVote(cluster, 0, { txId: long(100), value: 7 })),
    );
    // 256 of the longest ids fit by size as well, so the count alone decides.
    expect(FRAME_OVERHEAD_BYTES + 256 * voteBytes).toBeLessThanOrEqual(LIMITS.voteFrameBytesMax);
    expect(heard.map((f) => f.length)).toEqual([256]);
    expect(Math.max(...bytes)).toBeLessThanOrEqual(LIMITS.voteFrameBytesMax);
    expect(recorded).toHaveLength(256);
  });
});

describe("one value a transaction", () => {
  test("the same value again gives the same outcome, and is signed once", async () => {
    const { publisher, clock, recorded, journaled } = await desk();
    const twice = [cast(publisher, "a"), cast(publisher, "a")];
    await clock.advance(10);
    expect(await Promise.all(twice)).toEqual(Array(2).fill({ kind: "RECORDED" }));
    expect(await cast(publisher, "a")).toEqual({ kind: "RECORDED" });
    expect([recorded.length, journaled.length]).toEqual([1, 1]);
  });

  test("a second value is refused while the first is under way, and after", async () => {
    const { publisher, clock, heard } = await desk();
    void cast(publisher, "a", 7);
    expect(await cast(publisher, "a", 8)).toEqual({ kind: "ALREADY_VOTED", value: 7n });
    await clock.advance(10);
    expect(await cast(publisher, "a", 8)).toEqual({ kind: "ALREADY_VOTED", value: 7n });
    expect(heard).toEqual([[["a", 7n]]]);
  });

  test("what is recorded binds, even when this process did not sign it", async () => {
    const { publisher, view } = await desk();
    const own = vote(cluster, 0, "a", 7);
    view.apply({
      revision: 1n,
      changes: [
        { kind: "status", txId: own.vote.txId, status: "COLLECTING", created: true },
        { kind: "vote", txId: own.vote.txId, vote: own, peerId: own.peerId },
      ],
    });
    expect(await cast(publisher, "a", 7)).toEqual({ kind: "RECORDED" });
    expect(await cast(publisher, "a", 8)).toEqual({ kind: "ALREADY_VOTED", value: 7n });
  });

  test("a value that was refused may be tried again, another one may not", async () => {
    const { publisher, clock, world } = await desk();
    world.outcome = { kind: "REFUSED", code: "QUEUE_FULL" };
    const refused = cast(publisher, "a");
    await clock.advance(10);
    expect(await refused).toEqual({ kind: "REFUSED", code: "QUEUE_FULL" });
    expect(await cast(publisher, "a", 8)).toEqual({ kind: "ALREADY_VOTED", value: 7n });
    world.outcome = { kind: "RECORDED" };
    const again = cast(publisher, "a");
    await clock.advance(10);
    expect(await again).toEqual({ kind: "RECORDED" });
  });

  test("what the journal remembers binds after a crash, and may be published again", async () => {
    const entries = [{ txId: txIdOf("a"), value: valueOf(7) }];
    const { publisher, clock, heard, looked } = await desk({
      journal: { load: async () => ({ entries, complete: true }) },
    });
    expect(await cast(publisher, "a", 8)).toEqual({ kind: "ALREADY_VOTED", value: 7n });
    const again = cast(publisher, "a", 7);
    await clock.advance(10);
    expect(await again).toEqual({ kind: "RECORDED" });
    expect(heard).toEqual([[["a", 7n]]]);
    expect(looked).toEqual([]);
  });

  test("a journal that does not reach back is completed from the store", async () => {
    const { publisher, clock, heard } = await desk({
      journal: { load: async () => ({ entries: [], complete: false }) },
      recorded: { a: 7 },
    });
    expect(await cast(publisher, "a", 8)).toEqual({ kind: "ALREADY_VOTED", value: 7n });
    const fresh = cast(publisher, "b", 8);
    await clock.advance(10);
    expect(await fresh).toEqual({ kind: "RECORDED" });
    expect(heard).toEqual([[["b", 8n]]]);
  });

  test("two different values at once, with a slow look-up, are not both signed", async () => {
    const { publisher, clock, heard } = await desk({
      journal: { load: async () => ({ entries: [], complete: false }) },
    });
    const both = [cast(publisher, "a", 7), cast(publisher, "a", 8)];
    await clock.advance(10);
    const kinds = (await Promise.all(both)).map((o) => o.kind);
    expect(kinds.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(["ALREADY_VOTED", "RECORDED"]);
    expect(heard.flat()).toHaveLength(1);
  });
});

describe("persist, then emit", () => {
  test("nothing is published or recorded before the journal has it", async () => {
    const durable = Promise.withResolvers<void>();
    const { publisher, clock, heard, recorded } = await desk({
      journal: { append: () => durable.promise },
    });
    const outcome = peek(cast(publisher, "a"));
    await clock.advance(1_000);
    expect([heard.length, recorded.length]).toEqual([0, 0]);
    durable.resolve();
    await clock.advance(10);
    expect([heard.length, recorded.length]).toEqual([1, 1]);
    expect(outcome.value()).toEqual({ kind: "RECORDED" });
  });

  test("without a journal nothing is signed", async () => {
    const { publisher, clock, heard, recorded } = await desk({
      journal: { append: () => Promise.reject(new Error("no space")) },
    });
    const outcome = cast(publisher, "a");
    await clock.advance(10);
    expect(await outcome).toEqual({ kind: "REFUSED", code: "JOURNAL_FAILED" });
    expect([heard.length, recorded.length]).toEqual([0, 0]);
  });

  test("stop publishes what waits, and refuses what comes later", async () => {
    const { publisher, clock, heard } = await desk();
    const waiting = cast(publisher, "a");
    await clock.advance(0);
    await publisher.stop();
    await clock.advance(0);
    expect(await waiting).toEqual({ kind: "RECORDED" });
    expect(heard).toHaveLength(1);
    expect(await cast(publisher, "b")).toEqual({ kind: "REFUSED", code: "STOPPED" });
  });
});

test("a node whose key is not the one that the set names signs nothing", async () => {
  const { publisher, clock, heard, journaled } = await desk({ key: 1 });
  expect(await cast(publisher, "a")).toEqual({ kind: "NOT_A_TRUSTEE" });
  await clock.advance(10);
  expect([heard.length, journaled.length]).toEqual([0, 0]);
});

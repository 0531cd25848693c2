import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  isArchived,
  LIMITS,
  onlySet,
  type SignedVote,
  type TxId,
  type VerifiedVote,
} from "@quorate/core";
import type { PurgeLevel } from "@quorate/ports";
import {
  MemoryGossip,
  MemoryNetwork,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  TallyFold,
  testCluster,
  txIdOf,
  valueOf,
  vote,
} from "@quorate/testkit";
import { afterEach, expect, test } from "vitest";
import { nodeMetrics } from "./catalogue.ts";
import { DeadlineMonitor } from "./deadline-monitor.ts";
import { peek, tx, World, type WorldNode } from "./test-world.ts";
import { VotePublisher } from "./vote-publisher.ts";

let world: World;
afterEach(() => world?.close());

const cast = (node: WorldNode, voter: number, id: string, value = 7): VerifiedVote => {
  const signed = vote(world.cluster, voter, id, value);
  node.pipeline.offer(signed);
  return signed;
};

/** Split over three values, and so aborted with nobody to blame. */
async function abort(id: string): Promise<void> {
  const [node] = world.nodes;
  if (node === undefined) throw new Error("a node runs");
  for (let i = 0; i < 4; i++) cast(node, i, id, 7 + i);
  await world.clock.advance(1_000);
  expect((await world.snapshot(id)).status).toBe("ABORTED_BYZANTINE");
}

async function purge(id: string, level: PurgeLevel): Promise<void> {
  const throughRevision = await world.store.revision();
  expect(await world.store.purge([{ txId: tx(id), level, throughRevision }])).toEqual(["purged"]);
}

test("a vote on an archived transaction is refused for that reason, by a node that saw it and by one that did not", async () => {
  // A view of two forgets the transaction before it is purged.
  for (const level of ["votes", "all"] as const)
    for (const viewEntriesMax of [2, LIMITS.viewTransactionsMax]) {
      world = await World.open({ running: 2, viewEntriesMax });
      await abort("tx");
      for (const id of ["x", "y", "z"]) await abort(id);
      await purge("tx", level);
      await world.clock.advance(100);
      for (const node of world.nodes) {
        const late = peek(node.pipeline.record(vote(world.cluster, 4, "tx", 7)));
        await world.clock.advance(2_000);
        expect(late.value()).toEqual({ kind: "REFUSED", code: "ARCHIVED" });
        expect(node.refusals.at(-1)).toMatchObject({ code: "ARCHIVED" });
        expect(node.pipeline.pendingVotes).toBe(0);
      }
      const snapshot = await world.snapshot("tx");
      expect(isArchived(snapshot)).toBe(true);
      expect(snapshot.status).toBe(level === "votes" ? "ABORTED_BYZANTINE" : null);
      await world.close();
    }
});

test("two different votes on an archived transaction are a proof all the same", async () => {
  world = await World.open({ running: 1 });
  await abort("tx");
  await purge("tx", "all");
  const [node] = world.nodes;
  if (node === undefined) throw new Error("a node runs");
  cast(node, 4, "tx", 7);
  await world.clock.advance(1_000);
  cast(node, 4, "tx", 8);
  await world.clock.advance(2_000);
  expect(node.bans.map(({ peerId, grade }) => [peerId, grade])).toEqual([
    [nodeAt(world.cluster, 4).peerId, "PROOF"],
  ]);
});

test("nobody is called silent in a transaction whose votes are archived", async () => {
  world = await World.open({ running: 1, protocol: { deadlineMs: 5_000 } });
  const [node] = world.nodes;
  if (node === undefined) throw new Error("a node runs");
  const monitor = new DeadlineMonitor(
    { nodeId: nodeAt(world.cluster, 0).nodeId, staggerMs: 250, intervalMs: 200 },
    {
      sets: () => world.sets,
      store: node.store,
      view: node.view,
      pipeline: node.pipeline,
      clock: world.clock,
      logger: node.logger,
    },
  );
  const stop = new AbortController();
  void monitor.run({ signal: stop.signal });
  const id = "tx";
  for (let i = 0; i < 4; i++) cast(node, i, id);
  await world.clock.advance(100);
  // Decided and purged before its deadline, as only a mistaken configuration would.
  const { snapshot, version } = await world.store.read(tx(id));
  const { epochVersion } = await world.store.readConfig();
  const decision = { kind: "SUBMIT", value: valueOf(7) } as const;
  const none = { newVotes: [], counts: new Map(), violations: [], bans: [] };
  const writes = { txId: tx(id), ...none, silenceStreaks: new Map(), record: snapshot.record };
  await world.store.commit(
    [{ version, writes: { ...writes, status: "CONFIRMED", decision } }],
    epochVersion,
  );
  await purge(id, "votes");
  monitor.onView([tx(id)]);
  await world.clock.advance(10_000);
  const operations = node.operations.filter((name) => name !== "lease").length;
  await world.clock.advance(10_000);
  // It is not asked about again and again either.
  expect(node.operations.filter((name) => name !== "lease")).toHaveLength(operations);
  expect((await world.snapshot(id)).record?.absent).toBeNull();
  expect(await world.store.readSilenceStreaks()).toEqual(new Map());
  expect(node.pipeline.pendingVotes).toBe(0);
  stop.abort(new Error("the test is over"));
});

test("decide takes nothing from votes on an archived transaction, whatever else is asked of it", () => {
  const cluster = testCluster({ trustees: 5, threshold: 4 });
  const fold = new TallyFold(cluster.set);
  const txId = txIdOf("tx");
  fold.commit(txId, { votes: [0, 1, 2, 3].map((i) => vote(cluster, i, txId, 7)) });
  const decision = { kind: "SUBMIT", value: valueOf(7) } as const;
  const whole = { ...fold.snapshot(txId), status: "CONFIRMED", decision } as const;
  const bare = { ...whole, votes: new Map<never, SignedVote>() };
  const gone = { ...bare, status: null, record: null };
  const context = {
    set: cluster.set,
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: cluster.verify,
  };
  const input = {
    votes: [vote(cluster, 4, txId, 8), vote(cluster, 4, txId, 7)],
    nowMs: 10 ** 12,
    deadlinePassed: true,
  };
  expect(decide(whole, input, context).writes).not.toBeNull();
  for (const snapshot of [bare, gone])
    expect(decide(snapshot, input, context)).toEqual({
      outcomes: [0, 1].map(() => ({ kind: "REFUSED", code: "ARCHIVED" })),
      writes: null,
      outage: false,
      more: false,
    });
});

test("a trustee does not sign again for a transaction that it knows to be archived, or that etcd says is", async () => {
  world = await World.open({ running: 1 });
  const [node] = world.nodes;
  if (node === undefined) throw new Error("a node runs");
  const { cluster, clock } = world;
  const signed: TxId[] = [];
  let asked = 0;
  const publisher = new VotePublisher(
    { nodeId: nodeAt(cluster, 0).nodeId, windowMs: 4, intervalMs: 0, frameVotesMax: 256 },
    {
      set: () => cluster.set,
      sets: () => onlySet(cluster.set),
      signer: nodeAt(cluster, 0).signer,
      verify: cluster.verify,
      gossip: new MemoryGossip(nodeAt(cluster, 0), new MemoryNetwork({ clock })),
      view: node.view,
      clock,
      logger: memoryLogger(),
      metrics: nodeMetrics(memoryMetrics()),
      journal: {
        load: async () => ({ entries: [], complete: true }),
        append: async () => {},
        close: async () => {},
      },
      record: (v) => {
        signed.push(v.vote.txId);
        return node.pipeline.record(v);
      },
      recordedValue: async (txId) => {
        asked++;
        return isArchived((await world.store.read(txId)).snapshot) ? "archived" : undefined;
      },
    },
  );
  await publisher.load();
  const castOwn = async (): Promise<unknown> => {
    const outcome = peek(publisher.cast(tx("tx"), valueOf(7)));
    await clock.advance(2_000);
    return outcome.value();
  };
  expect(await castOwn()).toEqual({ kind: "RECORDED" });
  for (let i = 1; i < 4; i++) cast(node, i, "tx", 7 + i);
  await clock.advance(100);
  await purge("tx", "votes");
  await clock.advance(100);
  expect(node.view.isArchived(tx("tx"))).toBe(true);
  expect(await castOwn()).toEqual({ kind: "REFUSED", code: "ARCHIVED" });
  expect(asked).toBe(0);
  await purge("tx", "all");
  // Out of view: only etcd knows.
  node.view.distrust(tx("tx"));
  expect(node.view.isArchived(tx("tx"))).toBe(false);
  expect(await castOwn()).toEqual({ kind: "REFUSED", code: "ARCHIVED" });
  expect(signed).toEqual([tx("tx")]);
});

import { DEFAULT_PROTOCOL_CONFIG, doubleVotingEvidence, type PeerId } from "@quorate/core";
import type { BanEntry } from "@quorate/ports";
import {
  MemoryGossip,
  MemoryNetwork,
  MemoryTallyStore,
  memoryAccusationJournal,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  nodeEd25519,
  SharedTally,
  SimClock,
  type TallyFault,
  testCluster,
  vote,
} from "@quorate/testkit";
import { afterEach, expect, test } from "vitest";
import { TrusteeNode } from "./trustee-node.ts";

const cluster = testCluster({ trustees: 5, threshold: 4 });
const next = testCluster({ trustees: 4, threshold: 3, epoch: 2 });

class Start {
  readonly clock = new SimClock();
  readonly shared = new SharedTally({ clock: this.clock });
  readonly store = new MemoryTallyStore(this.shared, { clock: this.clock });
  /** What happened, in order. */
  readonly steps: string[] = [];
  beforeBansAreRead: () => Promise<void> = async () => {};
  storeIsAway = false;
  readonly node = this.#make();

  #make(): TrusteeNode {
    const { nodeId, signer } = nodeAt(cluster, 0);
    const { steps } = this;
    const beforeBansAreRead = async (): Promise<void> => this.beforeBansAreRead();
    class WatchedStore extends MemoryTallyStore {
      override async readBans(): ReturnType<MemoryTallyStore["readBans"]> {
        await beforeBansAreRead();
        return super.readBans();
      }
    }
    class WatchedGossip extends MemoryGossip {
      override ban(peer: PeerId): void {
        steps.push(`ban ${peer}`);
        super.ban(peer);
      }
      override setAuthors(peers: readonly PeerId[]): void {
        steps.push(`authors ${peers.length}`);
        super.setAuthors(peers);
      }
      override async start(): Promise<void> {
        steps.push("port opens");
        await super.start();
      }
    }
    const fault = (): TallyFault => (this.storeIsAway ? { failBefore: true } : {});
    const store = new WatchedStore(this.shared, { clock: this.clock }, { fault });
    const network = new MemoryNetwork({ clock: this.clock });
    const gossip = new WatchedGossip(nodeAt(cluster, 0), network);
    return new TrusteeNode(
      {
        clusterId: cluster.set.clusterId,
        nodeId,
        protocol: DEFAULT_PROTOCOL_CONFIG,
        pipeline: { windowMs: 4, staggerMs: 150, batchMax: 100, batchesInFlightMax: 4 },
        publisher: { windowMs: 4, intervalMs: 30, frameVotesMax: 256 },
        presenceTtlSeconds: 10,
        apiUrl: null,
        version: "0",
      },
      {
        store,
        gossip,
        signer,
        ed25519: nodeEd25519,
        journal: {
          load: async () => ({ entries: [], complete: true }),
          append: async () => {},
          close: async () => {},
        },
        accusations: memoryAccusationJournal(),
        clock: this.clock,
        logger: memoryLogger(),
        metrics: memoryMetrics(),
        onFatal: () => {},
      },
    );
  }
}

let started: Start | null = null;

afterEach(async () => {
  const stopped = started?.node.stop({ signal: AbortSignal.abort() });
  await started?.clock.advance(20_000);
  await stopped;
  started = null;
});

async function prepared(): Promise<Start> {
  started = new Start();
  await started.store.initCluster(cluster.set);
  return started;
}

const banned = (index: number, votesOf: number): BanEntry => {
  const { peerId, nodeId } = nodeAt(cluster, index);
  const evidence = doubleVotingEvidence(
    vote(cluster, votesOf, "tx", 7),
    vote(cluster, votesOf, "tx", 8),
  );
  return { peerId, nodeId, reason: "DOUBLE_VOTING", grade: "PROOF", bannedAtMs: 0, evidence };
};

test("who is banned is shut out, and who may speak is known, before the port opens", async () => {
  const start = await prepared();
  await start.store.recordBan(banned(1, 1));
  await start.node.start();
  expect(start.steps.slice(0, 3).sort()).toEqual(
    [`ban ${nodeAt(cluster, 1).peerId}`, "authors 5", "port opens"].sort(),
  );
  expect(start.steps[2]).toBe("port opens");
});

test("a forged ban that is there at the start shuts nobody out", async () => {
  const start = await prepared();
  await start.store.recordBan(banned(2, 1));
  await start.node.start();
  expect(start.steps).toEqual(["authors 5", "port opens"]);
  expect(start.node.view.bans.size).toBe(0);
  await start.clock.advance(100);
  expect((await start.store.readBans()).bans.size).toBe(0);
});

test("a change of trustees while a node starts is not missed", async () => {
  const start = await prepared();
  start.beforeBansAreRead = async () => {
    const { epochVersion } = await start.store.readConfig();
    await start.store.changeTrustees(next.set, epochVersion);
  };
  await start.node.start();
  await start.clock.advance(100);
  expect(start.node.set.epoch).toBe(2);
});

test("an idle node is not ready while its store is away, and ready again when it is back", async () => {
  const start = await prepared();
  const etcd = () => start.node.checks().find(({ name }) => name === "etcd");
  await start.node.start();
  await start.clock.advance(10_000);
  expect(etcd()).toMatchObject({ ok: true });
  start.storeIsAway = true;
  await start.clock.advance(5_000);
  expect(etcd()).toMatchObject({ ok: false, detail: expect.stringContaining("not answered") });
  start.storeIsAway = false;
  await start.clock.advance(2_000);
  expect(etcd()).toMatchObject({ ok: true });
});

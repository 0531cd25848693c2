import { DEFAULT_PROTOCOL_CONFIG, decide } from "@quorate/core";
import { TallyView } from "@quorate/engine";
import type { ChangeSet } from "@quorate/ports";
import {
  MemoryTallyStore,
  nodeAt,
  SharedTally,
  SimClock,
  testCluster,
  txIdOf,
  vote,
} from "@quorate/testkit";
import { expect, it } from "vitest";
import { eventsOf } from "./events.ts";

const cluster = testCluster({ trustees: 3, threshold: 2 });
const { set } = cluster;

it("a revision is told as what is committed: the transaction as it is now, and each ban with it", async () => {
  const shared = new SharedTally({ clock: new SimClock() });
  const store = new MemoryTallyStore(shared, { clock: new SimClock() });
  await store.initCluster(set);
  const view = new TallyView();
  const news = (): readonly object[] => {
    const events: object[] = [];
    for (let next: ChangeSet | null; (next = shared.changesAfter(view.revision)) !== null; )
      events.push(...eventsOf(next, view.apply(next), { view, set }));
    return events;
  };
  news();
  const { epochVersion } = await store.readConfig();
  const cast = async (index: number, value: number): Promise<void> => {
    const { snapshot, version } = await store.read(txIdOf("a"));
    const { writes } = decide(
      snapshot,
      { votes: [vote(cluster, index, "a", value)], nowMs: 0, deadlinePassed: false },
      {
        set,
        config: DEFAULT_PROTOCOL_CONFIG,
        bans: new Map(),
        silenceStreaks: new Map(),
        verify: cluster.verify,
      },
    );
    if (writes === null) throw new Error("nothing to commit");
    await store.commit([{ version, writes }], epochVersion);
  };
  await cast(0, 7);
  expect(news()).toMatchObject([
    {
      type: "transaction",
      transaction: { txId: "a", status: "COLLECTING", votes: [{ value: "7" }] },
    },
  ]);
  await cast(0, 8);
  const { nodeId, peerId } = nodeAt(cluster, 0);
  const told = news();
  expect(told).toContainEqual(
    expect.objectContaining({
      type: "ban",
      peerId,
      nodeId,
      reason: "DOUBLE_VOTING",
      grade: "PROOF",
    }),
  );
  expect(told).toContainEqual(
    expect.objectContaining({ type: "violation", peerId, violation: "DOUBLE_VOTING", txId: "a" }),
  );
  expect(told[0]).toMatchObject({
    type: "transaction",
    transaction: { status: "ABORTED_BYZANTINE" },
  });
  expect(() => JSON.stringify(told)).not.toThrow();
});

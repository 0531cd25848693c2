import { addTrustee, removeTrustee, type TrusteeChange, type TrusteeSet } from "@quorate/core";
import { StoreError } from "@quorate/ports";
import { nodeAt, testCluster, vote } from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { peek, tx, World } from "./test-world.ts";
import { changeTrustees, drainTrustee } from "./trustee-changes.ts";

/** Six nodes with keys; the first four are the cluster that runs. */
const many = testCluster({ trustees: 6, threshold: 3 });
const add =
  (index: number) =>
  (set: TrusteeSet): TrusteeChange =>
    addTrustee(set, nodeAt(many, index).trustee);
const remove =
  (index: number) =>
  (set: TrusteeSet): TrusteeChange =>
    removeTrustee(set, nodeAt(many, index).nodeId);

let world: World;

beforeEach(async () => {
  world = await World.open({ trustees: 4, threshold: 3, running: 1 });
});
afterEach(async () => {
  await world.close();
});

async function inForce(): Promise<string> {
  const { set } = await world.config();
  return `${set.epoch}: ${set.threshold} of ${set.trustees.map((t) => t.nodeId).join(" ")}`;
}

describe("a change of the trustees", () => {
  test("puts the next epoch in force", async () => {
    const outcome = await changeTrustees(add(4), world);
    expect(outcome).toMatchObject({ kind: "changed", before: { epoch: 1 }, set: { epoch: 2 } });
    expect(await inForce()).toBe("2: 3 of node-001 node-002 node-003 node-004 node-005");
  });

  test("that speaks against the rules writes nothing", async () => {
    const outcome = await changeTrustees(add(2), world);
    expect(outcome).toMatchObject({
      kind: "refused",
      before: { epoch: 1 },
      problems: ["node-003 is a trustee of epoch 1 already, with this key"],
    });
    expect(await inForce()).toMatch(/^1: /);
  });

  test("that loses a race is made again on the winner's set, and keeps the winner's change", async () => {
    const seen: number[] = [];
    let first = true;
    const outcome = await changeTrustees(add(4), {
      clock: world.clock,
      onLostRace: (now) => void seen.push(now.epoch),
      store: {
        readConfig: (options) => world.store.readConfig(options),
        changeTrustees: async (next, version, options) => {
          // Somebody else comes in between the read and the write.
          if (first) await changeTrustees(add(5), world);
          first = false;
          return await world.store.changeTrustees(next, version, options);
        },
      },
    });
    expect(seen).toEqual([2]);
    expect(outcome).toMatchObject({ kind: "changed", before: { epoch: 2 }, set: { epoch: 3 } });
    expect(await inForce()).toBe("3: 3 of node-001 node-002 node-003 node-004 node-005 node-006");
  });

  test("that loses every race gives up and says so", async () => {
    const outcome = await changeTrustees(add(4), {
      clock: world.clock,
      store: {
        readConfig: (options) => world.store.readConfig(options),
        changeTrustees: async () => "conflict",
      },
    });
    expect(outcome).toMatchObject({
      kind: "refused",
      problems: [expect.stringMatching(/5 times/)],
    });
  });

  test("whose reply is lost is in force once", async () => {
    let lost = 0;
    const changing = changeTrustees(add(4), {
      clock: world.clock,
      store: {
        readConfig: (options) => world.store.readConfig(options),
        changeTrustees: async (next, version, options) => {
          const outcome = await world.store.changeTrustees(next, version, options);
          if (lost++ < 2) throw new StoreError("TIMEOUT", "lost its reply", { retryable: true });
          return outcome;
        },
      },
    });
    const outcome = peek(changing);
    await world.clock.advance(2_000);
    expect(outcome.value()).toMatchObject({ kind: "changed", set: { epoch: 2 } });
    expect(await inForce()).toBe("2: 3 of node-001 node-002 node-003 node-004 node-005");
    expect(world.changes("config")).toHaveLength(2);
  });
});

describe("a leaving trustee", () => {
  const cast = (index: number, txId: string, value = 7): void =>
    void world.nodes[0]?.pipeline.offer(
      vote(world.cluster, index, txId, value, world.clock.nowMs()),
    );

  /** Removes the trustee at an index and drains it. */
  async function leave(index: number) {
    expect((await changeTrustees(remove(index), world)).kind).toBe("changed");
    const open: number[] = [];
    const stop = new AbortController();
    const draining = drainTrustee(
      nodeAt(world.cluster, index),
      { store: world.store, clock: world.clock, onProgress: (n) => void open.push(n) },
      { signal: stop.signal },
    );
    const done = peek(draining.then(() => true));
    await world.clock.advance(1);
    return { open, done, stop };
  }

  test("may stop at once when nothing is open", async () => {
    const { open, done } = await leave(3);
    expect([open, done.value()]).toEqual([[0], true]);
  });

  test("is needed while a transaction of its epoch collects votes, and no longer", async () => {
    cast(0, "tx");
    cast(1, "tx");
    await world.clock.advance(50);
    const { open, done } = await leave(3);
    await world.clock.advance(2_000);
    expect([open, done.value()]).toEqual([[1], null]);
    // Its vote counts: it is the third of three.
    cast(3, "tx");
    await world.clock.advance(1_000);
    expect((await world.snapshot("tx")).status).toBe("THRESHOLD_REACHED");
    expect([open, done.value()]).toEqual([[1, 0], true]);
  });

  test("is waited for when others have decided and its own vote may still come", async () => {
    for (const index of [0, 1, 2]) cast(index, "tx");
    await world.clock.advance(50);
    expect((await world.snapshot("tx")).status).toBe("THRESHOLD_REACHED");
    const { done } = await leave(3);
    await world.clock.advance(5_000);
    expect(done.value()).toBeNull();
    cast(3, "tx");
    await world.clock.advance(1_000);
    expect(done.value()).toBe(true);
  });

  test("is not waited for beyond the deadline", async () => {
    for (const index of [0, 1, 2]) cast(index, "tx");
    await world.clock.advance(50);
    const { done } = await leave(3);
    await world.clock.advance(world.protocol.deadlineMs + 1_000);
    expect(done.value()).toBe(true);
  });

  test("has nothing to do with the transactions that open after it has left", async () => {
    await changeTrustees(remove(3), world);
    await world.clock.advance(10);
    const { set } = await world.config();
    const later = { ...world.cluster, set };
    world.nodes[0]?.pipeline.offer(vote(later, 0, "later", 7, world.clock.nowMs()));
    await world.clock.advance(50);
    expect((await world.store.read(tx("later"))).snapshot.record?.epoch).toBe(2);
    const done = peek(drainTrustee(nodeAt(world.cluster, 3), world).then(() => true));
    await world.clock.advance(1);
    expect(done.value()).toBe(true);
  });
});

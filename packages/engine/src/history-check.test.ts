import { RESTORED_REASON } from "@quorate/core";
import { txIdOf, valueOf } from "@quorate/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { FencedError } from "./fenced-error.ts";
import type { HistoryCheck } from "./history-check.ts";
import { SenderWorld } from "./test-sender-world.ts";

let world: SenderWorld;

beforeEach(() => {
  world = new SenderWorld();
});

const options = (): { readonly signal: AbortSignal } => ({ signal: world.signal });
const frozen = async (): Promise<string | null> =>
  (await world.submissions.senderState(world.sender))?.frozen?.reason ?? null;

/** A leader from start to a chosen number of heads, as the service runs it. */
async function lead(
  heads: number,
  check: HistoryCheck = world.history(),
): Promise<{ check: HistoryCheck; sender: ReturnType<SenderWorld["senderWith"]> }> {
  const sender = world.senderWith(await check.lead(options()));
  for (let i = 0; i < heads; i++) {
    await sender.sendQueued(options());
    await world.heads(sender, 1);
    await check.onHead(options());
  }
  return { check, sender };
}

/** Records some results as an earlier life of the database did, which is then forgotten. */
async function formerLife(...ids: readonly string[]): Promise<void> {
  await world.queue(...ids);
  await lead(5 + ids.length);
  expect(await world.states(...ids)).toEqual(ids.map(() => "FINALIZED"));
  world.submissions = world.newStore();
}

describe("a database that lost its history", () => {
  test("to an older state is noticed by the nonces that the chain knows, and nothing is signed twice", async () => {
    await formerLife("a", "b");
    // The older state knew the sender, and "a" was not yet sent.
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.queue("a", "c");
    const { check } = await lead(6);
    expect(check.problem).toContain("frozen");
    expect(await world.states("a", "c")).toEqual(["FINALIZED", "QUEUED"]);
    expect(check.report).toMatchObject({ settled: 1, unknownKeys: 1, contradicted: 0 });
    expect(await frozen()).toContain("differed from the chain");
    expect(await world.recorded(txIdOf("a"))).toBe(1);
  });

  test("goes on when a person thaws it, above every nonce that was used", async () => {
    await formerLife("a");
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.queue("a", "c");
    const { check, sender } = await lead(4);
    expect(await world.states("c")).toEqual(["QUEUED"]);
    await world.submissions.thaw(world.sender, "operator");
    for (let i = 0; i < 4; i++) {
      await check.onHead(options());
      await sender.sendQueued(options());
      await world.heads(sender, 1);
    }
    expect(check.problem).toBeNull();
    expect(await world.states("a", "c")).toEqual(["FINALIZED", "FINALIZED"]);
    expect([await world.recorded(txIdOf("a")), await world.recorded(txIdOf("c"))]).toEqual([1, 1]);
    expect(await world.chain.transactionCount(world.sender.address, "latest")).toBe(2n);
  });

  test("altogether takes over what the contract holds before it signs anything", async () => {
    await formerLife("a");
    const { check } = await lead(1);
    expect(check.report).toMatchObject({ unknownKeys: 1 });
    expect(await frozen()).toContain("differed from the chain");
    await world.queue("a");
    expect(await world.states("a")).toEqual(["FINALIZED"]);
  });

  test("and holds another value than the chain is quarantined, never sent", async () => {
    world.chain.plant(txIdOf("a"), valueOf(8));
    world.chain.mine(3);
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.submissions.freeze(world.sender, `${RESTORED_REASON}the backup`);
    await world.queue("a");
    await lead(2);
    expect(await world.states("a")).toEqual(["QUARANTINED"]);
    expect(world.chain.sent).toEqual([]);
    expect(world.metrics.value("submitter_history_differences")).toBe(1);
  });
});

describe("a database restored to what the chain knows", () => {
  test("thaws by itself when nothing differs, and then sends", async () => {
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.submissions.freeze(world.sender, `${RESTORED_REASON}the backup of yesterday`);
    await world.queue("a");
    world.chain.mine(3);
    const { check, sender } = await lead(1);
    expect(await frozen()).toBeNull();
    expect(check.problem).toBeNull();
    expect(world.metrics.value("submitter_frozen")).toBe(0);
    await sender.sendQueued(options());
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
  });

  test("waits until every nonce below the floor is final", async () => {
    await world.submissions.becomeLeader(world.sender, 0n);
    world.chain.takeNonce(world.sender.address);
    const { check } = await lead(1);
    expect(await frozen()).toContain("history lost");
    expect(check.problem).toContain("the chain knows 1 transactions");
    const { check: later } = await lead(3, check);
    expect(later.problem).toBeNull();
    expect(await frozen()).toBeNull();
  });

  test("stays frozen while endpoints do not agree", async () => {
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.submissions.freeze(world.sender, `${RESTORED_REASON}the backup`);
    world.chain.mine(3);
    const check = world.history();
    await check.lead(options());
    world.chainFault = () => ({ disagree: true });
    await check.onHead(options());
    expect(await frozen()).toContain(RESTORED_REASON);
  });
});

test("what a person froze never thaws by itself", async () => {
  await world.submissions.becomeLeader(world.sender, 0n);
  await world.submissions.freeze(world.sender, "maintenance");
  world.chain.mine(3);
  await world.queue("a");
  await lead(5);
  expect(await frozen()).toBe("maintenance");
  expect(await world.states("a")).toEqual(["QUEUED"]);
});

test("a deposed leader imports nothing", async () => {
  await world.submissions.becomeLeader(world.sender, 0n);
  await world.submissions.freeze(world.sender, `${RESTORED_REASON}the backup`);
  const check = world.history();
  await check.lead(options());
  world.chain.mine(3);
  await world.submissions.becomeLeader(world.sender, 0n);
  await expect(check.onHead(options())).rejects.toBeInstanceOf(FencedError);
});

test("a block that was final and leaves the chain freezes the sender until a person looks", async () => {
  const sender = world.senderWith(await world.lead());
  world.chain.mine(10);
  await world.queue("a", "b", "c", "d", "e", "f", "g", "h");
  await sender.sendQueued(options());
  await world.heads(sender, 3);
  expect(await world.states("a")).toEqual(["FINALIZED"]);
  await sender.sendQueued(options());
  world.chain.poolHeld = true;
  world.chain.reorg(4);
  await world.heads(sender, 5);
  expect(await frozen()).toContain("is no longer on the chain");
});

describe("what a crash or a failure interrupts", () => {
  test("between the import and the freeze is begun again: what differed is in the database", async () => {
    await formerLife("a");
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.submissions.freeze(world.sender, `${RESTORED_REASON}the backup`);
    world.storeFault = (operation, when) => {
      if (operation === "importRecords" && when === "after") throw new Error("killed");
    };
    await expect(lead(4)).rejects.toThrow("killed");
    world.storeFault = () => {};
    await world.queue("c");
    await lead(4);
    expect(await frozen()).toContain("differed from the chain");
    expect(await world.states("c")).toEqual(["QUEUED"]);
  });

  test("in a first import is finished before anything is signed", async () => {
    await formerLife("a");
    let isAway = true;
    world.storeFault = (operation, when) => {
      if (operation === "importRecords" && when === "before" && isAway) throw new Error("away");
    };
    await world.queue("c");
    await expect(lead(1)).rejects.toThrow("away");
    expect(await world.states("c")).toEqual(["QUEUED"]);
    isAway = false;
    await lead(2);
    expect(await world.states("c")).toEqual(["QUEUED"]);
    expect(await frozen()).toContain("differed from the chain");
  });

  test("by endpoints that disagree waits, and nothing is signed meanwhile", async () => {
    world.chainFault = () => ({ disagree: true });
    await world.queue("a");
    const { check } = await lead(3);
    expect(await world.states("a")).toEqual(["QUEUED"]);
    expect(check.problem).toContain("held against the chain");
    world.chainFault = () => null;
    await lead(4);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
  });

  test("by a person's freeze is finished all the same", async () => {
    await formerLife("a");
    await world.submissions.becomeLeader(world.sender, 0n);
    await world.submissions.freeze(world.sender, `${RESTORED_REASON}the backup`);
    await world.submissions.freeze(world.sender, "maintenance");
    await lead(4);
    const state = await world.submissions.senderState(world.sender);
    expect(state).toMatchObject({ historyChecked: true, historyDiffers: true });
    expect(await frozen()).toBe("maintenance");
  });
});

test("nonces that somebody else uses under a leader freeze it until they are final, and cost no value", async () => {
  const { check, sender } = await lead(3);
  for (let i = 0; i < 10; i++) world.chain.takeNonce(world.sender.address);
  await world.queue("a", "b", "c");
  await check.onHead(options());
  expect(await frozen()).toContain("history lost");
  expect((await world.submissions.senderState(world.sender))?.nextNonce).toBe(10n);
  for (let i = 0; i < 8; i++) {
    await sender.sendQueued(options());
    await world.heads(sender, 1);
    await check.onHead(options());
  }
  expect(await frozen()).toBeNull();
  expect(await world.states("a", "b", "c")).toEqual(["FINALIZED", "FINALIZED", "FINALIZED"]);
});

test("one endpoint that lies about a final block freezes nothing", async () => {
  const { sender } = await lead(4);
  await world.queue("a");
  await sender.sendQueued(options());
  world.chainFault = () => ({ disagree: true });
  await world.heads(sender, 5);
  expect(await frozen()).toBeNull();
});

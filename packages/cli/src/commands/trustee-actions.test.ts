import { type PeerId, parseNodeId, peerIdOf, type TrusteeSet, unwrap } from "@quorate/core";
import type { Presence, TallyStore } from "@quorate/ports";
import { MemoryTallyStore, nodeAt, SharedTally, SimClock, testCluster } from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recordingTerminal } from "../test-terminal.ts";
import {
  type AddOptions,
  addTrusteeAction,
  changeThresholdAction,
  listTrustees,
  removeTrusteeAction,
  type TrusteeWorld,
} from "./trustee-actions.ts";

const CLUSTER = testCluster({ trustees: 4, threshold: 3, clusterId: "quorate" });
/** Has the keys of those four and of two more. */
const MORE = testCluster({ trustees: 6, threshold: 3, clusterId: "quorate" });
const NEW = nodeAt(MORE, 4);
const COMMON = { etcd: ["http://127.0.0.1:9"], cluster: "quorate" };
const ADD: AddOptions = {
  ...COMMON,
  peerId: NEW.peerId,
  evmAddress: NEW.trustee.evmAddress,
};

let clock: SimClock;
let shared: SharedTally;
let store: MemoryTallyStore;
let terminal: ReturnType<typeof recordingTerminal>;
const stop = { signal: new AbortController() };

beforeEach(async () => {
  clock = new SimClock();
  shared = new SharedTally({ clock });
  store = new MemoryTallyStore(shared, { clock });
  terminal = recordingTerminal();
  stop.signal = new AbortController();
  await store.initCluster(CLUSTER.set);
});
afterEach(async () => {
  stop.signal.abort(new Error("the test is over"));
  await store.stop();
});

/** @param overrides in the place of the store's own calls */
function world(overrides: Partial<TallyStore> = {}): TrusteeWorld {
  const used: TallyStore = Object.assign(new MemoryTallyStore(shared, { clock }), overrides);
  return { clock, withStore: (_cluster, task) => task(used) };
}

async function announce(peerId: PeerId, name: string): Promise<void> {
  const presence: Presence = {
    peerId,
    nodeId: unwrap(parseNodeId(name)),
    addresses: ["/ip4/127.0.0.1/tcp/1"],
    apiUrl: null,
    version: "9.9.9",
    startedAtMs: 0,
  };
  void store.announce(presence, 3_600, { signal: stop.signal.signal });
  await clock.advance(1);
}

async function inForce(): Promise<TrusteeSet> {
  return (await store.readConfig()).set;
}

describe("trustee add", () => {
  it("admits a node whose key it reads out of the peer id", async () => {
    await announce(NEW.peerId, "node-005");
    expect(await addTrusteeAction("node-005", ADD, terminal, world())).toBe(0);
    const set = await inForce();
    expect([set.epoch, set.threshold]).toEqual([2, 3]);
    expect(set.byNodeId.get(NEW.nodeId)).toEqual(NEW.trustee);
    expect(terminal.stdout()).toMatch(/^epoch +1 → 2 is in force$/m);
    expect(terminal.stdout()).toMatch(/^threshold +3 of 4 → 3 of 5$/m);
    expect(terminal.stdout()).toMatch(/^added +node-005$/m);
    expect(terminal.stderr()).toBe(
      "warning: threshold 3 is below the recommended 4 (two thirds of 5 trustees)",
    );
  });

  it("changes nothing in a dry run, and shows what would be", async () => {
    await addTrusteeAction(
      "node-005",
      { ...ADD, dryRun: true, threshold: 2, json: true },
      terminal,
      world(),
    );
    expect((await inForce()).epoch).toBe(1);
    expect(JSON.parse(terminal.stdout())).toMatchObject({
      changed: false,
      before: { epoch: 1, totalNodes: 4 },
      epoch: 2,
      threshold: 2,
      totalNodes: 5,
      faultBounds: { safety: -2, liveness: 3 },
    });
    expect(terminal.stderr()).toContain(
      "WARNING: threshold 2 is at most half of 5 trustees: two different values could both reach it; use a threshold of 3 or more",
    );
  });

  it("warns that a peer id may be mistyped when nobody with it is on the network", async () => {
    await addTrusteeAction("node-005", ADD, terminal, world());
    expect(terminal.stderr()).toContain(`no node with peer id ${NEW.peerId} is on the network`);
  });

  it("says everything that is wrong with its arguments at once, before etcd is asked", async () => {
    const nowhere = { clock, withStore: () => expect.fail("asked") };
    const wrong = { ...ADD, peerId: `12D3KooW${"z".repeat(44)}`, evmAddress: "0x1" };
    await expect(addTrusteeAction("Node 5", wrong, terminal, nowhere)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/^3 problems:[^]*Node 5[^]*0x1[^]*no Ed25519 key/),
    });
  });

  it("says everything that the cluster has against it at once, and changes nothing", async () => {
    await announce(NEW.peerId, "node-777");
    await store.recordBan({
      peerId: NEW.peerId,
      nodeId: null,
      reason: "DOUBLE_VOTING",
      grade: "PROOF",
      bannedAtMs: 0,
      evidence: { type: "LOW_REPUTATION", nodeId: "x", score: 0, bound: 0, violations: [] },
    });
    const adding = addTrusteeAction("node-002", { ...ADD, threshold: 9 }, terminal, world());
    await expect(adding).rejects.toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(
        /node-002 is a trustee[^]*threshold 9[^]*banned for good[^]*calls itself node-777/,
      ),
    });
    expect((await inForce()).epoch).toBe(1);
    expect(terminal.stdout()).toBe("");
  });

  it("that comes second is made on what the first has left, and says so", async () => {
    const other = nodeAt(MORE, 5);
    let first = true;
    const raced = world({
      changeTrustees: async (next, version, options) => {
        if (first) {
          first = false;
          const options2 = { ...ADD, peerId: other.peerId };
          await addTrusteeAction("node-006", options2, recordingTerminal(), world());
        }
        return await store.changeTrustees(next, version, options);
      },
    });
    await addTrusteeAction("node-005", { ...ADD, threshold: 4 }, terminal, raced);
    const set = await inForce();
    expect([set.epoch, set.threshold, set.trustees.length]).toEqual([3, 4, 6]);
    expect(terminal.stderr()).toContain("another operator was first: epoch 2 is in force");
    expect(terminal.stdout()).toMatch(/^epoch +2 → 3 is in force$/m);
  });
});

describe("trustee remove", () => {
  it("refuses what would leave too few, and says which threshold would do", async () => {
    await removeTrusteeAction("node-001", COMMON, recordingTerminal(), world());
    await expect(removeTrusteeAction("node-002", COMMON, terminal, world())).rejects.toThrow(
      /threshold 3 is more than the 2 trustees[^]*a threshold of 2 is more than half of 2/,
    );
    const options = { ...COMMON, threshold: 2 };
    expect(await removeTrusteeAction("node-002", options, terminal, world())).toBe(0);
    expect((await inForce()).trustees.map((t) => t.nodeId)).toEqual(["node-003", "node-004"]);
    expect(terminal.stderr()).toContain("Leave node-002's node running");
  });

  it("with --wait says that the node may be stopped, also when it was removed before", async () => {
    const options = { ...COMMON, wait: true } as const;
    await removeTrusteeAction("node-001", options, terminal, world());
    expect(terminal.stdout()).toContain("nothing needs node-001 any more");
    const again = recordingTerminal();
    expect(await removeTrusteeAction("node-001", { ...options, json: true }, again, world())).toBe(
      0,
    );
    expect(JSON.parse(again.stdout())).toMatchObject({ epoch: 2, drained: "node-001" });
    await expect(removeTrusteeAction("node-001", COMMON, terminal, world())).rejects.toThrow(
      "node-001 is not a trustee of epoch 2",
    );
    await expect(removeTrusteeAction("nobody", options, terminal, world())).rejects.toThrow(
      "nobody is not a trustee",
    );
  });
});

describe("trustee threshold", () => {
  it("changes how many must agree, loudly when two values could", async () => {
    await changeThresholdAction(2, COMMON, terminal, world());
    expect((await inForce()).threshold).toBe(2);
    expect(terminal.stderr()).toMatch(/^WARNING: threshold 2 is at most half of 4/);
    await expect(changeThresholdAction(Number.NaN, COMMON, terminal, world())).rejects.toThrow(
      "whole number",
    );
  });
});

describe("trustee list", () => {
  it("shows who is online, banned or only on the network, and what each epoch changed", async () => {
    await announce(NEW.peerId, "node-005");
    await announce(nodeAt(CLUSTER, 1).peerId, "node-002");
    await removeTrusteeAction("node-004", COMMON, recordingTerminal(), world());
    await store.recordBan({
      peerId: nodeAt(CLUSTER, 2).peerId,
      nodeId: nodeAt(CLUSTER, 2).nodeId,
      reason: "SILENT_FAILURE",
      grade: "OPINION",
      bannedAtMs: 0,
      evidence: { type: "LOW_REPUTATION", nodeId: "x", score: 0, bound: 0, violations: [] },
    });
    expect(await listTrustees({ ...COMMON, epochs: true }, terminal, world())).toBe(0);
    const shown = terminal.stdout();
    expect(shown).toMatch(/^cluster +quorate, epoch 2$/m);
    expect(shown).toMatch(/^threshold +3 of 3$/m);
    expect(shown).toMatch(
      new RegExp(`^node-001 +offline +0x\\w{40} +${nodeAt(CLUSTER, 0).peerId}$`, "m"),
    );
    expect(shown).toMatch(/^node-002 +online/m);
    expect(shown).toMatch(/^node-003 +banned: SILENT_FAILURE/m);
    expect(shown).toMatch(new RegExp(`^node-005 +1970-01-01T00:00:00.000Z +${NEW.peerId}$`, "m"));
    expect(shown).toMatch(/^1 +3 of 4 +-$/m);
    expect(shown).toMatch(/^2 +3 of 3 +-node-004$/m);
  });

  it("prints the same as one document", async () => {
    await announce(NEW.peerId, "node-005");
    await listTrustees({ ...COMMON, epochs: true, json: true }, terminal, world());
    expect(JSON.parse(terminal.stdout())).toMatchObject({
      clusterId: "quorate",
      epoch: 1,
      threshold: 3,
      totalNodes: 4,
      faultBounds: { safety: 1, liveness: 1, warnings: [] },
      trustees: [{ nodeId: "node-001", online: false, banned: false }, {}, {}, {}],
      observers: [{ nodeId: "node-005", peerId: peerIdOf(NEW.signer.publicKey), version: "9.9.9" }],
      epochs: [{ epoch: 1, threshold: 3, trustees: 4, added: [], removed: [] }],
    });
  });
});

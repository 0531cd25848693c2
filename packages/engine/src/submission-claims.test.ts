import {
  makeTrusteeSet,
  parseEpoch,
  parseEvmAddress,
  type TxRecord,
  type TxStatus,
  unwrap,
  type VerifiedVote,
} from "@quorate/core";
import type { ChangeSet, SenderLease } from "@quorate/ports";
import {
  createMemorySubmissionStore,
  MemoryChain,
  type MemoryLogger,
  type MemoryMetrics,
  type MemorySubmissionStore,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  type TallyFault,
  type TallyOperation,
  type TestCluster,
  testCluster,
  valueOf,
  vote,
} from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { submitterMetrics } from "./catalogue.ts";
import { SubmissionClaims } from "./submission-claims.ts";
import { TallyView } from "./tally-view.ts";
import { tx, World } from "./test-world.ts";

const address = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
const SETTLE_MS = 500;

let world: World;
let submissions: MemorySubmissionStore;
let chain: MemoryChain;
let lease: SenderLease;
let storeFault: (operation: string, when: "before" | "after") => void;
const stops: AbortController[] = [];

interface Process {
  readonly claims: SubmissionClaims;
  readonly view: TallyView;
  readonly queued: string[];
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
  readonly signal: AbortSignal;
  fault: (operation: TallyOperation) => TallyFault | null;
  crash(): void;
}

beforeEach(async () => {
  world = await World.open({ running: 1 });
  storeFault = () => {};
  submissions = createMemorySubmissionStore({
    nowMs: () => world.clock.nowMs(),
    faults: {
      before: (operation) => storeFault(operation, "before"),
      after: (operation) => storeFault(operation, "after"),
    },
  });
  chain = new MemoryChain({ clusterId: world.cluster.set.clusterId }, { clock: world.clock });
  lease = await submissions.becomeLeader({ chainId: chain.chainId, address }, 0n);
});

afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort(new Error("the test is over"));
  await world.close();
});

/** A submitter's claims as `SubmitterService` runs them, begun now. */
async function start(): Promise<Process> {
  const stop = new AbortController();
  stops.push(stop);
  const { signal } = stop;
  const view = new TallyView();
  const logger = memoryLogger();
  const metrics = memoryMetrics();
  const queued: string[] = [];
  const store = new MemoryTallyStore(
    world.shared,
    { clock: world.clock },
    { fault: ({ operation }) => process.fault(operation) },
  );
  let config = await world.config();
  const claims = new SubmissionClaims(
    { settleMs: SETTLE_MS, windowMs: 10, batchMax: 100 },
    {
      config: () => config,
      verify: world.cluster.verify,
      store,
      view,
      submissions,
      chain,
      lease,
      clock: world.clock,
      logger,
      metrics: submitterMetrics(metrics),
      onQueued: (txIds) => void queued.push(...txIds),
    },
  );
  const process: Process = {
    claims,
    view,
    queued,
    logger,
    metrics,
    signal,
    fault: () => null,
    crash: () => stop.abort(new Error("crash")),
  };
  const revision = await store.revision();
  for (const open of await store.listTransactions({ after: null, limit: 100 }))
    view.noteExisting(open.txId, open.status, open.record);
  claims.onView([...view.withStatus("THRESHOLD_REACHED"), ...view.withStatus("SUBMITTED")]);
  const onChanges = async (set: ChangeSet): Promise<void> => {
    if (set.changes.some((change) => change.kind === "config")) config = await store.readConfig();
    claims.onView(view.apply(set));
  };
  void store.watch(revision, onChanges, { signal });
  void claims.run({ signal });
  return process;
}

/** Has trustees vote, one after the other, recorded by the one node that runs. */
async function votes(txId: string, values: readonly (number | null)[]): Promise<void> {
  for (const [i, value] of values.entries())
    if (value !== null) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, txId, value));
  await world.clock.advance(20);
}

async function status(txId: string): Promise<TxStatus | null> {
  return (await world.snapshot(txId)).status;
}

/** What trustees signed for one transaction, as if it had been for another. */
function copied(from: string, to: string, value: number): readonly VerifiedVote[] {
  return [0, 1, 2, 3].map((i) => {
    const real = vote(world.cluster, i, from, value);
    return { ...real, vote: { ...real.vote, txId: tx(to) } };
  });
}

/** Writes a state that no rule produced, as somebody with write access to the store could. */
async function forge(
  txId: string,
  to: { readonly status: TxStatus; readonly value: number },
  stolen: readonly VerifiedVote[] = [],
): Promise<void> {
  const record: TxRecord = {
    epoch: world.cluster.set.epoch,
    policy: "strict-abort",
    profile: "balanced",
    excluded: [],
    openedAtMs: world.clock.nowMs(),
    deadlineAtMs: world.clock.nowMs() + 30_000,
    value: valueOf(to.value),
    unanimous: true,
    thresholdAtMs: world.clock.nowMs(),
    reason: null,
    offenders: [],
    absent: null,
    chain: null,
  };
  const { version } = await world.store.read(tx(txId));
  const [outcome] = await world.store.commit(
    [
      {
        version,
        writes: {
          txId: tx(txId),
          newVotes: stolen,
          counts: new Map([[valueOf(to.value), 4]]),
          status: to.status,
          record,
          decision: null,
          violations: [],
          bans: [],
          silenceStreaks: new Map(),
        },
      },
    ],
    (await world.config()).epochVersion,
  );
  expect(outcome?.kind).toBe("committed");
}

describe("the settle window", () => {
  test("a unanimous transaction is claimed at once and queued", async () => {
    const { queued } = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(50);
    expect(await status("tx")).toBe("SUBMITTED");
    expect(queued).toEqual(["tx"]);
    expect((await submissions.get(tx("tx")))?.value).toBe(7n);
    expect(world.changes("decision").map((c) => c.decision)).toEqual([
      { kind: "SUBMIT", value: 7n },
    ]);
  });

  test("one that is not unanimous waits for the whole window, and no longer", async () => {
    await start();
    await votes("tx", [7, 7, 7, 7, null]);
    await world.clock.advance(SETTLE_MS - 30);
    expect(await status("tx")).toBe("THRESHOLD_REACHED");
    await world.clock.advance(60);
    expect(await status("tx")).toBe("SUBMITTED");
  });

  test("dissent inside the window aborts, and nothing is ever queued", async () => {
    const { queued } = await start();
    await votes("tx", [7, 7, 7, 7, null]);
    await votes("tx", [null, null, null, null, 8]);
    await world.clock.advance(10_000);
    expect(await status("tx")).toBe("ABORTED_BYZANTINE");
    expect(queued).toEqual([]);
    expect(await submissions.get(tx("tx"))).toBeNull();
  });

  test("dissent that overtakes the claim on its way wins, and the claim comes to nothing", async () => {
    const process = await start();
    process.fault = (operation) => (operation === "commit" ? { delayMs: 100 } : null);
    await votes("tx", [7, 7, 7, 7, null]);
    await world.clock.advance(SETTLE_MS + 10);
    await votes("tx", [null, null, null, null, 8]);
    await world.clock.advance(10_000);
    expect(await status("tx")).toBe("ABORTED_BYZANTINE");
    expect(process.queued).toEqual([]);
    expect(process.metrics.value("submission_claims_total", { outcome: "conflict" })).toBe(1);
    expect(world.changes("decision").map((c) => c.decision.kind)).toEqual(["ABORT"]);
  });

  test("the fifth vote ends the wait", async () => {
    await start();
    await votes("tx", [7, 7, 7, 7, null]);
    await votes("tx", [null, null, null, null, 7]);
    await world.clock.advance(50);
    expect(await status("tx")).toBe("SUBMITTED");
  });

  test("dissent after the claim bans, and the submission stands", async () => {
    const { queued } = await start();
    await votes("tx", [7, 7, 7, 7, null]);
    await world.clock.advance(SETTLE_MS + 100);
    await votes("tx", [null, null, null, null, 8]);
    await world.clock.advance(1_000);
    expect(await status("tx")).toBe("SUBMITTED");
    expect(queued).toEqual(["tx"]);
    expect([...(await world.store.readBans()).bans.keys()]).toEqual([
      nodeAt(world.cluster, 4).peerId,
    ]);
  });
});

describe("a tally is never trusted", () => {
  test.each([
    ["THRESHOLD_REACHED", null],
    ["SUBMITTED", null],
    ["THRESHOLD_REACHED", "real"],
    ["SUBMITTED", "real"],
  ] as const)("a forged %s with votes copied from %s is never queued", async (word, copies) => {
    const { queued, logger } = await start();
    await votes("real", [7, 7, 7, 7, 7]);
    const stolen = copies === null ? [] : copied(copies, "forged", 7);
    await forge("forged", { status: word, value: 7 }, stolen);
    await world.clock.advance(10_000);
    expect(queued).toEqual(["real"]);
    expect(await submissions.get(tx("forged"))).toBeNull();
    expect(logger.records.map((r) => r.message)).toContain(
      "a status in etcd is not backed by votes; it is not submitted",
    );
  });

  test("forgeries that were there before the start are not queued either", async () => {
    await votes("real", [7, 7, 7, 7, 7]);
    await forge("one", { status: "SUBMITTED", value: 7 }, copied("real", "one", 7));
    await forge("two", { status: "THRESHOLD_REACHED", value: 9 });
    const { queued } = await start();
    await world.clock.advance(10_000);
    expect(queued).toEqual(["real"]);
  });

  test("a record that names another value than the votes is not queued", async () => {
    const { queued } = await start();
    await votes("tx", [7, 7, 7, null, null]);
    await forge("tx", { status: "THRESHOLD_REACHED", value: 9 });
    await votes("tx", [null, null, null, 7, null]);
    await world.clock.advance(10_000);
    // The rules put the record right with the next vote; what was forged reaches nothing.
    expect((await submissions.get(tx("tx")))?.value ?? 7n).toBe(7n);
    expect(queued.length).toBeLessThanOrEqual(1);
  });
});

describe("after a change of the trustees", () => {
  /** The keys of the five trustees, and of two who come later. */
  const more = testCluster({ trustees: 7, threshold: 4 });
  const EPOCH_2 = unwrap(parseEpoch(2));

  /** By default two trustees go and two come: of the first epoch's five only three are left. */
  async function exchange(members: readonly number[] = [2, 3, 4, 5, 6]): Promise<TestCluster> {
    const { set: before, epochVersion } = await world.config();
    const trustees = members.map((i) => nodeAt(more, i).trustee);
    const set = unwrap(makeTrusteeSet({ ...before, epoch: EPOCH_2, trustees }));
    expect(await world.store.changeTrustees(set, epochVersion)).toBe("changed");
    await world.clock.advance(1);
    return { ...more, set };
  }

  test("a transaction is claimed by the votes of the epoch that it opened in", async () => {
    const { queued } = await start();
    await votes("tx", [7, 7, 7, 7, null]);
    expect(await status("tx")).toBe("THRESHOLD_REACHED");
    await exchange();
    await world.clock.advance(SETTLE_MS + 50);
    expect(await status("tx")).toBe("SUBMITTED");
    expect(queued).toEqual(["tx"]);
    expect(await submissions.get(tx("tx"))).toMatchObject({ value: 7n, epoch: 1 });
  });

  test("one that was claimed before is queued at the next start", async () => {
    storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(50);
    first.crash();
    await exchange();
    storeFault = () => {};
    const { queued } = await start();
    await world.clock.advance(50);
    expect(queued).toEqual(["tx"]);
    expect(await submissions.get(tx("tx"))).toMatchObject({ epoch: 1 });
  });

  test.each([
    ["by trustees who came and who stayed", [2, 3, 4, 5, 6], [2, 3, 4, 5, 6]],
    ["by trustees who are in both, as they signed for the next", [1, 2, 3, 4, 5], [1, 2, 3, 4]],
  ])("it is backed by no votes of the next epoch: %s", async (_name, members, voters) => {
    const { queued, logger } = await start();
    const next = await exchange(members);
    const later = voters.map((i) => vote(next, i, "old", 7));
    // The record says epoch 1, as if the transaction had opened before the change.
    await forge("old", { status: "THRESHOLD_REACHED", value: 7 }, later);
    await world.clock.advance(10_000);
    expect(queued).toEqual([]);
    expect(await submissions.get(tx("old"))).toBeNull();
    expect(logger.records.map((r) => r.message)).toContain(
      "a status in etcd is not backed by votes; it is not submitted",
    );
  });

  test("three votes of its own epoch and one of the next are not four", async () => {
    const { queued } = await start();
    const next = await exchange();
    const own = [0, 1, 2].map((i) => vote(world.cluster, i, "old", 7));
    const stranger = vote(next, 5, "old", 7);
    await forge("old", { status: "SUBMITTED", value: 7 }, [...own, stranger]);
    await world.clock.advance(10_000);
    expect(queued).toEqual([]);
  });
});

describe("what was submitted before", () => {
  /** Takes an id through to FINALIZED in the database, as an earlier life did. */
  async function finalBefore(txId: string, value: number): Promise<void> {
    const row = { txId: tx(txId), key: chain.keyOf(tx(txId)), value: valueOf(value) };
    const epoch = world.cluster.set.epoch;
    await submissions.enqueue([{ ...row, epoch, decisionRevision: 1n }], lease);
    await submissions.markAlreadyRecorded(lease, tx(txId), 5n);
    await submissions.markConfirmed([tx(txId)]);
  }

  test("and was forgotten by etcd is confirmed there again, and not sent again", async () => {
    await finalBefore("tx", 7);
    const { claims, signal } = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(100);
    expect(await status("tx")).toBe("CONFIRMED");
    expect((await submissions.counts()).QUEUED).toBe(0);
    expect(await claims.confirmOnce({ signal })).toBe(0);
  });

  test("and is archived is confirmed again when it is the same value, and said to be refused", async () => {
    await finalBefore("tx", 7);
    submissions.archive(tx("tx"));
    const { logger, metrics } = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(100);
    expect(await status("tx")).toBe("CONFIRMED");
    expect((await submissions.counts()).QUEUED).toBe(0);
    expect(metrics.value("submission_claims_total", { outcome: "archived" })).toBe(1);
    expect(logger.records.map((r) => r.message)).toContain(
      "this transaction id was submitted long ago and is archived; it is refused",
    );
  });

  test("and is archived never reaches the chain with another value", async () => {
    await finalBefore("tx", 8);
    submissions.archive(tx("tx"));
    const { metrics } = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(100);
    expect(await status("tx")).toBe("SUBMITTED");
    expect((await submissions.counts()).QUEUED).toBe(0);
    expect(metrics.value("submission_claims_total", { outcome: "archived" })).toBe(1);
  });

  test("a queued result that etcd aborts after all is taken from the queue", async () => {
    const row = { txId: tx("tx"), key: chain.keyOf(tx("tx")), value: valueOf(7) };
    const epoch = world.cluster.set.epoch;
    await submissions.enqueue([{ ...row, epoch, decisionRevision: 1n }], lease);
    const { logger } = await start();
    await votes("tx", [7, 7, 8, 8, null]);
    await world.clock.advance(100);
    expect(await status("tx")).toBe("ABORTED_BYZANTINE");
    expect((await submissions.get(tx("tx")))?.state).toBe("ABORTED");
    expect(logger.records.map((r) => r.message)).toContain(
      "a queued result was aborted in etcd and is not sent",
    );
  });
});

describe("crashes and repetitions", () => {
  test("a crash between claim and queue is made good at the next start", async () => {
    storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(50);
    expect(await status("tx")).toBe("SUBMITTED");
    expect(await submissions.get(tx("tx"))).toBeNull();
    first.crash();
    storeFault = () => {};
    const second = await start();
    await world.clock.advance(50);
    expect(second.queued).toEqual(["tx"]);
    expect((await submissions.get(tx("tx")))?.value).toBe(7n);
  });

  test("a crash is made good even when somebody dissented meanwhile", async () => {
    storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await start();
    await votes("tx", [7, 7, 7, 7, null]);
    await world.clock.advance(SETTLE_MS + 50);
    first.crash();
    await votes("tx", [null, null, null, null, 8]);
    storeFault = () => {};
    const second = await start();
    await world.clock.advance(50);
    expect(second.queued).toEqual(["tx"]);
  });

  test("a lost reply of the queue is made good without a second entry", async () => {
    let losses = 2;
    storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "after" && losses-- > 0) throw new Error("lost");
    };
    const { queued } = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(10_000);
    expect(queued).toEqual(["tx"]);
    expect((await submissions.counts()).QUEUED).toBe(1);
  });

  test("a lost reply of the claim is made good by reading it back", async () => {
    const process = await start();
    let losses = 1;
    process.fault = (operation) =>
      operation === "commit" && losses-- > 0 ? { loseReply: true } : null;
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(10_000);
    expect(await status("tx")).toBe("SUBMITTED");
    expect(process.queued).toEqual(["tx"]);
  });

  test("what becomes ready while a claim is under way is not left lying", async () => {
    const process = await start();
    await votes("first", [7, 7, 7, 7, null]);
    process.fault = (operation) => (operation === "commit" ? { delayMs: 100 } : null);
    await world.clock.advance(SETTLE_MS);
    // Now the claim of the first is on its way, and this is SUBMITTED by another process meanwhile.
    await votes("second", [7, 7, 7, 7, 7]);
    const { version } = await world.store.read(tx("second"));
    await world.store.commit(
      [
        {
          version,
          writes: {
            txId: tx("second"),
            newVotes: [],
            counts: new Map(),
            status: "SUBMITTED",
            record: null,
            decision: { kind: "SUBMIT", value: valueOf(7) },
            violations: [],
            bans: [],
            silenceStreaks: new Map(),
          },
        },
      ],
      (await world.config()).epochVersion,
    );
    await world.clock.advance(5_000);
    expect(process.queued.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(["first", "second"]);
  });
});

test("with nothing to claim it waits for news and does not look again and again", async () => {
  await start();
  await votes("tx", [7, 7, 7, 7, 7]);
  await world.clock.advance(1_000);
  expect(world.clock.untilNextMs).toBeGreaterThan(10_000);
});

describe("confirmation", () => {
  async function finalize(lease: SenderLease, txId: string): Promise<void> {
    await submissions.markAlreadyRecorded(lease, tx(txId), 5n);
  }

  test("what is final is confirmed once, and confirming again changes nothing", async () => {
    const lease = await submissions.becomeLeader({ chainId: chain.chainId, address }, 0n);
    const { claims, signal } = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(50);
    await finalize(lease, "tx");
    expect(await claims.confirmOnce({ signal })).toBe(1);
    expect(await claims.confirmOnce({ signal })).toBe(0);
    expect(await status("tx")).toBe("CONFIRMED");
    expect((await world.snapshot("tx")).record?.chain?.blockNumber).toBe("5");
    expect(world.changes("status").filter((c) => c.status === "CONFIRMED")).toHaveLength(1);
  });

  test("a lost reply of the confirmation is found out by reading, not by writing again", async () => {
    const lease = await submissions.becomeLeader({ chainId: chain.chainId, address }, 0n);
    const process = await start();
    await votes("tx", [7, 7, 7, 7, 7]);
    await world.clock.advance(50);
    await finalize(lease, "tx");
    let losses = 1;
    process.fault = (operation) =>
      operation === "commit" && losses-- > 0 ? { loseReply: true } : null;
    const { claims, signal } = process;
    await expect(claims.confirmOnce({ signal })).rejects.toThrow("lost its reply");
    await claims.confirmOnce({ signal });
    expect(await submissions.unconfirmed(10)).toEqual([]);
    expect(world.changes("status").filter((c) => c.status === "CONFIRMED")).toHaveLength(1);
  });
});

import { type EvmAddress, LIMITS, parseEpoch, parseEvmAddress, unwrap } from "@quorate/core";
import type { SenderLease } from "@quorate/ports";
import {
  createMemorySubmissionStore,
  MemoryChain,
  type MemorySubmissionStore,
  MemoryTallyStore,
  SharedTally,
  SimClock,
  testCluster,
  txIdOf,
  valueOf,
} from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DoctorCheck } from "../doctor/check.ts";
import { type DoctorWorld, diagnose } from "./submitter-doctor-look.ts";

const { set } = testCluster({ trustees: 4, threshold: 3 });
const ADDRESS: EvmAddress = unwrap(parseEvmAddress(`0x${"a1".repeat(20)}`));
const ETHER = 10n ** 18n;

let clock: SimClock;
let chain: MemoryChain;
let other: MemoryChain;
let tally: MemoryTallyStore;
let store: MemorySubmissionStore;
let world: DoctorWorld;
const over = { leading: new AbortController() };
let away: Set<"chain" | "other" | "etcd" | "postgres">;

/** Both hold the same blocks while nobody makes them differ. */
function chainThat(name: "chain" | "other"): MemoryChain {
  return new MemoryChain(
    { clusterId: set.clusterId, fault: () => (away.has(name) ? { fail: true } : null) },
    { clock },
  );
}

beforeEach(async () => {
  clock = new SimClock();
  away = new Set();
  over.leading = new AbortController();
  chain = chainThat("chain");
  other = chainThat("other");
  const shared = new SharedTally({ clock });
  tally = new MemoryTallyStore(
    shared,
    { clock },
    { fault: () => (away.has("etcd") ? { failBefore: true } : null) },
  );
  store = createMemorySubmissionStore({
    nowMs: () => clock.nowMs(),
    faults: {
      before: () => {
        if (away.has("postgres")) throw new Error("PostgreSQL is away");
      },
    },
  });
  world = {
    clusterId: set.clusterId,
    schemaName: "quorate_test",
    finality: { kind: "confirmations", blocks: 1 },
    batchMax: LIMITS.chainBatchMax,
    address: async () => ADDRESS,
    etcd: tally,
    schema: async () => {
      if (away.has("postgres")) throw new Error("PostgreSQL is away");
      return { missing: [], unknown: [] };
    },
    submissions: store,
    chain,
    endpoints: [chain, other],
    clock,
  };
  for (const one of [chain, other]) {
    one.fund(ADDRESS, ETHER);
    one.mine(3);
  }
  await tally.initCluster(set);
});
afterEach(async () => {
  over.leading.abort(new Error("the test is over"));
  await tally.stop();
});

async function lead(): Promise<SenderLease> {
  const name = `submitter/${chain.chainId}/${ADDRESS}`;
  const { signal } = over.leading;
  const leads = Promise.withResolvers<void>();
  void tally
    .campaign(
      name,
      "host/1",
      60,
      () => {
        leads.resolve();
        return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      },
      { signal },
    )
    .catch(() => {});
  await leads.promise;
  const lease = await store.becomeLeader({ chainId: chain.chainId, address: ADDRESS }, 0n);
  await store.markHistoryChecked(lease);
  // A nonce is taken only after that.
  await store.markHistoryChecked(lease);
  return lease;
}

async function enqueue(name: string): Promise<void> {
  const submission = {
    txId: txIdOf(name),
    key: chain.keyOf(txIdOf(name)),
    value: valueOf(7),
    epoch: unwrap(parseEpoch(1)),
    decisionRevision: 42n,
  };
  await store.enqueue([submission], { chainId: chain.chainId, address: ADDRESS });
}

async function checks(over: Partial<DoctorWorld> = {}): Promise<Map<string, DoctorCheck>> {
  const { checks } = await diagnose({ ...world, ...over });
  return new Map(checks.map((c) => [c.name, c]));
}

async function levelOf(name: string, over: Partial<DoctorWorld> = {}): Promise<DoctorCheck> {
  const found = (await checks(over)).get(name);
  if (found === undefined) throw new Error(`there is no check ${name}`);
  return found;
}

describe("submitter doctor", () => {
  it("finds nothing where all is well", async () => {
    await lead();
    const { ok, checks } = await diagnose(world);
    expect(checks.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(ok).toBe(true);
    expect(checks.map(({ name }) => name)).toEqual([
      "key",
      "etcd",
      "postgres",
      "rpc memory",
      "rpc memory",
      "agreement",
      "contract",
      "balance",
      "nonces",
      "history",
      "frozen",
      "queue",
      "quarantine",
      "leader",
    ]);
  });

  it("finds nothing wrong before any submitter ran, but that nobody leads", async () => {
    const { ok, checks } = await diagnose(world);
    expect([ok, checks.filter((c) => c.level !== "ok").map((c) => c.name)]).toEqual([
      true,
      ["leader"],
    ]);
  });

  it.each([
    ["etcd", ["etcd"]],
    ["postgres", ["postgres"]],
    ["chain", ["rpc memory", "contract"]],
  ] as const)("without %s it fails for that alone, and says all the rest", async (part, failed) => {
    await lead();
    away.add(part);
    const { ok, checks } = await diagnose(world);
    expect(ok).toBe(false);
    expect(checks.filter(({ level }) => level === "fail").map(({ name }) => name)).toEqual(failed);
    for (const { level, advice } of checks) if (level === "fail") expect(advice).not.toBeNull();
  });

  it("reports without anything that answers, and throws nothing", async () => {
    for (const part of ["chain", "other", "etcd", "postgres"] as const) away.add(part);
    const address = async (): Promise<EvmAddress> => {
      throw new Error("key file k cannot be opened: ENOENT");
    };
    const { ok, checks } = await diagnose({ ...world, address });
    expect(ok).toBe(false);
    expect(checks.find(({ name }) => name === "key")?.detail).toContain("ENOENT");
    expect(checks.filter(({ level }) => level === "ok")).toEqual([]);
  });

  it("fails for a cluster that was never initialised, and says how it is", async () => {
    const empty = new MemoryTallyStore(new SharedTally({ clock }), { clock });
    expect(await levelOf("etcd", { etcd: empty })).toMatchObject({
      level: "fail",
      advice: expect.stringContaining("quorate cluster init"),
    });
    await empty.stop();
  });

  it("fails for a schema that lacks a migration, and for one of a newer release", async () => {
    const behind = async () => ({ missing: ["0005_exactly_once"], unknown: [] });
    expect(await levelOf("postgres", { schema: behind })).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("0005_exactly_once"),
    });
    // What the tables hold can't be told of another schema.
    expect((await levelOf("nonces", { schema: behind })).detail).toContain("not checked");
    const ahead = async () => ({ missing: [], unknown: ["9999_later"] });
    expect(await levelOf("postgres", { schema: ahead })).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("newer release"),
    });
  });

  it("fails when endpoints hold different blocks at one height", async () => {
    other.reorg(3);
    expect(await levelOf("agreement")).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("block 2"),
    });
  });

  it("warns of an endpoint that is behind, but agrees as far as it goes", async () => {
    chain.mine(10);
    const found = (await diagnose(world)).checks.filter(({ name }) => name === "rpc memory");
    expect(found.map(({ level }) => level)).toEqual(["ok", "warn"]);
    expect(found[1]?.detail).toContain("10 blocks behind");
    expect((await levelOf("agreement")).level).toBe("ok");
  });

  it("warns of a head that stands still", async () => {
    await clock.advance(10 * 60_000);
    expect(await levelOf("rpc memory")).toMatchObject({
      level: "warn",
      detail: expect.stringContaining("s old"),
    });
  });

  it("fails when the contract does not take results from this account", async () => {
    chain.revertReason = "the contract refuses the batch: NotSubmitter";
    expect(await levelOf("contract")).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("NotSubmitter"),
      advice: expect.stringContaining("setSubmitter"),
    });
  });

  it.each([
    [0n, "fail"],
    [ETHER / 1_000n, "fail"],
    [ETHER / 20n, "warn"],
    [ETHER, "ok"],
  ] as const)("of a balance of %s wei it says %s", async (wei, level) => {
    for (const one of [chain, other]) one.fund(ADDRESS, wei - ETHER);
    expect((await levelOf("balance")).level).toBe(level);
  });

  it("fails when the chain holds transactions of the account that the database does not know", async () => {
    await lead();
    chain.takeNonce(ADDRESS);
    expect(await levelOf("nonces")).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("1 transactions of this account"),
    });
  });

  it("warns of signed transactions that are in no pool", async () => {
    const lease = await lead();
    await enqueue("a");
    await store.reserve(lease, {
      items: [{ txId: txIdOf("a"), value: valueOf(7) }],
      windowMax: 8,
      gasLimit: 1n,
    });
    expect(await levelOf("nonces")).toMatchObject({
      level: "warn",
      detail: expect.stringContaining("in no pool"),
    });
  });

  it("warns of a history that no leader has held against the chain yet", async () => {
    await store.becomeLeader({ chainId: chain.chainId, address: ADDRESS }, 0n);
    expect(await levelOf("history")).toMatchObject({
      level: "warn",
      detail: expect.stringContaining("no nonce is taken"),
    });
    await lead();
    expect(await levelOf("history")).toMatchObject({ level: "ok" });
  });

  it("fails for a frozen sender, and tells why and how it resumes", async () => {
    await lead();
    await store.freeze({ chainId: chain.chainId, address: ADDRESS }, "the key may be known");
    expect(await levelOf("frozen")).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("the key may be known"),
      advice: expect.stringContaining("quorate submissions unfreeze"),
    });
  });

  it("warns of what waits too long, and of what waits for a person", async () => {
    const lease = await lead();
    await enqueue("a");
    await enqueue("b");
    await store.quarantine(lease, txIdOf("b"), "another value stands");
    await clock.advance(60_000);
    expect(await levelOf("queue")).toMatchObject({
      level: "ok",
      detail: expect.stringContaining("1 queued, 0 assigned, 0 included, the oldest 60 s old"),
    });
    await clock.advance(60 * 60_000);
    expect((await levelOf("queue")).level).toBe("warn");
    expect(await levelOf("quarantine")).toMatchObject({
      level: "warn",
      detail: expect.stringContaining("1 submissions"),
    });
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BanLift,
  DEFAULT_PROTOCOL_CONFIG,
  LIMITS,
  type PeerId,
  parseValue,
  unwrap,
} from "@quorate/core";
import { type EtcdCluster, startEtcd } from "@quorate/devkit";
import type { Change } from "@quorate/ports";
import { castVotes, TallyFixture, testClusterId, txIdOf } from "@quorate/testkit";
import { Etcd3 } from "etcd3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEtcdTallyStore, type EtcdTallyStore } from "./etcd-tally-store.ts";
import { type Keys, keysOf } from "./keys.ts";
import { type LogLine, realClock, recordingLogger } from "./testing/real-parts.ts";

/** What only the real store can get into: keys that are not ours, are missing, or that etcd itself removes. */

const SEVEN = unwrap(parseValue(7n));
const NOW_MS = Date.UTC(2026, 0, 1);

let dataDir: string;
let cluster: EtcdCluster;
let worlds = 0;
let fixture: TallyFixture;
let keys: Keys;
let raw: Etcd3;
let store: EtcdTallyStore;
let lines: LogLine[];

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-records-"));
  cluster = await startEtcd({ dataDir, members: 1 });
});

afterAll(async () => {
  await cluster.stop();
  await rm(dataDir, { recursive: true, force: true });
});

beforeEach(async () => {
  const clusterId = testClusterId(`records-${worlds++}`);
  keys = keysOf(clusterId);
  fixture = new TallyFixture(clusterId, 5);
  lines = [];
  raw = new Etcd3({ hosts: [...cluster.endpoints] });
  store = createEtcdTallyStore(
    { hosts: cluster.endpoints, clusterId, requestTimeoutMs: 5_000, dialTimeoutMs: 10_000 },
    { clock: realClock, logger: recordingLogger(lines) },
  );
  await store.start();
  await store.initCluster(fixture.set(3));
});

afterEach(async () => {
  await store.stop();
  raw.close();
});

const peerOf = (index: number): PeerId =>
  fixture.members[index]?.trustee.peerId ?? expect.fail("there are five");
const warnedOf = (key: string): boolean => lines.some(({ fields }) => fields["key"] === key);

const liftOf = (index: number, kind: BanLift["kind"]): BanLift => ({
  peerId: peerOf(index),
  nodeId: null,
  kind,
  by: "ann",
  reason: "nobody can read it",
  liftedAtMs: NOW_MS,
  banReason: null,
});

describe("the set in force", () => {
  test.each<[string, (document: string) => Promise<unknown>]>([
    [
      "is another than its epoch began with",
      async (d) => await raw.put(d).value('{"threshold":1,"trustees":[]}'),
    ],
    ["has another threshold", async () => await raw.put(keys.threshold).value("2")],
    [
      "has another trustee's account",
      async () => {
        const trustee = fixture.members[0]?.trustee ?? expect.fail("there are five");
        const key = keys.trustee(trustee.nodeId);
        const text = (await raw.get(key).string()) ?? expect.fail("it was written");
        await raw.put(key).value(text.replace(/0x0/, "0x1"));
      },
    ],
    [
      "has lost its document",
      async (d) => {
        await store.changeTrustees(
          fixture.setOf([0, 1, 2], 2, 2),
          (await store.readConfig()).epochVersion,
        );
        await raw.delete().key(d.replace(/1$/, "2"));
      },
    ],
  ])("that %s is CORRUPT", async (_, spoil) => {
    const { set } = await store.readConfig();
    await spoil(keys.epochDocument(set.epoch));
    await expect(store.readConfig()).rejects.toMatchObject({ code: "CORRUPT", retryable: false });
  });

  test("of a cluster from before there were documents is the only one, and is kept at the first change", async () => {
    const before = await store.readConfig();
    await raw.delete().key(keys.epochDocument(before.set.epoch));
    expect(await store.readConfig()).toEqual(before);
    const next = fixture.setOf([0, 1, 2], 2, 2);
    expect(await store.changeTrustees(next, before.epochVersion)).toBe("changed");
    expect([...(await store.readConfig()).sets.values()]).toEqual([before.set, next]);
  });

  test("stands whatever else lies beside its document", async () => {
    const before = await store.readConfig();
    const junk = ["7", "01", "x", "0"].map((name) => `${keys.epochDocuments}${name}`);
    const text = (await raw.get(keys.epochDocument(before.set.epoch)).string()) ?? "";
    for (const key of junk) await raw.put(key).value(text);
    expect(await store.readConfig()).toEqual(before);
    expect(junk.every(warnedOf)).toBe(true);
  });
});

describe("what nobody can read", () => {
  test.each(["many", "0", "-1"])(
    "a silent run of %j counts as none and stops no judgement",
    async (text) => {
      const { set, epochVersion } = await store.readConfig();
      const absent = fixture.members[4]?.trustee ?? expect.fail("there are five");
      await raw.put(keys.silence(absent.nodeId)).value(text);
      const txId = txIdOf("tx-junk");
      const votes = [0, 1, 2, 3].map((i) => fixture.vote(i, txId, SEVEN));
      await castVotes(store, set, epochVersion, { txId, votes });
      const nowMs = NOW_MS + DEFAULT_PROTOCOL_CONFIG.deadlineMs;
      await castVotes(store, set, epochVersion, { txId, votes: [], nowMs, deadlinePassed: true });
      expect((await store.readSilenceStreaks()).get(absent.nodeId)).toBe(1);
    },
  );

  test("a ban is listed by its version, and can be struck", async () => {
    await raw.put(keys.banned(peerOf(0))).value("{not json");
    const { bans, versions } = await store.readBans();
    expect(bans.size).toBe(0);
    const version = versions.get(peerOf(0)) ?? expect.fail("it has a version");
    expect(await store.strikeBan(liftOf(0, "UNPROVEN"), version)).toBe(true);
    expect((await store.readBans()).versions.size).toBe(0);
    expect(await store.readLifts()).toEqual([liftOf(0, "UNPROVEN")]);
  });

  test("a ban can be lifted by a person", async () => {
    await raw.put(keys.banned(peerOf(0))).value("{not json");
    expect(await store.liftBan(liftOf(0, "OPERATOR"))).toBe("lifted");
    expect((await store.readBans()).versions.size).toBe(0);
  });

  test("ends of bans are left out", async () => {
    const junk = [
      `${keys.lifts}${peerOf(0)}/7`,
      `${keys.lifts}nobody/7`,
      `${keys.lifts}${peerOf(0)}/x`,
    ];
    for (const key of junk) await raw.put(key).value("{}");
    expect(await store.readLifts()).toEqual([]);
    expect(junk.every(warnedOf)).toBe(true);
  });

  test("violations are passed over, also at the end of a page", async () => {
    const evidence = {
      type: "SILENT_FAILURE",
      nodeId: "node-000",
      openedAtMs: 0,
      deadlineAtMs: 1,
      voted: [],
    } as const;
    const common = { peerId: peerOf(0), nodeId: null, grade: "OPINION", evidence } as const;
    for (const tx of ["tx-a", "tx-c"])
      await store.recordViolation({
        violation: { ...common, type: "SILENT_FAILURE", txId: txIdOf(tx), detectedAtMs: NOW_MS },
        ban: { ...common, reason: "SILENT_FAILURE", bannedAtMs: NOW_MS },
      });
    const junk = ["tx-a/zz", "tx-b/x/y", "tx-b/ü", "tx-d"].map(
      (rest) => `${keys.violations}${rest}`,
    );
    for (const key of junk) await raw.put(key).value("{}");
    for (const limit of [1, 2, 5]) {
      const found: string[] = [];
      for (let after: string | null = null; ; ) {
        const page = await store.listViolations({ after, limit });
        found.push(...page.violations.map(({ txId }) => txId));
        after = page.next;
        if (after === null) break;
      }
      expect(found).toEqual(["tx-a", "tx-c"]);
    }
    expect(junk.every(warnedOf)).toBe(true);
  });

  test("receipts are passed over, shown as unreadable, and replaced by the node whose place they hold", async () => {
    const good = fixture.receipt(1, 1);
    const mine = fixture.receipt(0, 1);
    const keyOf = (node: typeof mine.nodeId, sequence: number): string =>
      keys.receipts(node, mine.runStartedAtMs, sequence);
    const junk = [
      [keyOf(mine.nodeId, 1), "[]"],
      [keyOf(mine.nodeId, 2), JSON.stringify([fixture.receipt(1, 2)])],
      [keyOf(mine.nodeId, 3), JSON.stringify([mine])],
      [keyOf(mine.nodeId, 4), "{not json"],
      [keyOf(mine.nodeId, 6), JSON.stringify([6, 6].map((s) => fixture.receipt(0, s)))],
      [`${keys.allReceipts}node-000/x/1`, "[]"],
    ] as const;
    const after = await store.revision();
    for (const [key, text] of junk) await raw.put(key).value(text);
    await store.recordReceipts([good]);
    expect(await store.readReceipts(100)).toEqual([good]);
    expect(junk.every(([key]) => warnedOf(key))).toBe(true);
    await store.recordReceipts([mine]);
    expect(await store.readReceipts(100)).toEqual([mine, good]);
    const shown: Change[] = [];
    const abort = new AbortController();
    await store.watch(
      after,
      ({ changes }) => {
        shown.push(...changes);
        if (shown.length === junk.length + 2) abort.abort();
      },
      { signal: abort.signal },
    );
    expect(shown.map(({ kind }) => kind)).toEqual([
      ...junk.map(() => "unreadable"),
      "receipts",
      "receipts",
    ]);
  });
});

test("well-formed receipts that somebody put in a node's place hide none of the node's own", async () => {
  const own = [1, 2, 3].map((sequence) => fixture.receipt(0, sequence));
  const { nodeId, runStartedAtMs } = fixture.receipt(0, 1);
  // Another's signatures, and a last number that would cover all to come.
  const forged = [
    { ...fixture.receipt(0, 1), signature: fixture.receipt(1, 1).signature },
    {
      ...fixture.receipt(0, Number.MAX_SAFE_INTEGER),
      signature: fixture.receipt(1, 2).signature,
    },
  ];
  await raw.put(keys.receipts(nodeId, runStartedAtMs, 1)).value(JSON.stringify(forged));
  await store.recordReceipts(own);
  expect((await store.readReceipts(100)).map((r) => r.signature).sort()).toEqual(
    own.map((r) => r.signature).sort(),
  );
});

describe("a receipt's lease", () => {
  const leaseIdOf = async (sequence: number): Promise<string> => {
    const { nodeId, runStartedAtMs } = fixture.receipt(0, sequence);
    const { kvs } = await raw.kv.range({
      key: Buffer.from(keys.receipts(nodeId, runStartedAtMs, sequence)),
    });
    return kvs[0]?.lease ?? expect.fail("the receipt is there");
  };

  test("lasts as long as receipts are kept, and serves more than one writing", async () => {
    for (const sequence of [1, 2]) await store.recordReceipts([fixture.receipt(0, sequence)]);
    const id = await leaseIdOf(1);
    expect(await leaseIdOf(2)).toBe(id);
    const { grantedTTL } = await raw.leaseClient.leaseTimeToLive({ ID: id });
    const ttlSeconds = Number(grantedTTL);
    expect(ttlSeconds).toBeGreaterThanOrEqual(LIMITS.receiptsTtlSeconds);
    expect(ttlSeconds).toBeLessThanOrEqual(1.5 * LIMITS.receiptsTtlSeconds);
  });

  test("that etcd has lost is replaced, and the end of the old one shows nothing", async () => {
    await store.recordReceipts([fixture.receipt(0, 1)]);
    const id = await leaseIdOf(1);
    const after = await store.revision();
    await raw.leaseClient.leaseRevoke({ ID: id });
    await store.recordReceipts([fixture.receipt(0, 2)]);
    expect(await leaseIdOf(2)).not.toBe(id);
    expect(await store.readReceipts(100)).toEqual([fixture.receipt(0, 2)]);
    const shown: Change[] = [];
    const abort = new AbortController();
    await store.watch(
      after,
      ({ changes }) => {
        shown.push(...changes);
        if (shown.length > 0) abort.abort();
      },
      { signal: abort.signal },
    );
    expect(shown).toEqual([{ kind: "receipts", receipts: [fixture.receipt(0, 2)] }]);
  });
});

describe("the version of what is in etcd", () => {
  test("of a newer release stops an older one at its start, by name, and while it runs", async () => {
    const { revision } = await store.readBans();
    await store.readConfig();
    const stop = new AbortController();
    // What a node does at each change of the configuration.
    const running = store.watch(
      revision,
      async ({ changes }) => {
        if (changes.some(({ kind }) => kind === "config")) await store.readConfig();
      },
      stop,
    );
    const newer = {
      code: "SCHEMA",
      retryable: false,
      message: expect.stringContaining("version 2"),
    };
    const ended = expect(running).rejects.toMatchObject(newer);
    await raw.put(keys.dataVersion).value("2");
    await ended;
    await expect(store.readConfig()).rejects.toMatchObject(newer);
  });

  test("that is this release's own, or missing, is none to speak of; what is no number is damage", async () => {
    await raw.put(keys.dataVersion).value("1");
    expect((await store.readConfig()).set.threshold).toBe(3);
    await raw.put(keys.dataVersion).value("two");
    await expect(store.readConfig()).rejects.toMatchObject({ code: "CORRUPT" });
  });
});

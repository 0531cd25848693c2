import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_PROTOCOL_CONFIG, decide, parseValue, unwrap } from "@quorate/core";
import { type EtcdCluster, freePort, startEtcd } from "@quorate/devkit";
import * as contract from "@quorate/testkit";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEtcdTallyStore, type EtcdTallyStore } from "./etcd-tally-store.ts";
import { keysOf } from "./keys.ts";
import { type LogLine, realClock, recordingLogger } from "./testing/real-parts.ts";

const SEVEN = unwrap(parseValue(7n));
const REQUEST_TIMEOUT_MS = 2_000;

let dataDir: string;
let cluster: EtcdCluster;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-failover-"));
  cluster = await startEtcd({ dataDir, members: 3 });
});

afterAll(async () => {
  await cluster.stop();
  await rm(dataDir, { recursive: true, force: true });
});

function storeOn(name: string, hosts: readonly string[], lines: LogLine[] = []): EtcdTallyStore {
  return createEtcdTallyStore(
    {
      hosts,
      clusterId: contract.testClusterId(name),
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      dialTimeoutMs: 5_000,
    },
    { clock: realClock, logger: recordingLogger(lines) },
  );
}

/** Casts a vote, again after each failure that says it may be repeated, as the pipeline does. */
async function castUntilDone(
  store: EtcdTallyStore,
  fixture: contract.TallyFixture,
  epochVersion: bigint,
  name: string,
): Promise<number> {
  const txId = contract.txIdOf(name);
  const votes = [fixture.vote(0, txId, SEVEN)];
  for (let failures = 0; ; failures++) {
    try {
      await contract.castVotes(store, fixture.set(3), epochVersion, { txId, votes });
      return failures;
    } catch (error) {
      expect(error).toMatchObject({ name: "StoreError", retryable: true });
      expect(failures).toBeLessThan(20);
    }
  }
}

test("every member is defragmented and disarmed, and one that is down keeps nobody from it", async () => {
  const store = storeOn("maintenance", cluster.endpoints);
  await store.start();
  const fixture = new contract.TallyFixture(contract.testClusterId("maintenance"), 4);
  await store.initCluster(fixture.set(3));
  const { epochVersion } = await store.readConfig();
  const raw = new Etcd3({ hosts: [...cluster.endpoints] });
  const cast = (name: string): Promise<number> => castUntilDone(store, fixture, epochVersion, name);
  await cast("tx-before");
  for (const { ID } of (await raw.cluster.memberList({})).members)
    await raw.maintenance.alarm({ action: "Activate", memberID: ID, alarm: "Nospace" });
  expect((await store.storage()).alarms).toEqual(["NOSPACE"]);
  const txId = contract.txIdOf("tx-full");
  const votes = [fixture.vote(0, txId, SEVEN)];
  await expect(
    contract.castVotes(store, fixture.set(3), epochVersion, { txId, votes }),
  ).rejects.toMatchObject({ code: "NO_SPACE", retryable: true });
  const down = cluster.members[((await cluster.leaderIndex()) + 1) % 3];
  await down?.kill();
  const { dbSizeBytes } = await store.storage();
  expect(dbSizeBytes).toBeGreaterThan(0);
  await store.defragment();
  expect(await store.disarm()).toBe(3);
  expect((await store.storage()).alarms).toEqual([]);
  await cast("tx-full");
  await down?.restart();
  raw.close();
  await store.stop();
});

describe("with three members", () => {
  test.each(["kill", "pause"] as const)(
    "when the member in use goes (%s), calls and watches go on through the others, and nothing is lost",
    async (how) => {
      const name = `failover-${how}`;
      const fixture = new contract.TallyFixture(contract.testClusterId(name), 5);
      const store = storeOn(name, cluster.endpoints);
      await store.start();
      await store.initCluster(fixture.set(3));
      const { epochVersion } = await store.readConfig();
      const seen: string[] = [];
      const abort = new AbortController();
      const allSeen = Promise.withResolvers<void>();
      const watching = store.watch(
        await store.revision(),
        ({ changes }) => {
          for (const change of changes) if (change.kind === "vote") seen.push(change.txId);
          if (seen.length >= 6) allSeen.resolve();
        },
        { signal: abort.signal },
      );
      const names = Array.from({ length: 6 }, (_, i) => `tx-${how}-${i}`);
      for (const txName of names.slice(0, 3))
        await castUntilDone(store, fixture, epochVersion, txName);
      const [first] = cluster.members;
      await first?.[how]();
      for (const txName of names.slice(3))
        await castUntilDone(store, fixture, epochVersion, txName);
      await allSeen.promise;
      abort.abort();
      await watching;
      expect(seen).toEqual(names);
      await (how === "kill" ? first?.restart() : first?.resume());
      await store.stop();
    },
  );

  test("a leader whose member is killed keeps its lease through the others", async () => {
    const store = storeOn("lease-move", cluster.endpoints);
    await store.start();
    const [first] = cluster.members;
    const result = await store.campaign("submitter", "a", 6, async (lost) => {
      await first?.kill();
      const lostFirst = new Promise((resolve) =>
        lost.addEventListener("abort", () => resolve("lost"), { once: true }),
      );
      const outlived = realClock.sleep(8_000).then(() => "outlived the first lease time");
      return await Promise.race([lostFirst, outlived]);
    });
    expect(result).toBe("outlived the first lease time");
    await first?.restart();
    await store.stop();
  });
});

describe("start", () => {
  test("rejects within the dial timeout and names the hosts when no etcd answers", async () => {
    const host = `http://127.0.0.1:${await freePort()}`;
    const store = createEtcdTallyStore(
      {
        hosts: [host],
        clusterId: contract.testClusterId("nobody"),
        requestTimeoutMs: 10_000,
        dialTimeoutMs: 700,
      },
      { clock: realClock, logger: recordingLogger() },
    );
    const startedMs = performance.now();
    const failure = await store.start().catch((error: unknown) => error);
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    expect(failure).toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(String(failure)).toContain(host);
    await store.stop();
  });

  test("a cluster that was never initialised is REFUSED, and a stopped store too", async () => {
    const store = storeOn("uninitialised", cluster.endpoints);
    await store.start();
    await expect(store.readConfig()).rejects.toMatchObject({ code: "REFUSED", retryable: false });
    await store.stop();
    await expect(store.revision()).rejects.toMatchObject({ code: "REFUSED" });
  });

  test("an aborted call rejects with the signal's reason", async () => {
    const store = storeOn("aborted", cluster.endpoints);
    await store.start();
    const abort = new AbortController();
    const reading = store.read(contract.txIdOf("tx"), { signal: abort.signal });
    const reason = new Error("no longer needed");
    abort.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await store.stop();
  });
});

describe("what was forged in etcd", () => {
  test("a vote key that exists is not overwritten, though the status guard holds", async () => {
    const name = "forged-vote";
    const fixture = new contract.TallyFixture(contract.testClusterId(name), 5);
    const store = storeOn(name, cluster.endpoints);
    await store.start();
    await store.initCluster(fixture.set(3));
    const { epochVersion } = await store.readConfig();
    const txId = contract.txIdOf("tx-taken");
    const { snapshot, version } = await store.read(txId);
    const context = {
      set: fixture.set(3),
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks: new Map(),
      verify: fixture.verify,
    };
    const votes = [fixture.vote(0, txId, SEVEN)];
    const input = { votes, nowMs: 0, deadlinePassed: false };
    const { writes } = decide(snapshot, input, context);
    if (writes === null) throw new Error("a first vote changes something");
    const raw = new Etcd3({ hosts: [...cluster.endpoints] });
    const key = `${keysOf(contract.testClusterId(name)).root}votes/${txId}/node-000`;
    await raw.put(key).value("taken");
    const [outcome] = await store.commit([{ version, writes }], epochVersion);
    expect(outcome?.kind).toBe("conflict");
    expect(await raw.get(key).string()).toBe("taken");
    raw.close();
    await store.stop();
  });

  test("neither crashes a read nor counts in it, and is logged", async () => {
    const name = "forged";
    const clusterId = contract.testClusterId(name);
    const keys = keysOf(clusterId);
    const fixture = new contract.TallyFixture(clusterId, 5);
    const lines: LogLine[] = [];
    const store = storeOn(name, cluster.endpoints, lines);
    await store.start();
    await store.initCluster(fixture.set(3));
    const { epochVersion } = await store.readConfig();
    const txId = contract.txIdOf("tx-forged");
    const other = contract.txIdOf("tx-other");
    for (const id of [txId, other])
      await contract.castVotes(store, fixture.set(3), epochVersion, {
        txId: id,
        votes: [fixture.vote(0, id, SEVEN)],
      });
    const raw = new Etcd3({ hosts: [...cluster.endpoints] });
    const root = keys.root;
    const genuine = await raw.get(`${root}votes/${other}/node-000`).string();
    await raw.put(`${root}votes/${txId}/node-001`).value("{not json");
    // Genuine, but of another transaction, and under another trustee's name.
    await raw.put(`${root}votes/${txId}/node-002`).value(genuine ?? "");
    await raw.put(`${root}votes/${txId}/NOT A NODE`).value(genuine ?? "");
    await raw.put(`${root}votes/${txId}/node-003/extra`).value(genuine ?? "");
    await raw.put(`${root}violations/${txId}/nobody/NOTHING`).value("{}");
    await raw.put(`${root}transactions/${txId}`).value("[]");
    await raw.put(`${root}transaction_status/${txId}`).value("SURELY_DONE");
    await raw.put(`${root}banned/nobody`).value("{}");
    await raw.put(`${root}silence/node-001`).value("-4");
    await raw.put(`${root}nodes/nobody`).value("null");
    const { snapshot } = await store.read(txId);
    expect([...snapshot.votes.keys()]).toEqual(["node-000"]);
    expect(snapshot).toMatchObject({ status: null, record: null });
    expect(snapshot.violations.size).toBe(0);
    expect((await store.readBans()).bans.size).toBe(0);
    expect((await store.readSilenceStreaks()).size).toBe(0);
    expect(await store.readPresence()).toEqual([]);
    expect(await store.readViolations(txId)).toEqual([]);
    expect((await store.listTransactions({ after: null, limit: 10 })).map((t) => t.txId)).toEqual([
      other,
    ]);
    expect(lines.filter(({ level }) => level === "warn").length).toBeGreaterThanOrEqual(10);
    await raw.put(`${root}config/total_nodes`).value("4");
    await expect(store.readConfig()).rejects.toMatchObject({ code: "CORRUPT", retryable: false });
    raw.close();
    await store.stop();
  });
});

import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseClusterId, parseNodeId, unwrap } from "@quorate/core";
import { startAnvil, stopAll, waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
  withClusterStore,
} from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import type { Presence } from "@quorate/ports";
import { systemClock } from "@quorate/telemetry";
import { testCluster } from "@quorate/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doctorAction } from "../commands/doctor-action.ts";
import { recordingTerminal } from "../test-terminal.ts";
import type { Diagnosis } from "./check.ts";

const CLUSTER_ID = unwrap(parseClusterId("faults"));

let scratch: string;
let servers: LocalServers;
let cluster: LocalCluster;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-faults-"));
  servers = await startLocalServers({ directory: join(scratch, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(scratch, "cluster"),
    clusterId: CLUSTER_ID,
    trustees: 2,
    threshold: 2,
    logLevel: "error",
  });
});
afterAll(async () => {
  await cluster?.stop();
  await servers?.stop();
  await stopAll();
  await rm(scratch, { recursive: true, force: true });
});

const file = (name: string): string => join(scratch, "cluster", name);
const node = () => cluster.nodes[0] ?? expect.fail("there is a node");

type Parts = Parameters<typeof doctorAction>[2];

async function doctor(config: string, set: readonly string[] = [], parts: Parts = {}) {
  const terminal = recordingTerminal();
  const code = await doctorAction({ config, set, json: true }, terminal, parts);
  const { ok, checks } = JSON.parse(terminal.stdout()) as Diagnosis;
  expect(code).toBe(ok ? 0 : 1);
  const named = (level: string) => checks.filter((c) => c.level === level).map((c) => c.name);
  const text = (name: string) => {
    const found = checks.find((c) => c.name === name);
    return `${found?.detail} → ${found?.advice}`;
  };
  return { failed: named("fail"), warned: named("warn"), text };
}
const ofNode = (set?: readonly string[], parts?: Parts) => doctor(node().configFile, set, parts);
const ofSubmitter = (set?: readonly string[]) => doctor(cluster.submitter.configFile, set);

describe("quorate doctor, on real parts", () => {
  it("finds nothing wrong with a running node, nor with a running submitter", async () => {
    const healthy = await ofNode();
    expect([healthy.failed, healthy.warned]).toEqual([[], []]);
    expect(healthy.text("ports")).toContain("this process runs and has them");
    expect(healthy.text("peers")).toContain("1 live nodes reached");
    // A leader just elected, and the history of the start, take a moment.
    let found = await ofSubmitter();
    await waitUntil(
      async () => {
        found = await ofSubmitter();
        return found.warned.length + found.failed.length === 0;
      },
      { timeoutMs: 30_000, pollMs: 200, what: "the submitter to be found well" },
    );
    expect(found.text("projector")).toContain("with etcd");
  });

  it("names a key file that others can read", async () => {
    await chmod(file("trustee-1/node.key"), 0o644);
    const found = await ofNode();
    await chmod(file("trustee-1/node.key"), 0o600);
    expect([found.failed, found.warned]).toEqual([["key file"], []]);
    expect(found.text("key file")).toMatch(/permissions 0644.* → chmod 600 /);
  });

  it("names a clock that is 40 s off, by etcd's and another node's", async () => {
    const real = systemClock();
    const clock = { ...real, nowMs: () => real.nowMs() + 40_000 };
    const found = await ofNode([], { clock });
    expect([found.failed, found.warned]).toEqual([["clock"], []]);
    expect(found.text("clock")).toMatch(/^(39|40|41) s ahead of the others \(2 asked\)/);
  });

  it("names an etcd that can't be reached, and what could not be checked without it", async () => {
    const found = await ofNode(["etcd.hosts=http://127.0.0.1:9"]);
    expect(found.failed).toEqual(["etcd"]);
    expect(found.text("etcd")).toContain("127.0.0.1:9");
    expect(found.warned).toEqual(["cluster", "membership", "clock", "versions"]);
  });

  it("names a cluster id that etcd does not hold, and those that it does", async () => {
    const found = await ofNode(["clusterId=another"]);
    expect(found.failed).toEqual(["cluster"]);
    expect(found.text("cluster")).toContain("no cluster called another; it holds faults →");
  });

  it("names an RPC endpoint that is on another chain", async () => {
    const other = await startAnvil({
      blockTimeSeconds: 1,
      chainId: 4_242,
      logFile: join(scratch, "other.log"),
    });
    const found = await ofSubmitter([`chain.rpcUrls=${servers.anvil.rpcUrl},${other.rpcUrl}`]);
    await other.stop();
    expect(found.failed).toEqual([`rpc ${new URL(other.rpcUrl).host}`]);
    expect(found.text(found.failed[0] ?? "")).toContain("4242");
  });

  it("names a contract that is not there", async () => {
    const found = await ofSubmitter([`chain.contractAddress=0x${"de".repeat(20)}`]);
    const rpc = `rpc ${new URL(servers.anvil.rpcUrl).host}`;
    expect(found.failed).toEqual([rpc, "contract"]);
    expect(found.text(rpc)).toContain("contract");
    expect(found.text("contract")).toContain("chain.contractAddress");
  });

  it("names an account without enough money", async () => {
    const setBalance = async (wei: string): Promise<void> => {
      const call = { jsonrpc: "2.0", id: 1, method: "anvil_setBalance" };
      const params = [cluster.submitterAddress, wei];
      const body = JSON.stringify({ ...call, params });
      const headers = { "content-type": "application/json" };
      await fetch(servers.anvil.rpcUrl, { method: "POST", headers, body });
    };
    await setBalance("0x2540be400");
    const found = await ofSubmitter();
    await setBalance("0x8ac7230489e80000");
    // The gas of a full batch is estimated for this account, which can't pay for it.
    expect(found.failed).toContain("balance");
    expect(found.failed.filter((name) => name !== "contract")).toEqual(["balance"]);
    expect(found.text("balance")).toContain("send money to this account");
  });

  it("names a node that runs another release", async () => {
    const over = new AbortController();
    const old = testCluster({ trustees: 1, threshold: 1 }).nodes[0]?.peerId ?? expect.fail();
    await withClusterStore(
      { clusterId: CLUSTER_ID, etcdHosts: servers.etcd.endpoints },
      async (store) => {
        const presence: Presence = {
          peerId: old,
          nodeId: unwrap(parseNodeId("trustee-9")),
          // Where another node listens, so that it can be dialled.
          addresses: (await store.readPresence()).flatMap(({ addresses }) => addresses),
          apiUrl: null,
          version: "0.0.9",
          startedAtMs: 1,
        };
        const announced = store.announce(presence, 10, { signal: over.signal });
        const isThere = async (): Promise<boolean> =>
          (await store.readPresence()).some(({ peerId }) => peerId === old);
        await waitUntil(isThere, { timeoutMs: 10_000, pollMs: 100, what: "the old node" });
        const found = await ofNode();
        over.abort();
        await announced.catch(() => {});
        expect([found.failed, found.warned]).toEqual([[], ["versions"]]);
        expect(found.text("versions")).toContain("trustee-9 runs 0.0.9 → bring all to one release");
      },
    );
  });

  it("names a port that another program has", async () => {
    await node().stop();
    const squatter = createServer().listen(Number(new URL(node().url).port), "127.0.0.1");
    await once(squatter, "listening");
    const found = await ofNode();
    squatter.close();
    expect(found.failed).toEqual(["ports"]);
    expect(found.text("ports")).toMatch(/api.port 127.0.0.1:\d+ is taken by another program/);
    expect((await ofNode()).failed).toEqual([]);
  });

  it("names a projector that stands still", async () => {
    await cluster.submitter.stop();
    await node().start();
    expect((await ofSubmitter()).failed).toEqual([]);
    await createNodeClient(node().url).vote("tx-1", "7");
    const found = await ofSubmitter();
    expect(found.failed).toEqual(["projector"]);
    expect(found.text("projector")).toMatch(/stands still at revision \d+.*no submitter leads/);
  });
});

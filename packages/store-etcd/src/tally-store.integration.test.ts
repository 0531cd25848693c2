import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EtcdCluster, startEtcd } from "@quorate/devkit";
import * as contract from "@quorate/testkit";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll } from "vitest";
import { initRequest } from "./cluster-config.ts";
import { createEtcdTallyStore, type EtcdTallyStore } from "./etcd-tally-store.ts";
import { keysOf } from "./keys.ts";
import { type CuttingProxy, startCuttingProxy } from "./testing/cutting-proxy.ts";
import { realClock, recordingLogger } from "./testing/real-parts.ts";

let dataDir: string;
let cluster: EtcdCluster;
let worlds = 0;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-tally-"));
  cluster = await startEtcd({ dataDir, members: 1 });
});

afterAll(async () => {
  await cluster.stop();
  await rm(dataDir, { recursive: true, force: true });
});

async function makeWorld(): Promise<contract.TallyWorld> {
  const clusterId = contract.testClusterId(`contract-${worlds++}`);
  const keys = keysOf(clusterId);
  const [endpoint = ""] = cluster.endpoints;
  const [member] = cluster.members;
  const proxies = new Map<EtcdTallyStore, CuttingProxy>();
  const raw = new Etcd3({ hosts: endpoint });
  const proxyOf = (client: EtcdTallyStore): CuttingProxy => {
    const proxy = proxies.get(client);
    if (proxy === undefined) throw new Error("the client is of this world");
    return proxy;
  };
  return {
    clusterId,
    client: async () => {
      const proxy = await startCuttingProxy(endpoint);
      const store = createEtcdTallyStore(
        { hosts: [proxy.url], clusterId, requestTimeoutMs: 5_000, dialTimeoutMs: 10_000 },
        { clock: realClock, logger: recordingLogger() },
      );
      await store.start();
      proxies.set(store, proxy);
      return store;
    },
    crash: async (client) => proxyOf(client).goDark(),
    // Real leases run out by themselves.
    pass: async () => {},
    loseNextReply: async (client) => proxyOf(client).loseNextReply(),
    restart: async () => {
      await member?.kill();
      await member?.restart();
    },
    moveEpoch: async (set) => {
      await raw.delete().prefix(keys.trustees);
      await raw.kv.txn({ success: initRequest(keys, set).success ?? [] });
    },
    compact: async (revision) => {
      await raw.kv.compact({ revision: revision.toString() });
    },
    writeUnreadable: async () => {
      await raw.put(`${keys.root}votes/tx-1/node-000`).value("{not json");
    },
    close: async () => {
      raw.close();
      await Promise.all([...proxies.keys()].map((client) => client.stop()));
      await Promise.all([...proxies.values()].map((proxy) => proxy.close()));
    },
  };
}

contract.tallyStoreContract("etcd", makeWorld);

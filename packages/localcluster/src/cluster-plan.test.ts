import {
  DEFAULT_PROTOCOL_CONFIG,
  hexToBytes,
  parseClusterId,
  parseEvmAddress,
  parseNodeId,
  peerIdOf,
  unwrap,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import { nodeSchema, submitterSchema } from "@quorate/settings";
import { describe, expect, it } from "vitest";
import { containerAddresses, loopbackAddresses, portsFrom } from "./addresses.ts";
import { parseClusterFile, sameTrusteeSet } from "./cluster-file.ts";
import { type ClusterPlan, type ClusterRequest, planCluster, planJoin } from "./cluster-plan.ts";

const CONTRACT = unwrap(parseEvmAddress(`0x${"ab".repeat(20)}`));

function request(trustees: number, threshold: number): ClusterRequest {
  return {
    clusterId: unwrap(parseClusterId("test")),
    trustees,
    threshold,
    protocol: { ...DEFAULT_PROTOCOL_CONFIG, settleMs: 1_234, deadlineMs: 5_678 },
    etcdHosts: ["http://127.0.0.1:2379"],
    postgresUrl: "postgres://127.0.0.1:5432/postgres",
    chain: {
      rpcUrls: ["http://127.0.0.1:8545"],
      chainId: 31_337,
      contractAddress: CONTRACT,
      finality: { kind: "confirmations", blocks: 2 },
      pollMs: 250,
    },
    logLevel: "info",
  };
}

const plan = (trustees: number, threshold: number): ClusterPlan =>
  unwrap(
    planCluster(request(trustees, threshold), () => loopbackAddresses(portsFrom(7_600, trustees))),
  );

function contentOf({ files }: ClusterPlan, path: string): string {
  const file = files.find((candidate) => candidate.path === path);
  if (file === undefined) throw new Error(`no file ${path}`);
  return file.content;
}

describe("a planned cluster", () => {
  it("says everything that is impossible about N and t at once", () => {
    const refused = planCluster(request(0, 0), containerAddresses);
    expect(refused).toEqual({ ok: false, error: [expect.any(String), expect.any(String)] });
    const tooHigh = planCluster(request(3, 4), containerAddresses);
    expect(tooHigh).toEqual({
      ok: false,
      error: [expect.stringContaining("threshold 4 is more than the 3 trustees")],
    });
  });

  it("has configurations that the apps accept", () => {
    const five = plan(5, 4);
    for (const id of [1, 2, 3, 4, 5]) {
      const node = nodeSchema.parse(JSON.parse(contentOf(five, `trustee-${id}/node.json`)));
      expect(node.nodeId).toBe(`trustee-${id}`);
      expect(node.protocol).toMatchObject({ settleMs: 1_234, deadlineMs: 5_678 });
      expect(node.api.port).toBe(7_700 + id);
    }
    const submitter = submitterSchema.parse(
      JSON.parse(contentOf(five, "submitter/submitter.json")),
    );
    expect(submitter.chain.contractAddress).toBe(CONTRACT);
    expect(submitter.protocol).toMatchObject({ settleMs: 1_234, deadlineMs: 5_678 });
  });

  it("has container configurations that the apps accept, each under its own name", () => {
    const made = unwrap(planCluster(request(3, 2), containerAddresses));
    const node = nodeSchema.parse(JSON.parse(contentOf(made, "trustee-2/node.json")));
    expect(node.network.announce).toEqual(["/dns4/trustee-2/tcp/4001"]);
    expect(node.network.bootstrap[0]).toMatch(/^\/dns4\/trustee-1\/tcp\/4001\/p2p\/12D3KooW/);
  });

  it("leaves the contract out of the submitter's file until there is one", () => {
    const base = request(1, 1);
    const made = unwrap(
      planCluster({ ...base, chain: { ...base.chain, contractAddress: null } }, containerAddresses),
    );
    const config = JSON.parse(contentOf(made, "submitter/submitter.json"));
    expect(config.chain).not.toHaveProperty("contractAddress");
    expect(submitterSchema.safeParse(config).success).toBe(false);
  });

  it("gives each trustee the key that its entry in the trustee set names", () => {
    const five = plan(5, 4);
    for (const trustee of five.set.trustees) {
      const seed = hexToBytes(contentOf(five, `${trustee.nodeId}/node.key`).trim());
      expect(createVoteSigner(seed).publicKey).toEqual(trustee.publicKey);
    }
  });

  it("keeps every key in a secret file and none anywhere else", () => {
    const five = plan(5, 4);
    const keys = five.files.filter((file) => file.path.endsWith(".key"));
    expect(keys).toHaveLength(11);
    expect(five.files.filter((file) => file.secret)).toEqual(keys);
    for (const key of keys) {
      const digits = key.content.trim().replace(/^0x/, "");
      expect(digits).toMatch(/^[0-9a-f]{64}$/);
      for (const file of five.files.filter((other) => !other.secret))
        expect(file.content).not.toContain(digits);
    }
  });

  it("makes other keys each time", () => {
    expect(contentOf(plan(1, 1), "trustee-1/node.key")).not.toBe(
      contentOf(plan(1, 1), "trustee-1/node.key"),
    );
  });

  it("never gives one port to two listeners, with a hundred trustees", () => {
    const ports = portsFrom(7_600, 100);
    const all = [ports.submitterApi, ...ports.nodes.flatMap((node) => [node.network, node.api])];
    expect(new Set(all).size).toBe(201);
  });
});

describe("a cluster file", () => {
  const made = plan(5, 4);
  const file = (): Record<string, unknown> => JSON.parse(contentOf(made, "cluster.json"));

  it("reads back as the trustee set it was written from", () => {
    const parsed = unwrap(parseClusterFile(file()));
    expect(sameTrusteeSet(parsed, made.set)).toBe(true);
    expect(sameTrusteeSet(parsed, plan(5, 4).set)).toBe(false);
  });

  it("names everything that is wrong with it at once", () => {
    const broken = parseClusterFile({
      ...file(),
      clusterId: "Not a label",
      threshold: "four",
      trustees: [{ nodeId: "trustee-1", peerId: "x", publicKey: "yy", evmAddress: "0x1" }],
    });
    expect(broken.ok).toBe(false);
    const problems = broken.ok ? "" : broken.error.join("\n");
    for (const part of ["clusterId", "threshold", "0.peerId", "0.publicKey", "0.evmAddress"])
      expect(problems).toContain(part);
  });

  it("refuses a peer id that does not belong to the public key beside it", () => {
    const other = plan(1, 1).set.trustees[0];
    const content = file();
    const entries = content["trustees"];
    if (!Array.isArray(entries)) throw new Error("no trustees");
    const swapped = [{ ...entries[0], peerId: other?.peerId }, ...entries.slice(1)];
    const refused = parseClusterFile({ ...content, trustees: swapped });
    expect(refused).toEqual({
      ok: false,
      error: [expect.stringContaining("peer id does not belong to its public key")],
    });
  });
});

describe("a node that is to join", () => {
  const join = () =>
    planJoin({
      clusterId: unwrap(parseClusterId("test")),
      nodeId: unwrap(parseNodeId("trustee-5")),
      etcdHosts: ["http://127.0.0.1:2379"],
      bootstrap: ["/ip4/127.0.0.1/tcp/4001"],
      listen: "/ip4/127.0.0.1/tcp/4005",
      api: { host: "127.0.0.1", port: 7_705 },
    });

  it("is told its name, its key, etcd and one address, and of its peers nothing", () => {
    const { files } = join();
    const config = JSON.parse(files.find((f) => f.path === "node.json")?.content ?? "");
    expect(nodeSchema.parse(config)).toMatchObject({ clusterId: "test", nodeId: "trustee-5" });
    expect(config.network.bootstrap).toEqual(["/ip4/127.0.0.1/tcp/4001"]);
    expect(Object.keys(config).toSorted()).toEqual([
      "api",
      "clusterId",
      "etcd",
      "keyFile",
      "network",
      "nodeId",
    ]);
  });

  it("has the key that its operator admits, in a file of its own, another one each time", () => {
    const { trustee, files } = join();
    const key = files.find((f) => f.path === "node.key");
    expect(key?.secret).toBe(true);
    const { publicKey } = createVoteSigner(hexToBytes(key?.content.trim() ?? ""));
    expect(publicKey).toEqual(trustee.publicKey);
    expect(peerIdOf(publicKey)).toBe(trustee.peerId);
    expect(join().trustee.peerId).not.toBe(trustee.peerId);
  });
});

import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parsePeerId, publicKeyOf, unwrap } from "@quorate/core";
import { nodeAt, testCluster } from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";

const PEER = nodeAt(testCluster({ trustees: 1, threshold: 1 }), 0);
const BOOTSTRAP = `/ip4/10.0.0.1/tcp/4001/p2p/${PEER.peerId}`;

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-join-"));
});
afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

async function create(nodeId: string, ...more: readonly string[]) {
  const terminal = recordingTerminal();
  const where = ["--etcd", "http://127.0.0.1:9", "--out", join(scratch, "new")];
  const code = await run(["trustee", "create", nodeId, ...where, ...more], terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

describe("trustee create", () => {
  it("makes a node that knows its key, etcd and one address, and says how to admit it", async () => {
    const made = await create("trustee-5", "--cluster", "prod", "--bootstrap", BOOTSTRAP, "--json");
    expect(made.code, made.stderr).toBe(0);
    const { peerId, evmAddress } = JSON.parse(made.stdout);
    expect(publicKeyOf(unwrap(parsePeerId(peerId)))).toHaveLength(32);
    expect(JSON.parse(await readFile(join(scratch, "new", "node.json"), "utf8"))).toEqual({
      clusterId: "prod",
      nodeId: "trustee-5",
      keyFile: "node.key",
      etcd: { hosts: ["http://127.0.0.1:9"] },
      network: { listen: ["/ip4/0.0.0.0/tcp/4001"], bootstrap: [BOOTSTRAP] },
      api: { host: "127.0.0.1", port: 7_701 },
    });
    expect((await stat(join(scratch, "new", "node.key"))).mode & 0o777).toBe(0o600);
    expect(made.stderr).toContain(
      `trustee add trustee-5 --peer-id ${peerId} --evm-address ${evmAddress} --cluster prod --etcd http://127.0.0.1:9`,
    );
    const key = (await readFile(join(scratch, "new", "node.key"), "utf8")).trim();
    expect(made.stdout + made.stderr).not.toContain(key);
  });

  it("takes the rules by which the cluster judges from the cluster's file", async () => {
    const file = join(scratch, "cluster.json");
    const { nodeId, peerId, trustee } = PEER;
    const member = {
      nodeId,
      peerId,
      publicKey: Buffer.from(trustee.publicKey).toString("hex"),
      evmAddress: trustee.evmAddress,
    };
    const protocol = { policy: "quarantine-and-continue", settleMs: 700 };
    const cluster = { clusterId: "filed", epoch: 1, threshold: 1, trustees: [member], protocol };
    await writeFile(file, JSON.stringify(cluster));
    const made = await create("trustee-5", "--cluster", file, "--bootstrap", BOOTSTRAP);
    expect(made.code, made.stderr).toBe(0);
    const config = JSON.parse(await readFile(join(scratch, "new", "node.json"), "utf8"));
    expect(config).toMatchObject({ clusterId: "filed", protocol });
    expect(made.stderr).not.toContain("default protocol settings");
  });

  it("never writes over a key", async () => {
    const args = ["trustee-5", "--bootstrap", BOOTSTRAP] as const;
    await create(...args);
    const before = await readFile(join(scratch, "new", "node.key"), "utf8");
    const again = await create(...args);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(await readFile(join(scratch, "new", "node.key"), "utf8")).toBe(before);
  });

  it("says everything that is wrong with its arguments at once", async () => {
    const addresses = `/ip4/10.0.0.1/tcp/4001,/p2p/${PEER.peerId}`;
    const wrong = await create("Node", "--bootstrap", addresses);
    expect(wrong.code).toBe(2);
    for (const part of ["3 problems", '"Node"', '"/ip4/10.0.0.1/tcp/4001"', `"/p2p/`])
      expect(wrong.stderr).toContain(part);
  });
});

import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_PROTOCOL_CONFIG, parseClusterId, unwrap } from "@quorate/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { containerAddresses } from "./addresses.ts";
import { readClusterFile } from "./cluster-file.ts";
import { planCluster } from "./cluster-plan.ts";
import { LocalClusterError } from "./errors.ts";
import { writeCluster } from "./write-cluster.ts";

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-write-"));
});
afterEach(() => rm(scratch, { recursive: true, force: true }));

const plan = unwrap(
  planCluster(
    {
      clusterId: unwrap(parseClusterId("test")),
      trustees: 3,
      threshold: 2,
      protocol: DEFAULT_PROTOCOL_CONFIG,
      etcdHosts: ["http://127.0.0.1:2379"],
      postgresUrl: "postgres://127.0.0.1/postgres",
      chain: {
        rpcUrls: ["http://127.0.0.1:8545"],
        chainId: 1,
        contractAddress: null,
        finality: { kind: "finalized" },
        pollMs: 250,
      },
      logLevel: "info",
    },
    containerAddresses,
  ),
);

test("keys can be read by their owner alone", async () => {
  const target = join(scratch, "deep", "cluster");
  await writeCluster(plan, target);
  for (const file of plan.files) {
    const { mode } = await stat(join(target, file.path));
    expect(mode & 0o077, file.path).toBe(file.secret ? 0 : 0o044);
  }
  expect((await readClusterFile(join(target, "cluster.json"))).trustees).toHaveLength(3);
});

test("an empty directory is taken, one that holds anything is refused and left as it was", async () => {
  const empty = join(scratch, "empty");
  await mkdir(empty);
  await writeCluster(plan, empty);
  expect(await readdir(empty)).toContain("cluster.json");

  const taken = join(scratch, "taken");
  await mkdir(taken);
  await writeFile(join(taken, "mine"), "precious");
  await expect(writeCluster(plan, taken)).rejects.toMatchObject({
    code: "DIRECTORY_NOT_EMPTY",
    message: expect.stringContaining(taken),
  });
  expect(await readdir(taken)).toEqual(["mine"]);
});

test("a write that fails half-way leaves nothing behind", async () => {
  const [first] = plan.files;
  if (first === undefined) throw new Error("no files");
  // The same path twice: the second is refused by the file system.
  const broken = { ...plan, files: [...plan.files, first] };
  await expect(writeCluster(broken, join(scratch, "cluster"))).rejects.toThrow("EEXIST");
  expect(await readdir(scratch)).toEqual([]);
});

test("a cluster file that is missing or no JSON is named in the error", async () => {
  const path = join(scratch, "cluster.json");
  await expect(readClusterFile(path)).rejects.toThrow(`${path} can't be used: there is no such`);
  await writeFile(path, "{");
  await expect(readClusterFile(path)).rejects.toBeInstanceOf(LocalClusterError);
  await expect(readClusterFile(path)).rejects.toThrow("not valid JSON");
});

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { parseClusterId, parseNodeId, parseTxId, parseValue, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  type MisbehavingPeer,
  startCluster,
  startLocalServers,
  startMisbehavingPeer,
} from "@quorate/localcluster";
import { type BanList, createNodeClient } from "@quorate/localcluster/client";
import { afterAll, beforeAll, expect, it } from "vitest";

const MAIN = join(import.meta.dirname, "..", "main.ts");
const CATCH_TIMEOUT_MS = 30_000;

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
let traitor: MisbehavingPeer | null = null;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-evidence-"));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId("evidence-test")),
    trustees: 5,
    threshold: 3,
    // Silence bans at once, soon after the first vote.
    protocol: { profile: "strict", deadlineMs: 5_000 },
    absent: ["trustee-4", "trustee-5"],
    withSubmitter: false,
  });
});

afterAll(async () => {
  await traitor?.stop();
  await cluster?.stop();
  await servers?.stop();
  const moved = dirname(servers.postgres.databaseDir);
  if (relative(directory, moved).startsWith(".."))
    await rm(moved, { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
});

const txId = (text: string) => unwrap(parseTxId(text));
const value = (text: string) => unwrap(parseValue(text));
const url = (number: number): string => cluster.nodes[number - 1]?.url ?? "";

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function command(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const text = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk: Buffer) => {
      text.stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      text.stderr += chunk.toString();
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, ...text }));
  });
}

const QUORATE = [process.execPath, "--conditions=@quorate/source", MAIN];
const quorate = (...argv: readonly string[]): Promise<Ended> =>
  command(process.execPath, [...QUORATE.slice(1), ...argv]);

/** Without any network interface where the system allows to take it away, else as it is. */
async function offline(...argv: readonly string[]): Promise<Ended> {
  const alone = await command("unshare", ["-n", "true"]).catch(() => ({ code: 1 }));
  // A build machine that is not root still checks the rest; that nothing opens a connection is tested by what is loaded.
  if (alone.code !== 0) return await quorate(...argv);
  const seen = await command("unshare", ["-n", "cat", "/proc/net/route"]);
  expect(seen.stdout.trim().split("\n")).toHaveLength(1);
  return await command("unshare", ["-n", ...QUORATE, ...argv]);
}

async function evidenceId(trustee: string, type: string): Promise<string> {
  const list = ["evidence", "list", "--trustee", trustee, "--node", url(1), "--json"];
  const listed = await quorate(...list);
  expect(listed.code, listed.stderr).toBe(0);
  const { evidence } = JSON.parse(listed.stdout) as {
    evidence: readonly { id: string; type: string }[];
  };
  const ids = evidence.filter((e) => e.type === type).map((e) => e.id);
  expect(ids).toHaveLength(1);
  return ids[0] ?? "";
}

async function untilBanned(nodeId: string): Promise<BanList["bans"][number]> {
  let ban: BanList["bans"][number] | undefined;
  await waitUntil(
    async () => {
      const { bans } = await createNodeClient(url(2)).bans();
      ban = bans.find((b) => b.nodeId === nodeId);
      return ban !== undefined;
    },
    { timeoutMs: CATCH_TIMEOUT_MS, what: `the ban of ${nodeId}` },
  );
  if (ban === undefined) throw new Error("waited for it");
  return ban;
}

it("a silence ban is shown with its evidence, which verifies offline as an opinion, and is lifted with a reason", async () => {
  traitor = await startMisbehavingPeer(cluster, unwrap(parseNodeId("trustee-4")));
  for (const number of [1, 2, 3]) await createNodeClient(url(number)).vote("tx-s", "7");
  await traitor.publish(txId("tx-s"), value("7"));
  const ban = await untilBanned("trustee-5");
  expect(ban).toMatchObject({ reason: "SILENT_FAILURE", grade: "OPINION" });
  const id = await evidenceId("trustee-5", "SILENT_FAILURE");
  expect(ban.evidenceId).toBe(id);

  const out = join(directory, "silence.json");
  const exported = await quorate("evidence", "export", id, "--node", url(2), "--out", out);
  expect(exported.code, exported.stderr).toBe(0);
  const verified = await offline("evidence", "verify", out, "--json");
  expect(verified.code, verified.stdout).toBe(0);
  const verdict: unknown = JSON.parse(verified.stdout);
  expect(verdict).toMatchObject({
    files: [{ id, grade: "OPINION", exportedBy: { nodeId: "trustee-2" } }],
  });
  expect(verified.stdout).toContain("4 of 5 trustees had");

  const reason = "its machine had no power";
  const lift = ["ban", "lift", "trustee-5", "--reason", reason, "--operator", "ada@ops"];
  const lifted = await quorate(...lift, "--node", url(3));
  expect(lifted.code, lifted.stderr).toBe(0);
  expect(lifted.stdout).toContain(`by ada@ops, because: ${reason}`);
  await waitUntil(
    async () => {
      const { bans } = await createNodeClient(url(1)).bans();
      return bans.every((b) => b.nodeId !== "trustee-5");
    },
    { timeoutMs: CATCH_TIMEOUT_MS, what: "the end of the ban at another node" },
  );
  const bans = await quorate("bans", "--lifted", "--node", url(1));
  expect(bans.stdout).toMatch(/trustee-5 .*SILENT_FAILURE +ada@ops +its machine had no power/);
  const again = await quorate(...lift, "--node", url(3));
  expect(again).toMatchObject({ code: 1, stdout: "" });
  expect(again.stderr).toContain("NOT_BANNED");
});

it("a double vote is exported, verifies with no network under the cluster's own trustee set, bears no change, and stays", async () => {
  if (traitor === null) throw new Error("the traitor runs");
  await traitor.publish(txId("tx-d"), value("1"));
  await traitor.publish(txId("tx-d"), value("2"));
  expect(await untilBanned("trustee-4")).toMatchObject({ grade: "PROOF" });
  const id = await evidenceId("trustee-4", "DOUBLE_VOTING");
  const shown = await quorate("evidence", "show", id, "--node", url(1));
  expect(shown.stdout).toContain("trustee-4 signed two votes for tx-d in epoch 1: 1 and 2.");

  const out = join(directory, "double.json");
  const exported = await quorate("evidence", "export", id, "--node", url(1), "--out", out);
  expect(exported.code, exported.stderr).toBe(0);
  const pin = ["--cluster", join(directory, "cluster", "cluster.json")];
  const verified = await offline("evidence", "verify", out, ...pin);
  expect(verified.code, verified.stdout).toBe(0);
  expect(verified.stdout).toMatch(
    /GOOD, PROOF: trustee-4 signed two votes for tx-d in epoch 1: 1 and 2; under .*you named\.\n$/,
  );

  const bytes = await readFile(out);
  const changed = join(directory, "changed.json");
  bytes.writeUInt8((bytes[bytes.length >> 1] ?? 0) ^ 1, bytes.length >> 1);
  await writeFile(changed, bytes);
  const refused = await offline("evidence", "verify", out, changed);
  expect(refused.code).toBe(1);
  expect(refused.stdout).toMatch(/double\.json: GOOD.*\n.*changed\.json: NOT GOOD: .*\n$/);

  const lift = ["ban", "lift", "trustee-4", "--reason", "please", "--node", url(1)];
  const kept = await quorate(...lift);
  expect(kept).toMatchObject({ code: 1, stdout: "" });
  expect(kept.stderr).toContain("BAN_PERMANENT");
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recordKeyOf } from "@quorate/chain-evm";
import { parseClusterId, parseEpoch, parseTxId, parseValue, unwrap } from "@quorate/core";
import { stopAll, waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createPool, createSubmissionStore, schemaOf } from "@quorate/store-postgres";
import { memoryLogger } from "@quorate/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";

const CLUSTER_ID = unwrap(parseClusterId("doctor"));
const TX = unwrap(parseTxId("tx-1"));

let scratch: string;
let servers: LocalServers;
let cluster: LocalCluster;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-doctor-"));
  servers = await startLocalServers({ directory: join(scratch, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(scratch, "cluster"),
    clusterId: CLUSTER_ID,
    trustees: 3,
    threshold: 2,
    logLevel: "error",
    // The submitter alone: nobody votes here.
    absent: ["trustee-1", "trustee-2", "trustee-3"],
  });
});
afterAll(async () => {
  await cluster?.stop();
  await servers?.stop();
  await stopAll();
  await rm(scratch, { recursive: true, force: true });
});

async function quorate(...argv: string[]) {
  const terminal = recordingTerminal();
  const code = await run(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

const submissions = (...argv: string[]) =>
  quorate("submissions", ...argv, "--submitter", cluster.submitter.url);

interface Diagnosed {
  readonly code: number;
  readonly ok: boolean;
  /** Names of checks by level. */
  readonly named: (level: string) => readonly string[];
  readonly text: string;
}

async function doctor(...argv: string[]): Promise<Diagnosed> {
  const config = ["--config", cluster.submitter.configFile];
  const { code, stdout, stderr } = await quorate(
    "submitter",
    "doctor",
    ...config,
    "--json",
    ...argv,
  );
  expect(stderr).toBe("");
  const { ok, checks } = JSON.parse(stdout) as {
    ok: boolean;
    checks: readonly { name: string; level: string }[];
  };
  const named = (level: string) => checks.filter((c) => c.level === level).map(({ name }) => name);
  return { code, ok, named, text: stdout };
}

async function settled(wanted: (found: Diagnosed) => boolean): Promise<Diagnosed> {
  let last = await doctor();
  await waitUntil(
    async () => {
      last = await doctor();
      return wanted(last);
    },
    { timeoutMs: 20_000, pollMs: 200, what: `the doctor to find as expected, not ${last.text}` },
  );
  return last;
}

describe("submitter doctor and submissions, on real parts", () => {
  it("find nothing wrong with a local cluster", async () => {
    const found = await settled(({ named }) => named("ok").includes("leader"));
    expect([found.named("fail"), found.named("warn")]).toEqual([[], []]);
    expect([found.ok, found.code]).toEqual([true, 0]);
    // A key is checked and never shown.
    expect(found.text).toContain(cluster.submitterAddress);
  });

  it("freeze holds a queued value back and the doctor says so; unfreeze lets it through", async () => {
    const freeze = await submissions("freeze", "--reason", "a rehearsal", "--operator", "ada");
    expect(freeze.code, freeze.stderr).toBe(0);
    const pool = createPool({
      url: servers.postgres.url,
      schema: schemaOf(CLUSTER_ID),
      logger: memoryLogger(),
    });
    const submission = {
      txId: TX,
      key: recordKeyOf(CLUSTER_ID, TX),
      value: unwrap(parseValue(7n)),
      epoch: unwrap(parseEpoch(1)),
      decisionRevision: 1n,
    };
    const sender = { chainId: servers.anvil.chainId, address: cluster.submitterAddress };
    await createSubmissionStore(pool).enqueue([submission], sender);
    await pool.end();

    const frozen = await doctor();
    expect([frozen.code, frozen.named("fail")]).toEqual([1, ["frozen"]]);
    expect((await submissions("list", "--state", "QUEUED")).stdout).toMatch(/^tx-1 +7 +QUEUED/m);
    expect((await submissions("show", "tx-1")).stdout).toContain("nothing is signed for it");
    const retry = await submissions("retry", "tx-1", "--reason", "impatience");
    expect([retry.code, retry.stderr]).toEqual([1, expect.stringContaining("NOT_QUARANTINED")]);

    const thawed = await submissions("unfreeze", "--reason", "over", "--operator", "ada");
    expect(thawed.code, thawed.stderr).toBe(0);
    expect(thawed.stderr).toContain("by ada: a rehearsal");
    await waitUntil(
      async () => (await submissions("show", "tx-1")).stdout.includes("FINALIZED_OK"),
      { timeoutMs: 30_000, pollMs: 200, what: "the value to become final" },
    );
    const shown = JSON.parse((await submissions("show", "tx-1", "--json")).stdout);
    expect(shown).toMatchObject({
      state: "FINALIZED",
      slots: [{ attempts: [{ kind: "ORIGINAL" }] }],
    });
  });

  it("need no running submitter, and name each part that is away with what to do", async () => {
    await cluster.submitter.stop();
    const standing = await settled(({ named }) => named("warn").includes("leader"));
    expect([standing.code, standing.named("fail")]).toEqual([0, []]);

    const urls = `${servers.anvil.rpcUrl},http://127.0.0.1:9`;
    const oneAway = await doctor("--set", `chain.rpcUrls=${urls}`);
    expect([oneAway.code, oneAway.named("fail")]).toEqual([1, ["rpc 127.0.0.1:9"]]);

    await servers.anvil.stop();
    const away = await quorate("submitter", "doctor", "--config", cluster.submitter.configFile);
    expect(away.code).toBe(1);
    expect(away.stdout).toMatch(/^rpc 127\.0\.0\.1:\d+ +fail /m);
    expect(away.stdout).toContain("→ see chain.rpcUrls");
    expect(away.stdout).toMatch(/^postgres +ok /m);
    expect(away.stdout).toMatch(/^etcd +ok /m);
  });
});

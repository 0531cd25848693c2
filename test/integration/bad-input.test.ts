import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LIMITS, parseClusterId, unwrap } from "@quorate/core";
import { freePort, spawnLogged, waitUntil } from "@quorate/devkit";
import {
  appCommand,
  cleanEnvironment,
  type LocalCluster,
  type LocalServers,
  readEtcdPrefix,
  readReadiness,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { systemClock } from "@quorate/telemetry";
import { memoryLogger, txIdOf } from "@quorate/testkit";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AppRun, runToEnd } from "./run-app.ts";

const SEED = "11".repeat(32);
const EVM_KEY = `0x${"22".repeat(32)}`;

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-bad-input-"));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId("bad")),
    trustees: 2,
    threshold: 2,
    withSubmitter: false,
  });
});

afterAll(async () => {
  await cluster?.stop();
  await servers?.stop();
  await rm(directory, { recursive: true, force: true });
});

type Json = Readonly<Record<string, unknown>>;

/** A directory with one app's configuration and key, changed as wanted. */
async function configured(
  name: string,
  app: "node" | "submitter",
  change: (config: Json) => Json = (config) => config,
  key: { readonly text: string; readonly mode: number } | null = {
    text: app === "node" ? SEED : EVM_KEY,
    mode: 0o600,
  },
): Promise<{ readonly file: string; readonly key: string; readonly directory: string }> {
  const home = join(directory, name);
  await mkdir(home);
  const node: Json = {
    clusterId: "bad",
    nodeId: "trustee-1",
    keyFile: "own.key",
    etcd: { hosts: servers.etcd.endpoints, dialTimeoutMs: 1_000 },
    network: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    log: { level: "info" },
  };
  const submitter: Json = {
    clusterId: "bad",
    keyFile: "own.key",
    etcd: { hosts: servers.etcd.endpoints, dialTimeoutMs: 1_000 },
    postgres: { url: servers.postgres.url, schema: `bad_${name.replaceAll("-", "_")}` },
    chain: {
      rpcUrls: [servers.anvil.rpcUrl],
      chainId: servers.anvil.chainId,
      contractAddress: cluster.recorder.address,
      timeoutMs: 2_000,
    },
  };
  const file = join(home, `${app}.json`);
  await writeFile(file, JSON.stringify(change(app === "node" ? node : submitter)));
  if (key !== null) {
    await writeFile(join(home, "own.key"), key.text);
    await chmod(join(home, "own.key"), key.mode);
  }
  return { file, key: join(home, "own.key"), directory: home };
}

/** It failed as a program for people should: one line that says what and where, and a code. */
function expectOneLine(run: AppRun, code: number, ...words: readonly string[]): void {
  expect(run.stderr).not.toMatch(/^\s+at /m);
  expect(run.stderr.trim().split("\n")).toHaveLength(1);
  for (const word of words) expect(run.stderr).toContain(word);
  expect(run.code).toBe(code);
}

async function votedOn(url: string | undefined, txId: string, value: string) {
  const response = await fetch(`${url}/v1/votes`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ txId, value }),
  });
  const body = (await response.json()) as {
    readonly error?: { readonly code: string; readonly message: string; readonly receipt: unknown };
  };
  return { status: response.status, error: body.error };
}

describe("HTTP", () => {
  test("an id that was decided and archived is refused by its name, with a receipt, by nodes that knew it and after a restart", async () => {
    const vote = (index: number, value: string): ReturnType<typeof votedOn> =>
      votedOn(cluster.nodes[index]?.url, "tx-archived", value);
    await Promise.all([vote(0, "7"), vote(1, "8")]);
    const store = createEtcdTallyStore(
      {
        hosts: servers.etcd.endpoints,
        clusterId: unwrap(parseClusterId("bad")),
        requestTimeoutMs: 5_000,
        dialTimeoutMs: 5_000,
      },
      { clock: systemClock(), logger: memoryLogger() },
    );
    await store.start();
    for (const level of ["votes", "all"] as const) {
      const request = { txId: txIdOf("tx-archived"), level };
      const throughRevision = await store.revision();
      expect(await store.purge([{ ...request, throughRevision }])).toEqual(["purged"]);
      if (level === "all") {
        await cluster.nodes[1]?.stop();
        await cluster.nodes[1]?.start();
      }
      for (const [index, value] of [
        [0, "7"],
        [1, "8"],
      ] as const) {
        const { status, error } = await vote(index, value);
        expect([status, error?.code]).toEqual([410, "TX_ARCHIVED"]);
        expect(error?.message).toContain("decided long ago and its votes are archived");
        expect(error?.receipt).toMatchObject({ reason: "archived", txId: "tx-archived" });
      }
    }
    const gone = await fetch(`${cluster.nodes[0]?.url}/v1/transactions/tx-archived`);
    expect(gone.status).toBe(410);
    expect(await gone.json()).toMatchObject({
      error: { code: "TX_ARCHIVED", message: expect.stringContaining("aborted: SPLIT_VOTE") },
    });
    await store.stop();
  });

  const post = async (
    body: string,
    contentType = "application/json",
  ): Promise<{ readonly status: number; readonly code: string; readonly message: string }> => {
    const response = await fetch(`${cluster.nodes[0]?.url}/v1/votes`, {
      method: "POST",
      headers: { "content-type": contentType },
      body,
    });
    const answer: unknown = await response.json();
    const error: unknown =
      typeof answer === "object" && answer !== null ? Reflect.get(answer, "error") : null;
    if (typeof error !== "object" || error === null) throw new Error(JSON.stringify(answer));
    const [code, message] = [Reflect.get(error, "code"), Reflect.get(error, "message")];
    return { status: response.status, code: String(code), message: String(message) };
  };
  const vote = (fields: object): ReturnType<typeof post> => post(JSON.stringify(fields));

  test.each([
    ["an empty id", { txId: "", value: "1" }, "TX_ID_INVALID"],
    ["a slash, which would leave its place in etcd", { txId: "a/b", value: "1" }, "TX_ID_INVALID"],
    ["an id that climbs", { txId: "../config", value: "1" }, "TX_ID_INVALID"],
    ["an id of 129 characters", { txId: "a".repeat(129), value: "1" }, "TX_ID_INVALID"],
    ["a line break", { txId: "a\nb", value: "1" }, "TX_ID_INVALID"],
    ["letters that only look right", { txId: "tх1", value: "1" }, "TX_ID_INVALID"],
    ["an id that is a number", { txId: 7, value: "1" }, "TX_ID_INVALID"],
    ["no id", { value: "1" }, "TX_ID_INVALID"],
    ["the value -1", { txId: "t", value: "-1" }, "VALUE_INVALID"],
    ["the value 2^64", { txId: "t", value: "18446744073709551616" }, "VALUE_INVALID"],
    ["a word", { txId: "t", value: "abc" }, "VALUE_INVALID"],
    ["a fraction", { txId: "t", value: "1.5" }, "VALUE_INVALID"],
    ["a leading zero", { txId: "t", value: "01" }, "VALUE_INVALID"],
    ["hexadecimal digits", { txId: "t", value: "0x1" }, "VALUE_INVALID"],
    ["a JSON number, which could not hold 2^64-1", { txId: "t", value: 1 }, "VALUE_INVALID"],
    ["null", { txId: "t", value: null }, "VALUE_INVALID"],
    ["no value", { txId: "t" }, "VALUE_INVALID"],
    ["a list", [], "TX_ID_INVALID"],
  ])("%s is refused with 400 and a sentence", async (_what, fields, code) => {
    const answer = await vote(fields);
    expect([answer.status, answer.code]).toEqual([400, code]);
    expect(answer.message).toMatch(/ must be .* but got /);
  });

  test("malformed JSON is refused with 400", async () => {
    for (const body of ["{", "", "txId=t&value=1", '{"txId":"t","value":"1"} trailing']) {
      const { status } = await post(body);
      expect([body, status]).toEqual([body, 400]);
    }
  });

  test("a body of another type is refused with 415", async () => {
    expect((await post("txId=t&value=1", "application/x-www-form-urlencoded")).status).toBe(415);
  });

  test("a body beyond the limit is refused with 413 before it is read", async () => {
    const body = JSON.stringify({
      txId: "t",
      value: "1",
      junk: "x".repeat(LIMITS.httpBodyBytesMax),
    });
    expect((await post(body)).status).toBe(413);
  });

  test("an id that is none can't be asked for, and an unknown one is not found", async () => {
    const get = async (id: string): Promise<number> =>
      (await fetch(`${cluster.nodes[0]?.url}/v1/transactions/${encodeURIComponent(id)}`)).status;
    expect(await get("a/b")).toBe(400);
    expect(await get("never-voted-on")).toBe(404);
  });

  test("none of it has left a trace in etcd", async () => {
    const [endpoint = ""] = servers.etcd.endpoints;
    for (const part of ["votes/", "vote_counts/", "transaction_status/", "transactions/"])
      expect(await readEtcdPrefix(endpoint, `/quorate/bad/${part}`)).toEqual([]);
  });
});

describe("a node that can't work says so and ends", () => {
  test("an unknown flag", async () => {
    const { file } = await configured("unknown-flag", "node");
    const run = await runToEnd("@quorate/node", ["--config", file, "--api-prot", "1"]);
    expect(run.stderr).toContain("unknown option '--api-prot'");
    expect(run.stderr).toContain("--api-port");
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run.code).toBe(2);
  });

  test("a configuration with three mistakes names all three, with the place of each", async () => {
    const { file, directory: home } = await configured("three-mistakes", "node", (config) => ({
      ...config,
      nodeId: "Trustee One",
      colour: "red",
    }));
    const env = { QUORATE_ETCD_HOSTS: "nonsense" };
    const run = await runToEnd("@quorate/node", ["--config", file], env);
    expect(run.stderr).toContain("3 problems");
    expect(run.stderr).toMatch(new RegExp(`nodeId: .*Trustee One.*from ${file}`));
    expect(run.stderr).toMatch(new RegExp(`colour: .*from ${file}`));
    expect(run.stderr).toMatch(/etcd\.hosts.*: .*from QUORATE_ETCD_HOSTS/);
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run.code).toBe(2);
    expect((await readdir(home)).toSorted()).toEqual(["node.json", "own.key"]);
  });

  test("a configuration file that is not there", async () => {
    const file = join(directory, "nowhere.json");
    const run = await runToEnd("@quorate/node", ["--config", file]);
    expect(run.stderr).toContain(file);
    expect(run.stderr).toContain("there is no such file");
    expect(run.code).toBe(2);
  });

  test("a key file that is not there", async () => {
    const { file, key } = await configured("no-key", "node", undefined, null);
    const run = await runToEnd("@quorate/node", ["--config", file]);
    expectOneLine(run, 1, key, "does not exist");
  });

  test("a key file that others can read", async () => {
    const world = { text: SEED, mode: 0o644 };
    const { file, key } = await configured("open-key", "node", undefined, world);
    const run = await runToEnd("@quorate/node", ["--config", file]);
    expectOneLine(run, 1, key, "chmod 600");
    expect(run.stderr + run.stdout).not.toContain(SEED);
  });

  test("a key file that holds something else, which is not shown", async () => {
    const secret = { text: "correct horse battery staple", mode: 0o600 };
    const { file, key } = await configured("odd-key", "node", undefined, secret);
    const run = await runToEnd("@quorate/node", ["--config", file]);
    expectOneLine(run, 1, key, "64 hexadecimal digits");
    expect(run.stderr + run.stdout).not.toContain("horse");
  });

  test("etcd that is not there", async () => {
    const host = `http://127.0.0.1:${await freePort()}`;
    const { file, directory: home } = await configured("no-etcd", "node", (config) => ({
      ...config,
      etcd: { hosts: [host], dialTimeoutMs: 1_000 },
    }));
    const run = await runToEnd("@quorate/node", ["--config", file]);
    expectOneLine(run, 1, "quorate node", "etcd", host);
    expect((await readdir(home)).toSorted()).toEqual(["node.json", "own.key"]);
  });

  test("a cluster that was never initialised", async () => {
    const { file } = await configured("no-cluster", "node", (config) => ({
      ...config,
      clusterId: "never-made",
    }));
    const run = await runToEnd("@quorate/node", ["--config", file]);
    expectOneLine(run, 1, "quorate node", "never-made");
    const [endpoint = ""] = servers.etcd.endpoints;
    expect(await readEtcdPrefix(endpoint, "/quorate/never-made/")).toEqual([]);
  });

  test("a port that is taken", async () => {
    const taken = Number(new URL(cluster.nodes[0]?.url ?? "").port);
    const { file } = await configured("taken-port", "node");
    const run = await runToEnd("@quorate/node", ["--config", file, "--api-port", String(taken)]);
    expectOneLine(run, 1, `127.0.0.1:${taken}`, "in use");
  });
});

describe("a submitter that can't work says so and ends", () => {
  const schemaExists = async (schema: string): Promise<boolean> => {
    const client = new Client({ connectionString: servers.postgres.url });
    await client.connect();
    try {
      const found = await client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [schema]);
      return found.rowCount === 1;
    } finally {
      await client.end();
    }
  };

  test("PostgreSQL that is not there", async () => {
    const port = await freePort();
    const { file } = await configured("no-postgres", "submitter", (config) => ({
      ...config,
      postgres: { url: `postgres://user:hush-hush@127.0.0.1:${port}/postgres` },
    }));
    const run = await runToEnd("@quorate/submitter", ["--config", file]);
    expectOneLine(run, 1, "quorate submitter", "PostgreSQL", String(port));
    expect(run.stderr + run.stdout).not.toContain("hush-hush");
  });

  test("etcd that is not there", async () => {
    const host = `http://127.0.0.1:${await freePort()}`;
    const { file } = await configured("submitter-no-etcd", "submitter", (config) => ({
      ...config,
      etcd: { hosts: [host], dialTimeoutMs: 1_000 },
    }));
    expectOneLine(await runToEnd("@quorate/submitter", ["--config", file]), 1, "etcd", host);
  });

  test("another chain than the configured one", async () => {
    const { file } = await configured("wrong-chain", "submitter", (config) => ({
      ...config,
      chain: { ...Object(config["chain"]), chainId: 1 },
    }));
    const run = await runToEnd("@quorate/submitter", ["--config", file]);
    expectOneLine(run, 1, "chain", "1", String(servers.anvil.chainId));
    // Tables may be there, but no sender: nothing was ever begun in this chain's name.
    if (await schemaExists("bad_wrong_chain")) {
      const client = new Client({ connectionString: servers.postgres.url });
      await client.connect();
      const { rows } = await client.query('SELECT * FROM "bad_wrong_chain".sender');
      await client.end();
      expect(rows).toEqual([]);
    }
  });

  test("an address without the contract", async () => {
    const { file } = await configured("no-contract", "submitter", (config) => ({
      ...config,
      chain: { ...Object(config["chain"]), contractAddress: `0x${"ab".repeat(20)}` },
    }));
    const run = await runToEnd("@quorate/submitter", ["--config", file]);
    expectOneLine(run, 1, "contract", "ab".repeat(20));
  });

  test("a key file that others can read", async () => {
    const world = { text: EVM_KEY, mode: 0o644 };
    const { file, key } = await configured("submitter-open-key", "submitter", undefined, world);
    const run = await runToEnd("@quorate/submitter", ["--config", file]);
    expectOneLine(run, 1, key);
    expect(run.stderr + run.stdout).not.toContain(EVM_KEY.slice(2));
    expect(await schemaExists("bad_submitter_open_key")).toBe(false);
  });
});

test("a node whose key is in no trustee set runs, says why it is not ready, and casts no vote", async () => {
  const port = await freePort();
  const { file, directory: home } = await configured("outsider", "node", (config) => ({
    ...config,
    api: { port },
  }));
  const outsider = await spawnLogged({
    name: "outsider",
    command: process.execPath,
    args: [...appCommand("@quorate/node"), "--config", file],
    logFile: join(home, "outsider.log"),
    env: cleanEnvironment(),
  });
  try {
    const url = `http://127.0.0.1:${port}`;
    let reasons = "";
    await waitUntil(
      async () => {
        ({ reasons } = await readReadiness(url));
        return reasons.includes("membership");
      },
      { timeoutMs: 30_000, what: "the outsider's reason", pollMs: 100 },
    );
    expect(reasons).toMatch(/this node's key \(12D3KooW\w+\) is not in the trustee set of epoch 1/);
    const response = await fetch(`${url}/v1/votes`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ txId: "t", value: "1" }),
    });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ error: { code: "NOT_A_TRUSTEE" } });
    const [endpoint = ""] = servers.etcd.endpoints;
    expect(await readEtcdPrefix(endpoint, "/quorate/bad/votes/")).toEqual([]);
  } finally {
    await outsider.stop();
  }
  const written = await Promise.all(
    (await readdir(home))
      .filter((name) => name.includes("journal"))
      .map((name) => readFile(join(home, name), "utf8")),
  );
  expect(written.join("")).not.toContain("t 1");
});

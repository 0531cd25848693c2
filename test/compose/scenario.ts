import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { recorderAbi, recordKeyOf } from "@quorate/chain-evm";
import { parseClusterId, parseTxId, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import { createNodeClient, type TransactionView } from "@quorate/localcluster/client";
import { decodeFunctionResult, encodeFunctionData, type Hex, isHex } from "viem";
import { describeState, isOneShot } from "./container-state.ts";
import type { Stack } from "./stack.ts";

/** What the steps are given. */
export interface Scene {
  readonly stack: Stack;
  readonly clusterDirectory: string;
  readonly clusterId: string;
  readonly ports: {
    readonly trustees: readonly number[];
    readonly submitter: number;
    readonly prometheus: number;
  };
  readonly signal: AbortSignal;
}

/** One thing that has to hold. It throws when it does not, and says in a line what it saw. */
export interface Step {
  readonly name: string;
  readonly run: (scene: Scene) => Promise<string>;
}

export const TRUSTEES = ["trustee-1", "trustee-2", "trustee-3", "trustee-4", "trustee-5"] as const;
const CLOSED = [...TRUSTEES, "submitter", "anvil"] as const;
const SERVERS_CLOSED = ["etcd-1", "etcd-2", "etcd-3", "prometheus", "alertmanager"] as const;
/** docker-compose.yml's `stop_grace_period`. */
const GRACE_MS = 30_000;
const KILLED = 137;
const WAIT_MS = 120_000;
const SCRAPED = 10;

export const STEPS: readonly Step[] = [
  {
    name: "every service comes up and is healthy",
    run: async ({ stack, ports, signal }) => {
      const states = await stack.untilWell();
      for (const port of [...ports.trustees, ports.submitter])
        await waitUntil(async () => (await statusOf(`http://127.0.0.1:${port}/ready`)) === 200, {
          timeoutMs: WAIT_MS,
          what: `the API on port ${port} to be ready`,
          pollMs: 250,
          signal,
        });
      return `${states.length} containers, ${states.filter(({ health }) => health === "healthy").length} of them healthy by their own checks, nodes and submitter ready`;
    },
  },
  {
    name: "our containers run without root, without capabilities, on a root file system that nobody writes",
    run: async ({ stack }) => {
      const states = await stack.states();
      for (const state of states) assert(state.memoryLimitBytes > 0, `${state.service} is bounded`);
      for (const service of [...CLOSED, ...SERVERS_CLOSED]) {
        const state = states.find((one) => one.service === service);
        assert(state !== undefined, `${service} is there`);
        assert(state.readOnlyRoot, `${service} has a read-only root`);
        assert.deepEqual(state.capabilitiesDropped, ["ALL"], `${service} has no capabilities`);
        assert(state.securityOptions.includes("no-new-privileges:true"), service);
      }
      const tryOut = async (service: string): Promise<void> => {
        const uid = (await stack.mustExec(service, ["id", "-u"])).trim();
        assert(uid !== "0", `${service} runs as ${uid}`);
        const written = await stack.exec(service, ["sh", "-c", "echo x > /app-was-here"]);
        assert(written.code !== 0 && /read-only/i.test(written.stderr), `${service} wrote to /`);
        assert((await stack.stateOf(service)).hasInit, `${service} has an init`);
      };
      await Promise.all(CLOSED.map(tryOut));
      return `${CLOSED.length} containers as users other than root; ${CLOSED.length + SERVERS_CLOSED.length} read-only; all have a memory limit`;
    },
  },
  {
    name: "the APIs let in who has a token, and nobody else",
    run: async ({ stack, ports, clusterDirectory }) => {
      const token = async (path: string): Promise<string> =>
        (await readFile(join(clusterDirectory, path), "utf8")).trim();
      const operator = await token("secrets/operator.token");
      for (const port of [...ports.trustees, ports.submitter]) {
        const url = `http://127.0.0.1:${port}/v1/status`;
        assert.equal(await statusOf(url), 401, "nobody without a token");
        assert.equal(await statusOf(url, operator), 200, "an operator");
      }
      const first = ports.trustees[0] ?? 0;
      const foreign = await token("trustee-2/vote.token");
      assert.equal(await statusOf(`http://127.0.0.1:${first}/v1/status`, foreign), 401);
      const view = await bodyOf(`http://127.0.0.1:${first}/v1/submitter`, operator);
      assert.equal(Reflect.get(view, "problem"), null, "a node reads at the submitter");
      assert.equal(Reflect.get(view, "configured"), true);
      await stack.mustExec("submitter", ["quorate", "submissions", "list"]);
      return "401 without a token or with another trustee's, 200 with the operator's; a node's page reaches the submitter";
    },
  },
  {
    name: "five votes through the command line become one value on the chain",
    run: (scene) => decide(scene, { txId: "compose-1", value: "42", voters: TRUSTEES }),
  },
  {
    name: "Prometheus scrapes every target",
    run: async (scene) => {
      await untilTargets(scene, ({ up }) => up.length === SCRAPED);
      return `${SCRAPED} targets up`;
    },
  },
  {
    name: "PostgreSQL archives its log",
    run: async ({ stack, signal }) => {
      const psql = ["psql", "-U", "quorate", "-Atc"];
      const file = await stack.mustExec("postgres", [
        ...psql,
        "SELECT pg_walfile_name(pg_switch_wal())",
      ]);
      const path = `/archive/${file.trim()}`;
      await waitUntil(async () => (await stack.exec("postgres", ["test", "-s", path])).code === 0, {
        timeoutMs: WAIT_MS,
        what: `${path} to be archived`,
        pollMs: 500,
        signal,
      });
      return path;
    },
  },
  {
    name: "four trustees decide while the fifth is killed, and it comes back",
    run: async (scene) => {
      const { stack } = scene;
      await stack.engineDoes("kill", "trustee-5");
      const state = await stack.until("trustee-5", "gone", ({ status }) => status === "exited");
      assert.equal(state.exitCode, KILLED);
      const decided = await decide(scene, {
        txId: "compose-2",
        value: "18446744073709551615",
        voters: TRUSTEES.slice(0, 4),
      });
      await untilTargets(scene, ({ down }) => down.join() === "trustee-5:8080");
      await stack.engineDoes("start", "trustee-5");
      await comesBack(scene, 4);
      await untilTargets(scene, ({ up }) => up.length === SCRAPED);
      return `${decided}; Prometheus saw trustee-5 down and up again`;
    },
  },
  {
    name: "a member of etcd is killed and nothing stops, and it comes back",
    run: async (scene) => {
      const { stack } = scene;
      await stack.engineDoes("kill", "etcd-1");
      await stack.until("etcd-1", "gone", ({ status }) => status === "exited");
      const decided = await decide(scene, { txId: "compose-3", value: "7", voters: TRUSTEES });
      await stack.engineDoes("start", "etcd-1");
      await stack.until("etcd-1", "healthy", ({ health }) => health === "healthy");
      return decided;
    },
  },
  {
    name: "a process that crashed is started again, and one that stands still is called unhealthy",
    run: async (scene) => {
      const { stack } = scene;
      const everyProcess = (signalName: string): readonly string[] => [
        "sh",
        "-c",
        `kill -${signalName} -1`,
      ];
      await stack.mustExec("trustee-3", everyProcess("STOP"));
      // Not `docker kill`, after which the engine takes it to be meant.
      await stack.exec("trustee-4", everyProcess("KILL"));
      await stack.until("trustee-4", "started again", ({ restarts }) => restarts === 1);
      await comesBack(scene, 3);
      await stack.until("trustee-3", "unhealthy", ({ health }) => health === "unhealthy");
      await stack.mustExec("trustee-3", everyProcess("CONT"));
      await comesBack(scene, 2);
      return "trustee-4 was started again once; trustee-3 went unhealthy, and healthy when it went on";
    },
  },
  {
    name: "a stop ends every process in good order within its grace",
    run: async ({ stack }) => {
      await stack.untilWell();
      const startedMs = performance.now();
      await stack.stop();
      const tookMs = performance.now() - startedMs;
      const states = await stack.states();
      const bad = states.filter(({ status, exitCode, outOfMemory }) => {
        return status !== "exited" || exitCode !== 0 || outOfMemory;
      });
      const said = bad.map((state) => `${state.service} ${describeState(state)}`).join(", ");
      assert.equal(said, "", "every container ended with 0");
      assert(tookMs < GRACE_MS, `stopping took ${tookMs} ms`);
      const servers = states.filter(({ service }) => !isOneShot(service));
      return `${servers.length} servers ended with 0 in ${(tookMs / 1_000).toFixed(1)} s`;
    },
  },
];

interface Vote {
  readonly txId: string;
  readonly value: string;
  readonly voters: readonly string[];
}

/** Votes through the command line in each container, waits for the end, and asks the chain itself. */
async function decide(scene: Scene, { txId, value, voters }: Vote): Promise<string> {
  const { stack } = scene;
  const votes = await Promise.all(
    voters.map(async (voter) => ({
      voter,
      ended: await stack.exec(voter, ["quorate", "vote", txId, value, "--json"]),
    })),
  );
  for (const { voter, ended } of votes)
    assert.equal(ended.code, 0, `${voter} votes: ${ended.stderr}`);
  // Asked again, a vote is the same vote; with --wait it follows the transaction to its end.
  const last = voters[0] ?? "trustee-1";
  const waited = await stack.typed(last, [
    "quorate",
    "vote",
    txId,
    value,
    "--wait",
    "--timeout=80",
    "--json",
  ]);
  const { transaction }: { transaction: TransactionView } = JSON.parse(waited);
  assert.equal(transaction.status, "CONFIRMED");
  assert.equal(transaction.votes.length, voters.length);
  const recorded = await recordOnChain(scene, txId);
  assert.equal(recorded.value, BigInt(value), "what the contract holds");
  assert.equal(String(recorded.blockNumber), transaction.chain?.blockNumber);
  return `${txId} = ${value} by ${voters.length} votes, in block ${recorded.blockNumber}`;
}

/** `eth_call` on the contract, from inside the stack's network. */
async function recordOnChain(
  { stack, clusterDirectory, clusterId }: Scene,
  txId: string,
): Promise<{ readonly value: bigint; readonly blockNumber: bigint }> {
  const config: unknown = JSON.parse(
    await readFile(join(clusterDirectory, "submitter", "submitter.json"), "utf8"),
  );
  const { contractAddress } = (config as { chain: { contractAddress: string } }).chain;
  const key = recordKeyOf(unwrap(parseClusterId(clusterId)), unwrap(parseTxId(txId)));
  const data = encodeFunctionData({ abi: recorderAbi, functionName: "recordOf", args: [key] });
  const call = { to: contractAddress, data };
  const body = { jsonrpc: "2.0", id: 1, method: "eth_call", params: [call, "latest"] };
  const script = `fetch("http://anvil:8545", { method: "POST", headers: { "content-type": "application/json" },
    body: require("node:fs").readFileSync(0) }).then((r) => r.text()).then((t) => process.stdout.write(t))`;
  const input = JSON.stringify(body);
  const answer: unknown = JSON.parse(
    await stack.mustExec("submitter", ["node", "-e", script], input),
  );
  const result: unknown = Reflect.get(answer as object, "result");
  assert(isHex(result), `eth_call gave ${JSON.stringify(answer)}`);
  const [isThere, value, blockNumber] = decodeFunctionResult({
    abi: recorderAbi,
    functionName: "recordOf",
    data: result satisfies Hex,
  });
  assert(isThere, `${txId} is on the chain`);
  return { value, blockNumber };
}

/** Until a trustee that was away is healthy, and ready by its own word and among the others. */
async function comesBack({ stack, ports, signal, clusterDirectory }: Scene, index: number) {
  const name = TRUSTEES[index] ?? "";
  await stack.until(name, "healthy", ({ health }) => health === "healthy");
  const token = await readFile(join(clusterDirectory, "secrets", "operator.token"), "utf8");
  const url = `http://127.0.0.1:${ports.trustees[0]}`;
  const observer = createNodeClient(url, { token: token.trim() });
  await waitUntil(
    async () => {
      if ((await statusOf(`http://127.0.0.1:${ports.trustees[index]}/ready`)) !== 200) return false;
      const { trustees } = await observer.status();
      return trustees.some(({ nodeId, online, banned }) => nodeId === name && online && !banned);
    },
    { timeoutMs: WAIT_MS, what: `${name} to be ready, online and not banned`, pollMs: 250, signal },
  );
}

async function untilTargets(
  { ports, signal }: Scene,
  condition: (targets: {
    readonly up: readonly string[];
    readonly down: readonly string[];
  }) => boolean,
): Promise<void> {
  let seen = "";
  const url = `http://127.0.0.1:${ports.prometheus}/api/v1/query?query=up`;
  try {
    await waitUntil(
      async () => {
        const body = await bodyOf(url).catch(() => ({}));
        const data: unknown = Reflect.get(body, "data");
        const result: unknown = Reflect.get((data ?? {}) as object, "result");
        const series = (Array.isArray(result) ? result : []) as readonly {
          readonly metric: { readonly instance: string };
          readonly value: readonly [number, string];
        }[];
        const of = (value: string): readonly string[] =>
          series.filter((one) => one.value[1] === value).map(({ metric }) => metric.instance);
        const targets = { up: of("1"), down: of("0") };
        seen = `up: ${targets.up.join(", ")}; down: ${targets.down.join(", ")}`;
        return condition(targets);
      },
      { timeoutMs: WAIT_MS, what: "Prometheus's targets", pollMs: 500, signal },
    );
  } catch (cause) {
    throw new Error(`Prometheus's targets are ${seen}`, { cause });
  }
}

/** The HTTP status; 0 when nobody answers. */
async function statusOf(url: string, token?: string): Promise<number> {
  try {
    const response = await fetch(url, request(token));
    await response.body?.cancel();
    return response.status;
  } catch {
    return 0;
  }
}

async function bodyOf(url: string, token?: string): Promise<object> {
  const response = await fetch(url, request(token));
  const body: unknown = await response.json();
  assert(response.ok && typeof body === "object" && body !== null, `${url}: ${response.status}`);
  return body;
}

function request(token: string | undefined): RequestInit {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return { headers, signal: AbortSignal.timeout(10_000) };
}

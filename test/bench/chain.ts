import { readFileSync, writeFileSync } from "node:fs";
import { parseClusterId, unwrap } from "@quorate/core";
import { type LocalCluster, type LocalServers, startCluster } from "@quorate/localcluster";
import type { Clock, Logger } from "@quorate/ports";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { toEventSelector } from "viem";
import {
  latencyIn,
  readFigures,
  type Stage,
  type StageLatency,
  type SubmitterFigures,
} from "./chain-metrics.ts";
import { type Decider, makeDecider } from "./chain-votes.ts";

export interface ChainBenchRequest {
  readonly servers: LocalServers;
  readonly directory: string;
  /** Tells runs apart. */
  readonly name: string;
  /** Results in one chain transaction. */
  readonly batchMax: number;
  /** Unconfirmed nonces at once. */
  readonly windowMax: number;
  /** Decided before the submitter starts: it has more to send than it can for as long as is measured, or until it is through. */
  readonly backlog: number;
  /** Before that, results at a rate that it can keep up with, for the latencies; null leaves that out. */
  readonly offered: { readonly perSecond: number; readonly seconds: number } | null;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ChainRun {
  readonly batchMax: number;
  readonly windowMax: number;
  /** Of the backlog, recorded while it was measured, and the blocks that hold them. */
  readonly results: number;
  readonly blocks: number;
  readonly resultsPerSecond: number;
  readonly gasPerResult: number;
  readonly blockGasLimit: number;
  /** Of the block's gas limit, in the blocks between the first and the last: those at full speed. */
  readonly blockGasShare: number;
  /** Results a second that would fill each block with nothing else. */
  readonly ceilingPerSecond: number;
  /** Events that a second attempt left behind; 0 when each result was sent once. */
  readonly duplicates: number;
  /** Results that the submitter called final and the chain does not hold. */
  readonly lost: number;
  readonly finalized: number;
  readonly latency:
    | (Readonly<Record<Stage, StageLatency>> & {
        readonly perSecond: number;
        /** Offered and not final when it was given up: the machine could not keep up. */
        readonly unfinished: number;
      })
    | null;
}

const TRUSTEES = 5;
const THRESHOLD = 4;
const POLL_MS = 250;
/** Long enough for a rate over blocks of a second, and three rounds of both paths stay below three minutes. */
const SATURATED_MS = 15_000;
const OFFERED_MS = 15_000;
const RECORDED = toEventSelector("Recorded(bytes32,uint64)");
const DUPLICATE = toEventSelector("Duplicate(bytes32,uint64,uint64)");

/** One submitter process with real etcd, PostgreSQL and Anvil; votes are signed and committed here, in the trustees' names. */
export async function benchChain(request: ChainBenchRequest): Promise<ChainRun> {
  const { servers, name, clock, logger } = request;
  const trustees = Array.from({ length: TRUSTEES }, (_, i) => `trustee-${i + 1}`);
  const cluster = await startCluster({
    servers,
    directory: request.directory,
    clusterId: unwrap(parseClusterId(`bench-${name}-${process.pid}`)),
    trustees: TRUSTEES,
    threshold: THRESHOLD,
    logLevel: "error",
    withSubmitter: false,
    absent: trustees,
  });
  const store = createEtcdTallyStore(
    {
      hosts: servers.etcd.endpoints,
      clusterId: cluster.clusterId,
      requestTimeoutMs: 10_000,
      dialTimeoutMs: 10_000,
    },
    { clock, logger },
  );
  try {
    await store.start();
    setSender(cluster, request);
    return await measure(cluster, await makeDecider(cluster, store), request);
  } finally {
    await store.stop();
    await cluster.stop();
  }
}

function setSender(cluster: LocalCluster, request: ChainBenchRequest): void {
  const { configFile } = cluster.submitter;
  const { batchMax, windowMax } = request;
  const config = JSON.parse(readFileSync(configFile, "utf8")) as object;
  writeFileSync(configFile, JSON.stringify({ ...config, sender: { batchMax, windowMax } }));
}

async function measure(
  cluster: LocalCluster,
  decider: Decider,
  request: ChainBenchRequest,
): Promise<ChainRun> {
  const { backlog, offered, servers } = request;
  const { rpcUrl } = servers.anvil;
  let offeredFinal = 0;
  let latency: ChainRun["latency"] = null;
  if (offered !== null) {
    await cluster.submitter.start();
    latency = await latencies(cluster, decider, offered);
    offeredFinal = (await figures(cluster)).finalized;
    await cluster.submitter.stop();
  }
  await decider.decideAll(namesOf("backlog", 0, backlog));
  const firstBlock = Number(await rpc<string>(rpcUrl, "eth_blockNumber", []));
  await cluster.submitter.start();
  const backlogFinal = await finalizedCount(cluster, backlog, SATURATED_MS);
  const all = await onChain(rpcUrl, cluster);
  const finalized = offeredFinal + backlogFinal;
  return {
    batchMax: request.batchMax,
    windowMax: request.windowMax,
    ...ratesOf({ ...all, blocks: all.blocks.filter(({ number }) => number > firstBlock) }),
    finalized,
    duplicates: all.duplicates,
    // Read after the submitter's word, so that what it called final must be there.
    lost: Math.max(0, finalized - all.keys.size),
    latency,
  };
}

function namesOf(prefix: string, first: number, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${first + i}`);
}

async function latencies(
  cluster: LocalCluster,
  decider: Decider,
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number },
): Promise<ChainRun["latency"]> {
  const startedMs = performance.now();
  const total = perSecond * seconds;
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1_000) * perSecond));
    if (due > sent) {
      await decider.decideAll(namesOf("offered", sent, due - sent));
      sent = due;
    } else await pause(20);
  }
  const finalized = await finalizedCount(cluster, total, OFFERED_MS);
  const { stages } = await figures(cluster);
  const of = (stage: Stage): StageLatency => latencyIn(stages[stage]);
  return {
    perSecond,
    unfinished: total - finalized,
    broadcast: of("broadcast"),
    included: of("included"),
    finalized: of("finalized"),
  };
}

async function figures(cluster: LocalCluster): Promise<SubmitterFigures> {
  const response = await fetch(`${cluster.submitter.url}/metrics`);
  return readFigures(await response.text());
}

/** Waits until so many are final, or the time is over. @returns how many are */
async function finalizedCount(
  cluster: LocalCluster,
  wanted: number,
  withinMs: number,
): Promise<number> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    if (!cluster.submitter.running)
      throw new Error(`the submitter ended:\n${await cluster.submitter.logTail()}`);
    const { finalized } = await figures(cluster);
    if (finalized >= wanted || performance.now() > endMs) return finalized;
    await pause(POLL_MS);
  }
}

interface ChainSide {
  readonly keys: ReadonlySet<string>;
  readonly duplicates: number;
  readonly gasPerResult: number;
  readonly blockGasLimit: number;
  /** In order; those that hold a record. */
  readonly blocks: readonly {
    readonly number: number;
    readonly timestampSeconds: number;
    readonly results: number;
    readonly gasUsed: number;
  }[];
}

/** Read with nothing of the system under test: logs, receipts and blocks as Anvil tells them. */
async function onChain(rpcUrl: string, { recorder }: LocalCluster): Promise<ChainSide> {
  const fromBlock = `0x${recorder.blockNumber.toString(16)}`;
  const logs = await rpc<readonly Log[]>(rpcUrl, "eth_getLogs", [
    { address: recorder.address, fromBlock, toBlock: "latest" },
  ]);
  const recorded = logs.filter(({ topics }) => topics[0] === RECORDED);
  const gas = new Map<string, number>();
  for (const hash of new Set(recorded.map(({ transactionHash }) => transactionHash))) {
    const receipt = await rpc<{ gasUsed: string }>(rpcUrl, "eth_getTransactionReceipt", [hash]);
    gas.set(hash, Number(receipt.gasUsed));
  }
  const blocks = [];
  let blockGasLimit = 0;
  for (const number of new Set(recorded.map(({ blockNumber }) => blockNumber))) {
    const block = await rpc<Block>(rpcUrl, "eth_getBlockByNumber", [number, false]);
    blockGasLimit = Number(block.gasLimit);
    blocks.push({
      number: Number(number),
      timestampSeconds: Number(block.timestamp),
      results: recorded.filter(({ blockNumber }) => blockNumber === number).length,
      gasUsed: Number(block.gasUsed),
    });
  }
  return {
    keys: new Set(recorded.map(({ topics }) => topics[1] ?? "")),
    duplicates: logs.filter(({ topics }) => topics[0] === DUPLICATE).length,
    gasPerResult: [...gas.values()].reduce((sum, g) => sum + g, 0) / recorded.length,
    blockGasLimit,
    blocks: blocks.toSorted((a, b) => a.timestampSeconds - b.timestampSeconds),
  };
}

function ratesOf(chain: ChainSide) {
  const { blocks, blockGasLimit, gasPerResult } = chain;
  const [first, last] = [blocks[0], blocks.at(-1)];
  if (first === undefined || last === undefined || first === last)
    throw new Error("no rate can be told: the results are in fewer than two blocks");
  const seconds = last.timestampSeconds - first.timestampSeconds;
  const results = blocks.reduce((sum, block) => sum + block.results, 0);
  // First and last may be filled in part only.
  const middle = blocks.length > 2 ? blocks.slice(1, -1) : blocks;
  const middleGas = middle.reduce((sum, block) => sum + block.gasUsed, 0) / middle.length;
  return {
    // The first block's results were there when the clock began.
    resultsPerSecond: (results - first.results) / seconds,
    results,
    blocks: blocks.length,
    gasPerResult,
    blockGasLimit,
    blockGasShare: middleGas / blockGasLimit,
    ceilingPerSecond: blockGasLimit / gasPerResult,
  };
}

interface Log {
  readonly topics: readonly string[];
  readonly transactionHash: string;
  readonly blockNumber: string;
}

interface Block {
  readonly timestamp: string;
  readonly gasLimit: string;
  readonly gasUsed: string;
}

async function rpc<T>(url: string, method: string, params: readonly unknown[]): Promise<T> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const body = (await response.json()) as { result?: T; error?: unknown };
  if (body.result === undefined || body.result === null)
    throw new Error(`${method}: ${JSON.stringify(body.error ?? body)}`);
  return body.result;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

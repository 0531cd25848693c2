import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { NodeId, TxId, Value } from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";
import { cleanEnvironment, ownProgram } from "./app-command.ts";
import { LocalClusterError } from "./errors.ts";
import type { LocalCluster } from "./local-cluster.ts";

/** First line on the program's stdin. */
export interface PeerOptions {
  readonly clusterId: string;
  readonly epoch: number;
  readonly nodeId: string;
  readonly seedHex: string;
  readonly bootstrap: readonly string[];
}

/** Every further line. */
export type PeerCommand =
  | { readonly do: "join"; readonly peers: number; readonly timeoutMs: number }
  | {
      readonly do: "publish" | "publish-tampered";
      readonly txId: string;
      readonly value: string;
    };

/** One line on its stdout for each. */
export type PeerReport =
  | { readonly done: "start" | "join" | "publish" | "publish-tampered"; readonly peers: number }
  | { readonly failed: string };

/** A running peer that misbehaves on command. */
export interface MisbehavingPeer {
  readonly nodeId: NodeId;
  readonly pid: number;
  /** Signs and publishes a vote, whatever it has signed before. @returns to how many peers it went */
  publish(txId: TxId, value: Value): Promise<number>;
  /** The same with one bit of the vote's own signature flipped. */
  publishTampered(txId: TxId, value: Value): Promise<number>;
  /** Ends it. Idempotent. */
  stop(): Promise<void>;
}

const JOIN_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 5_000;

/**
 * Takes a trustee's place in the gossip with a program that uses its key and keeps to no rule.
 * The trustee's own node must not run. Resolves when all running nodes hear it.
 * @throws LocalClusterError PEER_FAILED
 */
export async function startMisbehavingPeer(
  cluster: LocalCluster,
  nodeId: NodeId,
  { signal }: AbortOptions = {},
): Promise<MisbehavingPeer> {
  const options = await optionsFor(cluster, nodeId);
  const [...args] = ownProgram(new URL(programFile(), import.meta.url));
  const child = spawn(process.execPath, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: cleanEnvironment(),
    // Ctrl-C is ours to answer; it ends when its stdin does, so also with us.
    detached: true,
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const spawned = new Promise<never>((_resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => reject(new Error("it ended")));
  });
  spawned.catch(() => {});
  const reports = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  // The program may end between two writes; its exit says so.
  child.stdin.on("error", () => {});

  const answer = async (): Promise<number> => {
    const line = await Promise.race([reports.next(), spawned]);
    if (line.done === true) throw new Error("it ended");
    const report: PeerReport = JSON.parse(line.value);
    if ("failed" in report) throw new Error(report.failed);
    return report.peers;
  };
  const send = async (message: PeerOptions | PeerCommand): Promise<number> => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    try {
      return await answer();
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new LocalClusterError("PEER_FAILED", `the misbehaving ${nodeId}: ${said}`, { cause });
    }
  };
  const stop = async (): Promise<void> => {
    child.stdin.end();
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  };
  const give = (kind: "publish" | "publish-tampered") => (txId: TxId, value: Value) =>
    send({ do: kind, txId, value: value.toString() });
  try {
    await send(options);
    const peers = cluster.nodes.filter((node) => node.running).length;
    await send({ do: "join", peers, timeoutMs: JOIN_TIMEOUT_MS });
    signal?.throwIfAborted();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    nodeId,
    pid: child.pid ?? 0,
    publish: give("publish"),
    publishTampered: give("publish-tampered"),
    stop,
  };
}

/** Beside this module, whether source or built. */
function programFile(): string {
  return import.meta.url.endsWith(".ts") ? "./misbehaving-peer.ts" : "./misbehaving-peer.js";
}

async function optionsFor(cluster: LocalCluster, nodeId: NodeId): Promise<PeerOptions> {
  const node = cluster.nodes.find((candidate) => candidate.nodeId === nodeId);
  if (node === undefined)
    throw new LocalClusterError("PEER_FAILED", `${nodeId} is not in ${cluster.clusterId}`);
  if (node.running)
    throw new LocalClusterError("PEER_FAILED", `${nodeId} runs; two peers can't share a key`);
  const config: { network: { bootstrap: readonly string[] } } = JSON.parse(
    await readFile(node.configFile, "utf8"),
  );
  const seedHex = (await readFile(join(dirname(node.configFile), "node.key"), "utf8")).trim();
  return {
    clusterId: cluster.clusterId,
    epoch: cluster.set.epoch,
    nodeId,
    seedHex,
    bootstrap: config.network.bootstrap,
  };
}

import { readFile, writeFile } from "node:fs/promises";
import { waitUntil } from "@quorate/devkit";
import type { LocalNode } from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import { samplesOf } from "./observe.ts";
import type { Stage } from "./stage.ts";

/** Two halves, neither of which can reach the threshold of 4 by itself. */
export const HALVES = [
  ["trustee-1", "trustee-2"],
  ["trustee-3", "trustee-4"],
] as const;

const START_TIMEOUT_MS = 30_000;

/**
 * Restarts the nodes so that each knows only the other one of its half: no gossip passes between
 * the halves, while all still share etcd. They never become ready, and record and decide all the same.
 */
export async function partition(stage: Stage): Promise<void> {
  for (const names of HALVES)
    for (const name of names) {
      const other = names.find((candidate) => candidate !== name);
      await joinOnlyBy(stage.node(name), other === undefined ? [] : [stage.node(other)], stage);
    }
  await Promise.all(HALVES.flat().map((name) => stage.node(name).stop()));
  await Promise.all(HALVES.flat().map((name) => launch(stage.node(name))));
  for (const names of HALVES)
    for (const name of names)
      await waitUntil(async () => (await meshOf(stage.node(name))) === 1, {
        timeoutMs: START_TIMEOUT_MS,
        what: `${name} to be connected with its half alone`,
        pollMs: 50,
      });
}

async function joinOnlyBy(
  node: LocalNode,
  peers: readonly LocalNode[],
  stage: Stage,
): Promise<void> {
  const config: { network: object } = JSON.parse(await readFile(node.configFile, "utf8"));
  const bootstrap = peers.map((peer) => stage.addressOf(peer));
  const changed = { ...config, network: { ...config.network, bootstrap } };
  await writeFile(node.configFile, JSON.stringify(changed));
}

/** Starts a node without waiting for it to be ready, for cut off from most it never is. */
async function launch(node: LocalNode): Promise<void> {
  const enough = new AbortController();
  const starting = node.start({ signal: enough.signal }).catch((error: unknown) => {
    if (!enough.signal.aborted) throw error;
  });
  const client = createNodeClient(node.url);
  await waitUntil(
    async () =>
      await client.status().then(
        () => true,
        () => false,
      ),
    { timeoutMs: START_TIMEOUT_MS, what: `${node.name} to answer`, pollMs: 50 },
  );
  enough.abort(new Error("up, and not meant to be ready"));
  await starting;
}

/** With how many peers a node exchanges votes. Connections would not tell: two nodes that dial each other have two. */
async function meshOf(node: LocalNode): Promise<number> {
  const samples = await samplesOf(node);
  return samples.find((sample) => sample.name === "gossip_mesh_peers")?.value ?? -1;
}

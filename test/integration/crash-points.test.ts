import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NodeId, parseClusterId, parseTxId, type TxId, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import { rendezvousRank } from "@quorate/engine";
import {
  type LocalCluster,
  type LocalNode,
  type LocalServers,
  readEtcdPrefix,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Attacker, EvilPeer, startAttacker } from "../attacks/lib/attacker.ts";
import { frameBytes, spoilSignature, stolenIdentity, voteOf } from "../attacks/lib/identity.ts";
import { envelop } from "../attacks/lib/wire.ts";

// Two of them run: the one that is killed and one that knows of nothing but what etcd says.
// The keys of the others are the attackers', one an attack, for each is banned by it.
const TRUSTEES = 9;
const RUNNING = ["trustee-1", "trustee-2"];
const CLUSTER = "crash-points";

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
let attacker: Attacker;
let database: Pool;
/** How to undo what was begun, the last first. */
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-crash-points-"));
  undo.push(() => rm(directory, { recursive: true, force: true }));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  undo.push(() => servers.stop());
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId(CLUSTER)),
    trustees: TRUSTEES,
    threshold: 2,
    absent: Array.from({ length: TRUSTEES }, (_, i) => `trustee-${i + 1}`).filter(
      (name) => !RUNNING.includes(name),
    ),
  });
  undo.push(() => cluster.stop());
  attacker = startAttacker();
  undo.push(() => attacker.stop());
  database = new Pool({ connectionString: servers.postgres.url, max: 2 });
  undo.push(() => database.end());
}, 180_000);

afterAll(async () => {
  for (const step of undo.toReversed()) await step();
}, 60_000);

const appOf = (name: string): LocalNode => {
  const node = cluster.nodes.find((candidate) => candidate.name === name);
  if (node === undefined) throw new Error(`there is no ${name}`);
  return node;
};

async function addressOf(node: LocalNode): Promise<string> {
  const config: { network: { listen: readonly string[] } } = JSON.parse(
    await readFile(node.configFile, "utf8"),
  );
  const trustee = cluster.set.trustees.find((t) => t.nodeId === node.name);
  return `${config.network.listen[0]}/p2p/${trustee?.peerId}`;
}

/** A transaction that falls to this one of the two running nodes to write. */
function ownedBy(nodeId: NodeId, prefix: string): TxId {
  const live = RUNNING.map((name) => appOf(name).nodeId);
  for (let i = 0; ; i++) {
    const txId = unwrap(parseTxId(`${prefix}-${i}`));
    if (rendezvousRank(txId, nodeId, live) === 0) return txId;
  }
}

/** Speaks to one node alone, so that nobody else can have noticed. */
async function misbehave(
  kind: "DOUBLE_VOTING" | "INVALID_SIGNATURE",
  trustee: string,
  only: LocalNode,
): Promise<string> {
  const key = await stolenIdentity(cluster, trustee);
  const peer = await EvilPeer.open(attacker, { name: `${trustee}-${kind}`, seed: key.seed });
  const topic = `quorate/${CLUSTER}/votes/1`;
  await peer.connect([await addressOf(only)], [topic]);
  const txId = ownedBy(only.nodeId, `crash-${trustee}`);
  const frame = (value: string): Uint8Array =>
    frameBytes(key, [voteOf({ txId, value, nodeId: trustee, clusterId: CLUSTER, epoch: 1 })]);
  const frames = kind === "DOUBLE_VOTING" ? [frame("7"), frame("8")] : [spoilSignature(frame("7"))];
  await peer.publish(frames.map((data) => envelop(key, topic, data)));
  return key.peerId;
}

interface Found {
  readonly violations: number;
  readonly bans: number;
  readonly evidence: number;
}

async function inPostgres(peerId: string, type: string): Promise<Found> {
  const schema = `quorate_${CLUSTER.replaceAll("-", "_")}`;
  const count = async (sql: string, ...values: string[]): Promise<number> =>
    Number((await database.query(sql, values)).rows[0].count);
  return {
    violations: await count(
      `SELECT count(*) FROM ${schema}.byzantine_violations WHERE peer_id = $1 AND violation_type = $2`,
      peerId,
      type,
    ),
    bans: await count(
      `SELECT count(*) FROM ${schema}.banned_peers WHERE peer_id = $1 AND reason = $2 AND grade = 'PROOF'`,
      peerId,
      type,
    ),
    evidence: await count(
      `SELECT count(*) FROM ${schema}.byzantine_violations WHERE peer_id = $1 AND evidence_json->>'type' = $2`,
      peerId,
      type,
    ),
  };
}

async function expectRecordedOnce(peerId: string, type: string): Promise<void> {
  await waitUntil(async () => (await inPostgres(peerId, type)).bans > 0, {
    timeoutMs: 30_000,
    what: `${type} of ${peerId} to reach PostgreSQL`,
    pollMs: 100,
  });
  expect(await inPostgres(peerId, type)).toEqual({ violations: 1, bans: 1, evidence: 1 });
  const endpoint = servers.etcd.endpoints[0] ?? "";
  const inEtcd = await readEtcdPrefix(endpoint, `/quorate/${CLUSTER}/violations/`);
  expect(inEtcd.filter(({ key }) => key.includes(peerId))).toHaveLength(1);
}

const NODE_POINTS = [
  ["accusation.journaled", "INVALID_SIGNATURE", "trustee-3"],
  ["accusation.recorded", "INVALID_SIGNATURE", "trustee-4"],
  ["accusation.journaled", "DOUBLE_VOTING", "trustee-5"],
  ["commit.before", "DOUBLE_VOTING", "trustee-6"],
  ["commit.after", "DOUBLE_VOTING", "trustee-7"],
] as const;

for (const [point, type, trustee] of NODE_POINTS)
  test(`a node killed at ${point} with a ${type} that it alone has seen leaves it in PostgreSQL, once`, async () => {
    const victim = appOf("trustee-1");
    await victim.stop();
    await victim.start({ env: { QUORATE_FAULT_POINT: point } });
    const peerId = await misbehave(type, trustee, victim);
    await victim.ended();
    await victim.start();
    await expectRecordedOnce(peerId, type);
  }, 90_000);

for (const [point, trustee] of [
  ["projector.before-append", "trustee-8"],
  ["projector.after-append", "trustee-9"],
] as const)
  test(`a projector killed at ${point} leaves the violation, the ban and the evidence in PostgreSQL, once`, async () => {
    await cluster.submitter.stop();
    const type = "DOUBLE_VOTING";
    const peerId = await misbehave(type, trustee, appOf("trustee-1"));
    await waitUntil(
      async () =>
        (await readEtcdPrefix(servers.etcd.endpoints[0] ?? "", `/quorate/${CLUSTER}/banned/`)).some(
          ({ key }) => key.endsWith(peerId),
        ),
      { timeoutMs: 20_000, what: "the ban to be in etcd", pollMs: 50 },
    );
    await cluster.submitter
      .start({ env: { QUORATE_FAULT_POINT: point } })
      .catch((error: unknown) => expect(String(error)).toContain("SIGKILL"));
    await cluster.submitter.ended();
    await cluster.submitter.start();
    await expectRecordedOnce(peerId, type);
  }, 90_000);

import { createEvmChain, readRecordedEvents } from "@quorate/chain-evm";
import type { TxId } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import { type LocalCluster, type LocalServers, readEtcdPrefix } from "@quorate/localcluster";
import { createPool, schemaOf } from "@quorate/store-postgres";
import { createLogger, systemClock } from "@quorate/telemetry";

/** What the three stores hold about one transaction, each read past Quorate's own client of it. */
export interface Evidence {
  readonly chain: {
    /** By a read of the contract at the head. */
    readonly value: string | null;
    readonly txHash: string | null;
    /** Events of the contract for this transaction, and for any. */
    readonly events: number;
    readonly eventsOfAll: number;
    readonly headBlock: string;
  };
  readonly etcd: {
    readonly status: string | null;
    /** Of the decision record. */
    readonly value: string | null;
    readonly reason: string | null;
    /** Counter keys: value to count. */
    readonly counts: Readonly<Record<string, number>>;
    /** Vote keys: value to how many. */
    readonly votes: Readonly<Record<string, number>>;
    readonly banned: readonly string[];
    readonly violations: readonly string[];
    /** `/config/threshold` and `/config/total_nodes`, as the words they are. */
    readonly threshold: string | null;
    readonly totalNodes: string | null;
    readonly keys: number;
  };
  readonly postgres: {
    readonly voteHistory: number;
    readonly byzantineViolations: number;
    readonly blockchainSubmission: string | null;
  };
}

/** Blocks that a submission would long have come into. */
const EMPTY_BLOCKS = 3n;
const BLOCKS_TIMEOUT_MS = 30_000;
const PROJECTION_TIMEOUT_MS = 20_000;

interface Place {
  readonly servers: LocalServers;
  readonly cluster: LocalCluster;
  readonly txId: TxId;
  readonly signal?: AbortSignal | undefined;
}

/** Collects what is held. For an aborted transaction some blocks are let pass first: absence needs time. */
export async function collectEvidence(
  place: Place,
  expected: { readonly aborted: boolean },
): Promise<Evidence> {
  const chain = await readChain(place, expected);
  const etcd = await readEtcd(place);
  const postgres = await readPostgres(place, etcd);
  return { chain, etcd, postgres };
}

async function readChain(
  { servers, cluster, txId, signal }: Place,
  { aborted }: { readonly aborted: boolean },
): Promise<Evidence["chain"]> {
  const clock = systemClock();
  const chain = createEvmChain(
    {
      rpcUrls: [servers.anvil.rpcUrl],
      chainId: servers.anvil.chainId,
      contractAddress: cluster.recorder.address,
      clusterId: cluster.clusterId,
      timeoutMs: 10_000,
    },
    { clock, logger: createLogger({ level: "error", pretty: false, destination: "stderr" }) },
  );
  try {
    await chain.start({ signal });
    const from = (await chain.head({ signal })).number;
    let head = from;
    if (aborted)
      await waitUntil(
        async (options) => {
          head = (await chain.head(options)).number;
          return head >= from + EMPTY_BLOCKS;
        },
        { timeoutMs: BLOCKS_TIMEOUT_MS, what: `${EMPTY_BLOCKS} more blocks`, pollMs: 200, signal },
      );
    const record = await chain.recordOf(txId, "latest", { signal });
    const events = await readRecordedEvents(
      {
        rpcUrl: servers.anvil.rpcUrl,
        contractAddress: cluster.recorder.address,
        fromBlock: cluster.recorder.blockNumber,
        toBlock: head,
      },
      { clock },
      { signal },
    );
    const own = events.filter((event) => event.key === chain.keyOf(txId));
    return {
      value: record?.value.toString() ?? null,
      txHash: own[0]?.txHash ?? null,
      events: own.length,
      eventsOfAll: events.length,
      headBlock: head.toString(),
    };
  } finally {
    await chain.stop();
  }
}

async function readEtcd({ servers, cluster, txId, signal }: Place): Promise<Evidence["etcd"]> {
  const root = `/quorate/${cluster.clusterId}/`;
  const entries = await readEtcdPrefix(servers.etcd.endpoints[0] ?? "", root, { signal });
  const under = (path: string): readonly (readonly [string, string])[] =>
    entries.flatMap(({ key, value }) =>
      key.startsWith(root + path) ? [[key.slice(root.length + path.length), value] as const] : [],
    );
  const only = (path: string): string | null =>
    entries.find(({ key }) => key === root + path)?.value ?? null;
  const record = only(`transactions/${txId}`) ?? "{}";
  const votes: Record<string, number> = {};
  for (const [, json] of under(`votes/${txId}/`)) {
    const value = fieldOf(json, "value") ?? "unreadable";
    votes[value] = (votes[value] ?? 0) + 1;
  }
  const nameOf = (peer: string): string =>
    cluster.set.trustees.find((t) => t.peerId === peer)?.nodeId ?? peer;
  return {
    status: only(`transaction_status/${txId}`),
    value: fieldOf(record, "value"),
    reason: fieldOf(record, "reason"),
    counts: Object.fromEntries(
      under(`vote_counts/${txId}/`).map(([value, count]) => [value, Number(count)]),
    ),
    votes,
    banned: under("banned/").map(([peer]) => nameOf(peer)),
    violations: under(`violations/${txId}/`).map(([path]) => path.split("/")[1] ?? path),
    threshold: only("config/threshold"),
    totalNodes: only("config/total_nodes"),
    keys: entries.length,
  };
}

function fieldOf(json: string, name: string): string | null {
  const parsed: unknown = JSON.parse(json);
  const value: unknown =
    typeof parsed === "object" && parsed !== null ? Reflect.get(parsed, name) : undefined;
  return typeof value === "string" ? value : null;
}

/** Rows are written behind etcd by the projector: waits until they have caught up, then reads once. */
async function readPostgres(
  { servers, cluster, txId, signal }: Place,
  etcd: Evidence["etcd"],
): Promise<Evidence["postgres"]> {
  const pool = createPool({
    url: servers.postgres.url,
    schema: schemaOf(cluster.clusterId),
    applicationName: "quorate-demo",
    connectionsMax: 1,
    logger: createLogger({ level: "error", pretty: false, destination: "stderr" }),
  });
  const count = async (table: "vote_history" | "byzantine_violations"): Promise<number> => {
    const { rows } = await pool.query<{ n: bigint }>(
      `SELECT count(*) AS n FROM ${table} WHERE tx_id = $1`,
      [txId],
    );
    return Number(rows[0]?.n ?? 0n);
  };
  const read = async (): Promise<Evidence["postgres"]> => {
    const submission = await pool.query<{ state: string }>(
      "SELECT state FROM blockchain_submissions WHERE tx_id = $1",
      [txId],
    );
    return {
      voteHistory: await count("vote_history"),
      byzantineViolations: await count("byzantine_violations"),
      blockchainSubmission: submission.rows[0]?.state ?? null,
    };
  };
  const votes = Object.values(etcd.votes).reduce((sum, n) => sum + n, 0);
  try {
    let latest = await read();
    await waitUntil(
      async () => {
        latest = await read();
        return (
          latest.voteHistory >= votes &&
          latest.byzantineViolations >= etcd.violations.length &&
          latest.blockchainSubmission === etcd.status
        );
      },
      { timeoutMs: PROJECTION_TIMEOUT_MS, what: "the history to catch up", pollMs: 100, signal },
    ).catch((error: unknown) => {
      // What is missing is reported as a deviation, with its figures.
      signal?.throwIfAborted();
      return error;
    });
    return latest;
  } finally {
    await pool.end();
  }
}

import { createEvmChain, readRecordedEvents } from "@quorate/chain-evm";
import { parseTxId, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import type { LocalCluster, LocalNode, LocalServers } from "@quorate/localcluster";
import { createNodeClient, type TransactionView } from "@quorate/localcluster/client";
import { createLogger, systemClock } from "@quorate/telemetry";
import { type EtcdEyes, recordOf } from "./observe.ts";

/** What honest trustees voted on one transaction, and how it may end. */
interface Cast {
  readonly value: string;
  /** The policy may or must abort it. */
  ending: "decided" | "aborted";
}

/** What all transactions of an attack came to. */
export interface TrafficVerdict {
  readonly honest: number;
  readonly decided: number;
  readonly abortedByPolicy: number;
  /** Decided for a value that no honest trustee voted, or decided without them. */
  readonly wronglyDecided: number;
  readonly problems: readonly string[];
}

const DECIDED = ["THRESHOLD_REACHED", "SUBMITTED", "CONFIRMED"] as const;
const DECISION_TIMEOUT_MS = 30_000;
const SETTLED_TIMEOUT_MS = 15_000;

/** Votes that honest trustees cast through their own nodes, and what became of them. */
export class HonestTraffic {
  readonly #casts = new Map<string, Cast>();
  readonly #before: ReadonlySet<string>;

  /** @param before transactions that were there before the attack */
  constructor(before: ReadonlySet<string>) {
    this.#before = before;
  }

  /** Each of the nodes votes. */
  async cast(txId: string, value: string, nodes: readonly LocalNode[]): Promise<void> {
    if (!this.#casts.has(txId)) this.#casts.set(txId, { value, ending: "decided" });
    await Promise.all(nodes.map((node) => createNodeClient(node.url).vote(txId, value)));
  }

  /** Records votes that were cast by other means. */
  note(txId: string, value: string): void {
    this.#casts.set(txId, { value, ending: "decided" });
  }

  /** The policy has to abort it. */
  mustAbort(txId: string): void {
    const cast = this.#casts.get(txId);
    if (cast === undefined) throw new Error(`nobody has voted on ${txId}`);
    cast.ending = "aborted";
  }

  /** Waits until a node sees one of the statuses; the view at that moment. */
  async reached(
    node: LocalNode,
    txId: string,
    statuses: readonly TransactionView["status"][] = DECIDED,
  ): Promise<TransactionView> {
    const until = [...statuses, "ABORTED_BYZANTINE" as const];
    const view = await createNodeClient(node.url).transaction(txId, {
      until,
      timeoutMs: DECISION_TIMEOUT_MS,
    });
    if (view === null || !statuses.includes(view.status))
      throw new Error(
        `${txId} should be ${statuses.join(" or ")} but is ${view?.status ?? "unknown"}`,
      );
    return view;
  }

  /** Waits until every transaction that should be decided is; what is not is then for `judge` to say. */
  async settled(etcd: EtcdEyes): Promise<void> {
    const wanted = [...this.#casts].flatMap(([txId, { ending }]) =>
      ending === "decided" ? [txId] : [],
    );
    await waitUntil(
      async () => {
        const statuses = await etcd.under("transaction_status/");
        return wanted.every((txId) => (statuses.get(txId) ?? "COLLECTING") !== "COLLECTING");
      },
      { timeoutMs: SETTLED_TIMEOUT_MS, what: "all transactions", pollMs: 50 },
    ).catch(() => {});
  }

  /** Holds what etcd and the chain say against what honest trustees voted. */
  async judge(etcd: EtcdEyes, chain: ReadonlyMap<string, string>): Promise<TrafficVerdict> {
    const statuses = await etcd.under("transaction_status/");
    const records = await etcd.under("transactions/");
    const decisions = await etcd.under("decisions/");
    const votes = await etcd.under("votes/");
    const counts = await etcd.under("vote_counts/");
    const problems: string[] = [];
    let wronglyDecided = 0;
    let decided = 0;
    let abortedByPolicy = 0;
    const wrong = (text: string): void => {
      wronglyDecided++;
      problems.push(text);
    };
    for (const [txId, status] of statuses) {
      if (this.#before.has(txId)) continue;
      const cast = this.#casts.get(txId);
      const isDecided = DECIDED.some((word) => word === status);
      const value = recordOf(records.get(txId))["value"];
      const submit = decisions.get(txId)?.startsWith("SUBMIT:") === true;
      const recorded = chain.get(txId);
      if (cast === undefined) {
        if (isDecided || recorded !== undefined) wrong(`${txId} was decided without honest votes`);
        continue;
      }
      if (isDecided && value !== cast.value)
        wrong(`${txId} has value ${String(value)}, honest trustees voted ${cast.value}`);
      if (submit && decisions.get(txId) !== `SUBMIT:${cast.value}`)
        wrong(`${txId} is to be submitted as ${decisions.get(txId)}, not ${cast.value}`);
      if (recorded !== undefined && (recorded !== cast.value || !submit))
        wrong(`the chain holds ${recorded} for ${txId}, honest trustees voted ${cast.value}`);
      if (cast.ending === "decided") {
        if (isDecided) decided++;
        else if (status === "COLLECTING") problems.push(`${txId} is not decided yet`);
        else wrong(`${txId} should be decided but is ${status}`);
      } else if (status === "ABORTED_BYZANTINE") abortedByPolicy++;
      else problems.push(`${txId} should be aborted but is ${status}`);
      problems.push(...miscounts(txId, votes, counts));
    }
    for (const txId of this.#casts.keys())
      if (!statuses.has(txId)) problems.push(`${txId} is not in etcd, although trustees voted`);
    return { honest: this.#casts.size, decided, abortedByPolicy, wronglyDecided, problems };
  }
}

/** A counter is the number of distinct votes, always. */
function miscounts(
  txId: string,
  votes: ReadonlyMap<string, string>,
  counts: ReadonlyMap<string, string>,
): readonly string[] {
  const real = new Map<string, number>();
  for (const [key, json] of votes) {
    if (!key.startsWith(`${txId}/`)) continue;
    const value = String(recordOf(json)["value"]);
    real.set(value, (real.get(value) ?? 0) + 1);
  }
  const counted = [...counts].filter(([key]) => key.startsWith(`${txId}/`));
  const shown = new Map(counted.map(([key, n]) => [key.slice(txId.length + 1), Number(n)]));
  const same = shown.size === real.size && [...real].every(([value, n]) => shown.get(value) === n);
  return same ? [] : [`the counters of ${txId} are not its votes`];
}

/** Every value that the contract holds, by transaction. */
export async function readChain(
  servers: LocalServers,
  cluster: LocalCluster,
  txIds: Iterable<string>,
): Promise<ReadonlyMap<string, string>> {
  const clock = systemClock();
  const logger = createLogger({ level: "error", pretty: false, destination: "stderr" });
  const { rpcUrl, chainId } = servers.anvil;
  const chain = createEvmChain(
    {
      rpcUrls: [rpcUrl],
      chainId,
      contractAddress: cluster.recorder.address,
      clusterId: cluster.clusterId,
      timeoutMs: 10_000,
    },
    { clock, logger },
  );
  try {
    await chain.start({});
    const toBlock = (await chain.head({})).number;
    const events = await readRecordedEvents(
      {
        rpcUrl,
        contractAddress: cluster.recorder.address,
        fromBlock: cluster.recorder.blockNumber,
        toBlock,
      },
      { clock },
      {},
    );
    const byKey = new Map(events.map((event) => [String(event.key), event.value.toString()]));
    return new Map(
      [...txIds].flatMap((txId) => {
        const value = byKey.get(String(chain.keyOf(unwrap(parseTxId(txId)))));
        return value === undefined ? [] : [[txId, value] as const];
      }),
    );
  } finally {
    await chain.stop();
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { encodeAbiParameters, keccak256, stringToHex, toEventSelector } from "viem";

// Shares no code with the submitter: JSON-RPC and etcd's gateway by plain fetch, PostgreSQL by SQL of its own, the contract's
// keys computed here from the contract's own comment. What it is told is what was decided, by whoever decided it.

export interface CheckRequest {
  readonly rpcUrl: string;
  readonly contractAddress: string;
  readonly fromBlock: bigint;
  readonly postgresUrl: string;
  readonly schema: string;
  readonly etcdUrl: string;
  readonly clusterId: string;
  readonly decided: readonly { readonly txId: string; readonly value: bigint }[];
  /** The account that records. */
  readonly sender: string;
  /** Transactions that somebody else signed with the sender's key. */
  readonly foreignHashes: readonly string[];
}

/** Everything but `decided` and `recorded` must be empty. */
export interface CheckReport {
  readonly decided: number;
  /** Recorded events of keys that were decided. */
  readonly recorded: number;
  /** Recorded more than once. */
  readonly duplicates: readonly string[];
  /** Sent a second time in vain: only the contract stopped it. */
  readonly stoppedByContract: readonly string[];
  /** Decided and not on the chain. */
  readonly missing: readonly string[];
  readonly wrongValue: readonly string[];
  /** On the chain and never decided. */
  readonly foreignKeys: readonly string[];
  /** Not FINALIZED in PostgreSQL, with the state it is in. */
  readonly stuck: readonly string[];
  /** FINALIZED in PostgreSQL with a transaction that is not the one which recorded it. */
  readonly wrongTransaction: readonly string[];
  /** Not CONFIRMED in etcd, with the status it has. */
  readonly unconfirmed: readonly string[];
  /** In a block under the sender's key, and neither stored in PostgreSQL nor somebody else's. */
  readonly unknownTransactions: readonly string[];
  /** Nonces whose end in PostgreSQL is not what the blocks say: called foreign though one of its own was mined, or the reverse. */
  readonly wrongSlots: readonly string[];
}

export const RECORDED = toEventSelector("Recorded(bytes32,uint64)");
export const DUPLICATE = toEventSelector("Duplicate(bytes32,uint64,uint64)");
const DOMAIN = keccak256(stringToHex("quorate/record/v1"));

/** How many laws a report breaks, each counted once. */
export function faultsOf(report: CheckReport): readonly string[] {
  const { decided: _, recorded: __, ...laws } = report;
  return Object.entries(laws)
    .filter(([, found]) => found.length > 0)
    .map(([law, found]) => `${law}: ${found.length} (${found.slice(0, 3).join(", ")})`);
}

/** Holds what was decided against the contract's events, the blocks, PostgreSQL and etcd. */
export async function check(request: CheckRequest): Promise<CheckReport> {
  return judge(request, {
    logs: await readLogs(request),
    rows: await readRows(request),
    statuses: await readStatuses(request),
    ...(await readMined(request)),
    slots: await readSlots(request),
  });
}

/** Everything that was read, as it was found. */
export interface Findings {
  /** The contract's events, those of reorged blocks not among them. */
  readonly logs: readonly EventFound[];
  /** PostgreSQL's submissions by transaction id. */
  readonly rows: ReadonlyMap<string, { readonly state: string; readonly tx: string | null }>;
  /** etcd's status words by transaction id. */
  readonly statuses: ReadonlyMap<string, string>;
  /** The sender's transactions in canonical blocks, by nonce. */
  readonly mined: ReadonlyMap<string, string>;
  /** Transactions in canonical blocks of which the endpoint can say nothing more than their hash. */
  readonly hidden: ReadonlySet<string>;
  readonly slots: readonly SlotFound[];
}

/** The verdict over what was found. Pure. */
export function judge(
  request: Pick<CheckRequest, "clusterId" | "decided" | "foreignHashes">,
  findings: Findings,
): CheckReport {
  const { clusterId, decided } = request;
  const valueOf = new Map(decided.map(({ txId, value }) => [keyOf(clusterId, txId), value]));
  const nameOf = new Map(decided.map(({ txId }) => [keyOf(clusterId, txId), txId]));
  const seen = new Map<string, { value: bigint; tx: string }[]>();
  const stopped = new Set<string>();
  const foreign = new Set<string>();
  for (const log of findings.logs) {
    const name = nameOf.get(log.key);
    if (name === undefined) foreign.add(log.key);
    else if (log.topic === DUPLICATE) stopped.add(name);
    else if (log.topic === RECORDED)
      seen.set(log.key, [...(seen.get(log.key) ?? []), { value: log.value, tx: log.tx }]);
  }
  const report = {
    decided: decided.length,
    recorded: [...seen.values()].reduce((sum, events) => sum + events.length, 0),
    duplicates: [] as string[],
    stoppedByContract: [...stopped],
    missing: [] as string[],
    wrongValue: [] as string[],
    foreignKeys: [...foreign],
    stuck: [] as string[],
    wrongTransaction: [] as string[],
    unconfirmed: [] as string[],
    ...judgeNonces(request.foreignHashes, findings),
  };
  for (const [key, txId] of nameOf) {
    const events = seen.get(key) ?? [];
    const row = findings.rows.get(txId);
    if (events.length === 0) report.missing.push(txId);
    if (events.length > 1) report.duplicates.push(txId);
    if (events.some(({ value }) => value !== valueOf.get(key))) report.wrongValue.push(txId);
    if (row?.state !== "FINALIZED") report.stuck.push(`${txId} ${row?.state ?? "unknown"}`);
    else if (row.tx !== null && !events.some(({ tx }) => tx === row.tx))
      report.wrongTransaction.push(txId);
    const status = findings.statuses.get(txId);
    if (status !== "CONFIRMED") report.unconfirmed.push(`${txId} ${status ?? "unknown"}`);
  }
  return report;
}

/** keccak256(abi.encode(keccak256("quorate/record/v1"), clusterId, txId)). */
export function keyOf(clusterId: string, txId: string): string {
  const types = [{ type: "bytes32" }, { type: "string" }, { type: "string" }] as const;
  return keccak256(encodeAbiParameters(types, [DOMAIN, clusterId, txId]));
}

/** Holds every transaction of the sender in a block against what PostgreSQL says of its nonce. */
function judgeNonces(
  foreignHashes: readonly string[],
  { mined, hidden, slots }: Findings,
): Pick<CheckReport, "unknownTransactions" | "wrongSlots"> {
  const foreign = new Set(foreignHashes.map((hash) => hash.toLowerCase()));
  const stored = new Set(slots.flatMap(({ hashes }) => hashes));
  const unknownTransactions = [...mined.values()].filter(
    (hash) => !stored.has(hash) && !foreign.has(hash),
  );
  const wrongSlots = slots.flatMap(({ nonce, state, hashes }) => {
    // Nobody was told of its receipt, so only what the contract holds could decide.
    if (hashes.some((one) => hidden.has(one))) return [];
    const hash = mined.get(nonce);
    const own = hash !== undefined && hashes.includes(hash);
    const right = hash !== undefined && own === OWN_ENDS.includes(state);
    return right ? [] : [`nonce ${nonce} ${state}, mined ${hash ?? "nothing"}`];
  });
  return { unknownTransactions, wrongSlots };
}

const READ_TRIES = 4;
const READ_PAUSE_MS = 250;
const OWN_ENDS = ["FINALIZED_OK", "FINALIZED_REVERTED", "FINALIZED_CANCEL"];

/** The sender's transactions in canonical blocks, by nonce. */
async function readMined({
  rpcUrl,
  fromBlock,
  sender,
}: CheckRequest): Promise<Pick<Findings, "mined" | "hidden">> {
  const call = async (method: string, params: readonly unknown[]): Promise<unknown> =>
    Reflect.get(Object(await post(rpcUrl, { jsonrpc: "2.0", id: 1, method, params })), "result");
  const block = async (number: bigint, full: boolean): Promise<readonly unknown[]> => {
    const found = await call("eth_getBlockByNumber", [`0x${number.toString(16)}`, full]);
    const transactions: unknown = Reflect.get(Object(found), "transactions");
    if (Array.isArray(transactions)) return transactions;
    throw new Error(`block ${number} has no transactions`);
  };
  const newest = BigInt(String(await call("eth_blockNumber", [])));
  const mined = new Map<string, string>();
  const hidden = new Set<string>();
  for (let number = fromBlock; number <= newest; number++)
    try {
      for (const one of await patiently(() => block(number, true))) {
        const { from, nonce, hash } = Object(one) as Record<string, unknown>;
        if (String(from).toLowerCase() === sender.toLowerCase())
          mined.set(BigInt(String(nonce)).toString(), String(hash));
      }
    } catch {
      // After reorgs Anvil may know a block and have forgotten a transaction in it, and its receipt with it.
      for (const hash of await block(number, false)) hidden.add(String(hash));
    }
  return { mined, hidden };
}

/** A block may be counted a moment before it can be shown. */
async function patiently<T>(read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await read();
    } catch (error) {
      if (tries === READ_TRIES) throw error;
      await sleep(READ_PAUSE_MS);
    }
}

/** One nonce in PostgreSQL, with the hashes of all that was signed for it. */
export interface SlotFound {
  readonly nonce: string;
  readonly state: string;
  readonly hashes: readonly string[];
}

async function readSlots(request: CheckRequest): Promise<SlotFound[]> {
  return await query<SlotFound>(
    request,
    (schema) => `SELECT s.nonce::text AS nonce, s.state,
        array_remove(array_agg('0x' || encode(a.hash, 'hex')), NULL) AS hashes
      FROM ${schema}.slot s LEFT JOIN ${schema}.attempt a USING (chain_id, sender, nonce)
      GROUP BY s.nonce, s.state`,
  );
}

export interface EventFound {
  readonly topic: string;
  readonly key: string;
  readonly value: bigint;
  readonly tx: string;
}

async function readLogs({
  rpcUrl,
  contractAddress,
  fromBlock,
}: CheckRequest): Promise<EventFound[]> {
  const body = {
    jsonrpc: "2.0",
    id: 1,
    method: "eth_getLogs",
    params: [
      { address: contractAddress, fromBlock: `0x${fromBlock.toString(16)}`, toBlock: "latest" },
    ],
  };
  const answer = await post(rpcUrl, body);
  const logs: unknown = Reflect.get(Object(answer), "result");
  if (!Array.isArray(logs)) throw new Error(`no events: ${JSON.stringify(answer)}`);
  return logs.flatMap((log: unknown): EventFound[] => {
    const topics: unknown = Reflect.get(Object(log), "topics");
    const [topic, key] = Array.isArray(topics) ? topics.map(String) : [];
    if (topic === undefined || key === undefined || ![RECORDED, DUPLICATE].includes(topic as never))
      return [];
    const data = String(Reflect.get(Object(log), "data"));
    const value = BigInt(data.slice(0, 66));
    return [{ topic, key, value, tx: String(Reflect.get(Object(log), "transactionHash")) }];
  });
}

async function readRows(
  request: CheckRequest,
): Promise<Map<string, { state: string; tx: string | null }>> {
  const rows = await query<{ tx_id: string; state: string; tx: string | null }>(
    request,
    (schema) =>
      `SELECT tx_id, state, '0x' || encode(finalized_tx, 'hex') AS tx FROM ${schema}.submission`,
  );
  return new Map(rows.map(({ tx_id, state, tx }) => [tx_id, { state, tx }]));
}

async function query<Row extends object>(
  { postgresUrl, schema }: CheckRequest,
  sql: (schema: string) => string,
): Promise<Row[]> {
  const client = new Client({ connectionString: postgresUrl });
  await client.connect();
  try {
    return (await client.query<Row>(sql(`"${schema}"`))).rows;
  } catch (error) {
    // No submitter has come so far as to make the table: everything is stuck.
    if (Reflect.get(Object(error), "code") === "42P01") return [];
    throw error;
  } finally {
    await client.end();
  }
}

async function readStatuses({ etcdUrl, clusterId }: CheckRequest): Promise<Map<string, string>> {
  const prefix = Buffer.from(`/quorate/${clusterId}/transaction_status/`, "utf8");
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  const answer = await post(`${etcdUrl}/v3/kv/range`, {
    key: prefix.toString("base64"),
    range_end: end.toString("base64"),
  });
  const kvs: unknown = Reflect.get(Object(answer), "kvs") ?? [];
  if (!Array.isArray(kvs)) throw new Error("etcd answered no keys");
  const text = (kv: unknown, name: string): string =>
    Buffer.from(String(Reflect.get(Object(kv), name) ?? ""), "base64").toString("utf8");
  return new Map(
    kvs.map((kv: unknown) => [text(kv, "key").slice(prefix.length), text(kv, "value")]),
  );
}

async function post(url: string, body: object): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return await response.json();
}

import { Client } from "pg";
import { encodeAbiParameters, keccak256, stringToHex, toEventSelector } from "viem";
import { keyOf, type StoredVote, verifiedVote } from "./canonical.ts";
import { readPrefix } from "./etcd-gateway.ts";
import { rpc } from "./json-rpc.ts";

// Shares no code with the product: etcd by its JSON gateway, PostgreSQL by SQL of its own, the chain by JSON-RPC, signatures
// by node:crypto over bytes written down in canonical.ts. It is told what was offered and answered, and finds the rest itself.

/** What is known of a run from outside of the cluster. */
export interface Truth {
  readonly clusterId: string;
  readonly threshold: number;
  /** By node id: peer id, and key as 64 hexadecimal digits. */
  readonly trustees: ReadonlyMap<string, { readonly peerId: string; readonly key: string }>;
  /** Trustees in the harness's hand that broke the rules, and whom a proof may hit; each must be banned. */
  readonly guilty: ReadonlySet<string>;
  /** Honest trustees that an opinion (silence, a low score) may hit in this run, with the reason that the report gives. */
  readonly excused: ReadonlySet<string>;
  /** What honest trustees voted, by transaction. */
  readonly values: ReadonlyMap<string, string>;
  /** Transactions that must end aborted. */
  readonly mustAbort: ReadonlySet<string>;
  /** Transactions that may end either way. */
  readonly mayAbort: ReadonlySet<string>;
  /** `txId/nodeId` to value: every vote that was answered RECORDED. */
  readonly accepted: ReadonlyMap<string, string>;
}

/** Where it is to be looked. */
export interface Places {
  readonly etcd: readonly string[];
  readonly postgresUrl: string;
  readonly schema: string;
  readonly rpcUrl: string;
  readonly contract: { readonly address: string; readonly blockNumber: bigint };
  readonly senderAddress: string;
}

export interface LogFound {
  readonly topic: string;
  readonly key: string;
  readonly value: bigint;
}

/** Everything as it was found; the texts are etcd's own. */
export interface Found {
  readonly statuses: ReadonlyMap<string, string>;
  readonly decisions: ReadonlyMap<string, string>;
  /** `txId/nodeId` to the document. */
  readonly votes: ReadonlyMap<string, string>;
  /** `txId/value` to the number. */
  readonly counts: ReadonlyMap<string, string>;
  readonly records: ReadonlyMap<string, string>;
  /** Peer id to the document. */
  readonly bans: ReadonlyMap<string, string>;
  readonly logs: readonly LogFound[];
  /** The sender's mined transactions. */
  readonly mined: bigint;
  readonly submissions: readonly SubmissionFound[];
  readonly slots: readonly { readonly nonce: string; readonly state: string }[];
  /** Votes in PostgreSQL's history. */
  readonly history: number;
}

export interface SubmissionFound {
  readonly tx_id: string;
  readonly value: string;
  readonly state: string;
}

export interface InvariantReport {
  readonly transactions: number;
  readonly votes: number;
  readonly signaturesVerified: number;
  readonly acceptedVotes: number;
  readonly acceptedLost: number;
  readonly recordedOnChain: number;
  readonly bans: readonly string[];
  /** Empty when everything holds. */
  readonly violations: readonly string[];
}

const RECORDED = toEventSelector("Recorded(bytes32,uint64)");
const DUPLICATE = toEventSelector("Duplicate(bytes32,uint64,uint64)");
const DOMAIN = keccak256(stringToHex("quorate/record/v1"));
const DECIDED = ["THRESHOLD_REACHED", "SUBMITTED", "CONFIRMED"];

export async function checkInvariants(truth: Truth, places: Places): Promise<InvariantReport> {
  return judge(truth, await find(truth.clusterId, places));
}

export async function find(clusterId: string, places: Places): Promise<Found> {
  const under = (path: string) => readPrefix(places.etcd, `/quorate/${clusterId}/${path}`);
  const [statuses, decisions, votes, counts, records, bans] = await Promise.all(
    ["transaction_status/", "decisions/", "votes/", "vote_counts/", "transactions/", "banned/"].map(
      under,
    ),
  );
  const none: ReadonlyMap<string, string> = new Map();
  return {
    statuses: statuses ?? none,
    decisions: decisions ?? none,
    votes: votes ?? none,
    counts: counts ?? none,
    records: records ?? none,
    bans: bans ?? none,
    ...(await readChain(places)),
    ...(await readDatabase(places)),
  };
}

/** The verdict over what was found. Pure. */
export function judge(truth: Truth, found: Found): InvariantReport {
  const violations: string[] = [];
  const broken = (law: string, text: string): void => void violations.push(`${law}: ${text}`);
  const spoken = verifyVotes(truth, found, broken);
  judgeCounts(found, spoken, broken);
  judgeDecisions(truth, found, spoken, broken);
  judgeChain(truth, found, broken);
  judgeDatabase(found, broken);
  judgeBans(truth, found, broken);
  let acceptedLost = 0;
  for (const [place, value] of truth.accepted)
    if (spoken.get(place) !== value) {
      acceptedLost++;
      broken("accepted vote lost", `${place} was answered RECORDED with ${value}`);
    }
  return {
    transactions: found.statuses.size,
    votes: found.votes.size,
    signaturesVerified: spoken.size,
    acceptedVotes: truth.accepted.size,
    acceptedLost,
    recordedOnChain: found.logs.filter(({ topic }) => topic === RECORDED).length,
    bans: [...found.bans].map(([peer, json]) => banLine(truth, peer, json)),
    violations,
  };
}

type Broken = (law: string, text: string) => void;
/** `txId/nodeId` to the value that its signature stands for. */
type Spoken = ReadonlyMap<string, string>;

function verifyVotes(truth: Truth, found: Found, broken: Broken): Spoken {
  const keys = new Map([...truth.trustees].map(([id, { key }]) => [id, keyOf(key)]));
  const spoken = new Map<string, string>();
  for (const [place, json] of found.votes) {
    const [txId = "", nodeId = ""] = place.split("/");
    const key = keys.get(nodeId);
    const stored: StoredVote = JSON.parse(json);
    const vote = key === undefined ? null : verifiedVote(stored, key);
    if (vote === null) {
      broken("votes are signed", `${place} is not signed by ${nodeId}`);
      continue;
    }
    const own = vote.txId === txId && vote.nodeId === nodeId && vote.clusterId === truth.clusterId;
    if (!own || vote.value.toString() !== stored.value)
      broken("votes are signed", `${place} holds a vote on something else`);
    spoken.set(place, vote.value.toString());
  }
  return spoken;
}

function judgeCounts(found: Found, spoken: Spoken, broken: Broken): void {
  const real = new Map<string, number>();
  for (const [place, value] of spoken) {
    const at = `${place.split("/")[0]}/${value}`;
    real.set(at, (real.get(at) ?? 0) + 1);
  }
  for (const at of new Set([...real.keys(), ...found.counts.keys()]))
    if (Number(found.counts.get(at) ?? 0) !== (real.get(at) ?? 0))
      broken(
        "counts are votes",
        `${at} is counted ${found.counts.get(at)}, and has ${real.get(at)}`,
      );
}

function judgeDecisions(truth: Truth, found: Found, spoken: Spoken, broken: Broken): void {
  const byTx = new Map<string, string[]>();
  for (const [place, value] of spoken) {
    const txId = place.split("/")[0] ?? "";
    byTx.set(txId, [...(byTx.get(txId) ?? []), value]);
  }
  for (const [txId, status] of found.statuses) {
    const decision = found.decisions.get(txId);
    const wanted = truth.values.get(txId);
    if (DECIDED.includes(status)) {
      const { value }: { value?: string } = JSON.parse(found.records.get(txId) ?? "{}");
      const same = (byTx.get(txId) ?? []).filter((one) => one === value).length;
      if (same < truth.threshold)
        broken("t votes stand behind a decision", `${txId} is ${status} with ${same} votes`);
      if (value !== wanted)
        broken("decisions are what was voted", `${txId} is ${value}, honest voted ${wanted}`);
      if (truth.mustAbort.has(txId)) broken("aborted when it must", `${txId} is ${status}`);
      if (status === "CONFIRMED" && decision !== `SUBMIT:${value}`)
        broken("claims are written once", `${txId} is CONFIRMED and decided ${decision}`);
    }
    if (status === "ABORTED_BYZANTINE") {
      if (decision?.startsWith("SUBMIT") === true)
        broken("claims are written once", `${txId} is aborted and decided ${decision}`);
      if (wanted !== undefined && !truth.mustAbort.has(txId) && !truth.mayAbort.has(txId))
        broken("no transaction is aborted without reason", `${txId} is ${status}, ${decision}`);
    }
  }
  for (const txId of truth.values.keys()) {
    const status = found.statuses.get(txId);
    const ends = status === "CONFIRMED" || status === "ABORTED_BYZANTINE";
    if (!ends) broken("everything ends", `${txId} is ${status ?? "not in etcd"}`);
  }
}

/** keccak256(abi.encode(keccak256("quorate/record/v1"), clusterId, txId)), as the contract has it. */
function recordKey(clusterId: string, txId: string): string {
  const types = [{ type: "bytes32" }, { type: "string" }, { type: "string" }] as const;
  return keccak256(encodeAbiParameters(types, [DOMAIN, clusterId, txId]));
}

function judgeChain(truth: Truth, found: Found, broken: Broken): void {
  const nameOf = new Map(
    [...found.statuses.keys()].map((txId) => [recordKey(truth.clusterId, txId), txId]),
  );
  const times = new Map<string, number>();
  for (const { topic, key, value } of found.logs) {
    const txId = nameOf.get(key);
    if (topic === DUPLICATE) broken("once on the chain", `${txId ?? key} was sent a second time`);
    if (topic !== RECORDED) continue;
    if (txId === undefined) {
      broken("nothing foreign on the chain", key);
      continue;
    }
    times.set(txId, (times.get(txId) ?? 0) + 1);
    if (found.decisions.get(txId) !== `SUBMIT:${value}`)
      broken(
        "no effect without a claim",
        `${txId}: ${value}, decided ${found.decisions.get(txId)}`,
      );
    if (found.statuses.get(txId) === "ABORTED_BYZANTINE")
      broken("no effect of the aborted", `${txId} is recorded`);
  }
  for (const [txId, count] of times)
    if (count > 1) broken("once on the chain", `${txId} is recorded ${count} times`);
  for (const [txId, status] of found.statuses)
    if (status === "CONFIRMED" && !times.has(txId))
      broken("confirmed is on the chain", `${txId} is not recorded`);
}

function judgeDatabase(found: Found, broken: Broken): void {
  const rows = new Map<string, SubmissionFound>();
  for (const row of found.submissions) {
    if (rows.has(row.tx_id)) broken("one row a transaction", row.tx_id);
    rows.set(row.tx_id, row);
  }
  for (const [txId, status] of found.statuses) {
    const row = rows.get(txId);
    if (status === "CONFIRMED" && row?.state !== "FINALIZED")
      broken("PostgreSQL agrees", `${txId} is CONFIRMED in etcd and ${row?.state} in PostgreSQL`);
    if (row !== undefined && found.decisions.get(txId) !== `SUBMIT:${row.value}`)
      if (row.state !== "ABORTED") broken("PostgreSQL agrees", `${txId} is queued as ${row.value}`);
  }
  // Gap-free and single-use: as many ended slots as the chain counts transactions, numbered from 0.
  const nonces = found.slots.map(({ nonce }) => Number(nonce)).toSorted((a, b) => a - b);
  if (nonces.some((nonce, index) => nonce !== index))
    broken("nonces have no gap", nonces.join(","));
  if (BigInt(nonces.length) !== found.mined)
    broken("nonces are the chain's", `${nonces.length} in PostgreSQL, ${found.mined} mined`);
  for (const { nonce, state } of found.slots)
    if (!["FINALIZED_OK", "FINALIZED_CANCEL"].includes(state))
      broken("every nonce ends well", `${nonce} is ${state}`);
  if (found.history !== found.votes.size)
    broken("history has every vote", `${found.history} of ${found.votes.size}`);
}

function judgeBans(truth: Truth, found: Found, broken: Broken): void {
  const nameOf = new Map([...truth.trustees].map(([id, { peerId }]) => [peerId, id]));
  for (const [peerId, json] of found.bans) {
    const nodeId = nameOf.get(peerId) ?? peerId;
    const { grade, reason }: { grade?: string; reason?: string } = JSON.parse(json);
    if (truth.guilty.has(nodeId)) continue;
    if (grade === "PROOF") broken("no honest trustee is banned by proof", `${nodeId}, ${reason}`);
    else if (!truth.excused.has(nodeId))
      broken("no honest trustee is banned", `${nodeId}, ${reason}, by opinion`);
  }
  for (const nodeId of truth.guilty) {
    const peerId = truth.trustees.get(nodeId)?.peerId ?? "";
    if (!found.bans.has(peerId)) broken("the guilty are banned", nodeId);
  }
}

function banLine(truth: Truth, peerId: string, json: string): string {
  const name = [...truth.trustees].find(([, one]) => one.peerId === peerId)?.[0] ?? peerId;
  const { grade, reason }: { grade?: string; reason?: string } = JSON.parse(json);
  return `${name} ${reason} (${grade})`;
}

/** The contract's events so far. */
export async function readLogs({
  rpcUrl,
  contract,
}: Pick<Places, "rpcUrl" | "contract">): Promise<readonly LogFound[]> {
  const filter = {
    address: contract.address,
    fromBlock: `0x${contract.blockNumber.toString(16)}`,
    toBlock: "latest",
  };
  const logs = await rpc(rpcUrl, "eth_getLogs", [filter]);
  if (!Array.isArray(logs)) throw new Error("the chain tells no events");
  return logs.flatMap((log: { topics: readonly string[]; data: string }): LogFound[] => {
    const [topic, key] = log.topics;
    const known = topic === RECORDED || topic === DUPLICATE;
    if (!known || key === undefined) return [];
    return [{ topic, key, value: BigInt(log.data.slice(0, 66)) }];
  });
}

async function readChain(places: Places): Promise<Pick<Found, "logs" | "mined">> {
  const logs = await readLogs(places);
  const count = await rpc(places.rpcUrl, "eth_getTransactionCount", [
    places.senderAddress,
    "latest",
  ]);
  return { logs, mined: BigInt(String(count)) };
}

async function readDatabase({
  postgresUrl,
  schema,
}: Places): Promise<Pick<Found, "submissions" | "slots" | "history">> {
  const client = new Client({ connectionString: postgresUrl });
  await client.connect();
  try {
    const { rows: submissions } = await client.query<SubmissionFound>(
      `SELECT tx_id, value::text AS value, state FROM "${schema}".submission`,
    );
    const { rows: slots } = await client.query<{ nonce: string; state: string }>(
      `SELECT nonce::text AS nonce, state FROM "${schema}".slot`,
    );
    const { rows } = await client.query<{ count: string }>(
      `SELECT count(DISTINCT (tx_id, node_id))::text AS count FROM "${schema}".vote_history`,
    );
    return { submissions, slots, history: Number(rows[0]?.count ?? 0) };
  } finally {
    await client.end();
  }
}

import { assert, decisionOf, type FinalDecision, type TxId } from "@quorate/core";
import { type PurgeOutcome, type PurgeRequest, StoreError } from "@quorate/ports";
import type { IRangeResponse, IRequestOp } from "etcd3";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import {
  absent,
  get,
  keyBytes,
  nested,
  put,
  rangeEnd,
  rangeOf,
  remove,
  removeRange,
  textOf,
  txnOf,
  unchanged,
} from "./ops.ts";
import type { Reading } from "./snapshot.ts";
import { readDecision, readRecord, readStatus, writeDecision } from "./values.ts";

// Four reads each, and so within 128 operations; also as many nested Txns as one raft entry should hold.
const PER_TXN_MAX = 30;
const READS = 4;
const FREED_IN_FLIGHT_MAX = 8;

type Calls = Pick<EtcdHosts, "once" | "idempotent">;

interface Found {
  readonly request: PurgeRequest;
  /** Null when there is no status any more. */
  readonly status: { readonly word: string; readonly version: bigint } | null;
  readonly hasVotes: boolean;
  readonly hasDecision: boolean;
  /** Null when it is not settled, or its record does not say how. */
  readonly decision: FinalDecision | null;
}

/** See `TallyMaintenance.purge`. */
export async function purgeAll(
  hosts: Calls,
  reading: Reading,
  requests: readonly PurgeRequest[],
  options: CallOptions,
): Promise<readonly PurgeOutcome[]> {
  const distinct = new Set(requests.map(({ txId }) => txId));
  assert(distinct.size === requests.length, "the transactions of one call differ");
  const outcomes: PurgeOutcome[] = [];
  for (let at = 0; at < requests.length; at += PER_TXN_MAX) {
    const part = requests.slice(at, at + PER_TXN_MAX);
    outcomes.push(...(await purgeSome(hosts, reading, part, options)));
  }
  return outcomes;
}

async function purgeSome(
  hosts: Calls,
  reading: Reading,
  requests: readonly PurgeRequest[],
  options: CallOptions,
): Promise<readonly PurgeOutcome[]> {
  const found = await lookAt(hosts, reading, requests, options);
  const ready = found.filter((one) => verdictOf(one) === null);
  if (ready.length === 0) return found.map((one) => verdictOf(one) ?? "kept");
  const ends = new Map<TxId, PurgeOutcome>();
  try {
    const response = await hosts.once(
      "purge",
      (client, call) => client.kv.txn({ success: ready.map((one) => purgeOp(reading, one)) }, call),
      options,
    );
    for (const [at, { request }] of ready.entries())
      ends.set(request.txId, txnOf(response.responses[at]).succeeded ? "purged" : "kept");
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== "NO_SPACE") throw error;
    for (const one of ready) ends.set(one.request.txId, await free(hosts, reading, one, options));
  }
  return found.map((one) => verdictOf(one) ?? ends.get(one.request.txId) ?? "kept");
}

/** @returns null when it is to be purged. */
function verdictOf({
  request,
  status,
  hasVotes,
  hasDecision,
  decision,
}: Found): PurgeOutcome | null {
  if (status === null) return "gone";
  if (decision === null) return "kept";
  if (!hasVotes && hasDecision && request.level === "votes") return "gone";
  // Once the votes are purged nothing is recorded any more: what moved the status since was the purge itself.
  if (hasVotes && status.version > request.throughRevision) return "kept";
  return null;
}

function purgeOp({ keys }: Reading, { request, status, decision }: Found): IRequestOp {
  assert(status !== null && decision !== null, "only what is settled is purged");
  const { txId, level } = request;
  const success: IRequestOp[] = [
    removeRange(keys.votesOf(txId)),
    removeRange(keys.voteCountsOf(txId)),
    nested({
      compare: [absent(keys.decision(txId))],
      success: [put(keys.decision(txId), writeDecision(decision))],
    }),
  ];
  // Written again though it stays the same: what was decided on the votes finds its guard void.
  if (level === "votes") success.push(put(keys.status(txId), status.word));
  else success.push(remove(keys.status(txId)), remove(keys.record(txId)));
  return nested({ compare: [unchanged(keys.status(txId), status.version)], success });
}

/**
 * A full etcd refuses every Txn but takes plain deletions. No commit can come between, for those are Txns; a
 * commit that was on its way when room was made may still write a late vote, which then goes with the record.
 */
async function free(
  hosts: Calls,
  { keys }: Reading,
  { request: { txId }, hasVotes, hasDecision }: Found,
  options: CallOptions,
): Promise<PurgeOutcome> {
  // Without its decision the votes are all that says that it is settled.
  if (!hasVotes || !hasDecision) return "kept";
  for (const prefix of [keys.votesOf(txId), keys.voteCountsOf(txId)])
    await hosts.once(
      "purge",
      (client, call) =>
        client.kv.deleteRange({ key: keyBytes(prefix), range_end: rangeEnd(prefix) }, call),
      options,
    );
  return "freed";
}

async function lookAt(
  hosts: Calls,
  reading: Reading,
  requests: readonly PurgeRequest[],
  options: CallOptions,
): Promise<readonly Found[]> {
  const { keys } = reading;
  const reads = requests.flatMap(({ txId }) => [
    get(keys.status(txId)),
    get(keys.record(txId)),
    get(keys.decision(txId)),
    {
      request_range: {
        key: keyBytes(keys.votesOf(txId)),
        range_end: rangeEnd(keys.votesOf(txId)),
        limit: 1,
        keys_only: true,
      },
    },
  ]);
  const ranges = await readAll(hosts, reads, options);
  return requests.map((request, i) => {
    const [status, record, decision, votes] = ranges.slice(i * READS, (i + 1) * READS);
    const statusKv = status?.kvs[0] ?? null;
    const recordKv = record?.kvs[0] ?? null;
    const decisionKv = decision?.kvs[0] ?? null;
    const word = statusKv === null ? null : readStatus(textOf(statusKv.value));
    const read = recordKv === null ? null : readRecord(textOf(recordKv.value));
    return {
      request,
      status:
        statusKv === null
          ? null
          : { word: textOf(statusKv.value), version: BigInt(statusKv.mod_revision) },
      hasVotes: (votes?.kvs.length ?? 0) > 0,
      hasDecision: decisionKv !== null && readDecision(textOf(decisionKv.value)).ok,
      decision: decisionOf({
        status: word?.ok === true ? word.value : null,
        record: read?.ok === true ? read.value : null,
      }),
    };
  });
}

/** At one revision when it can be; one by one when etcd is full, for then it refuses Txns that only read, too. */
async function readAll(
  hosts: Calls,
  reads: readonly IRequestOp[],
  options: CallOptions,
): Promise<readonly IRangeResponse[]> {
  try {
    const response = await hosts.idempotent(
      "read",
      (client, call) => client.kv.txn({ success: [...reads] }, call),
      options,
    );
    return response.responses.map(rangeOf);
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== "NO_SPACE") throw error;
  }
  const ranges: IRangeResponse[] = [];
  for (let at = 0; at < reads.length; at += FREED_IN_FLIGHT_MAX)
    ranges.push(
      ...(await Promise.all(
        reads
          .slice(at, at + FREED_IN_FLIGHT_MAX)
          .map((read) =>
            hosts.idempotent(
              "read",
              (client, call) => client.kv.range(read.request_range ?? {}, call),
              options,
            ),
          ),
      )),
    );
  return ranges;
}

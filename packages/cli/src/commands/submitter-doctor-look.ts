import { randomUUID } from "node:crypto";
import {
  assert,
  type ClusterId,
  type EvmAddress,
  parseTxId,
  parseValue,
  type SubmissionState,
  unwrap,
} from "@quorate/core";
import type {
  Chain,
  Clock,
  ClusterConfig,
  Election,
  EndpointReport,
  FinalityMode,
  Hex,
  SenderState,
  SubmissionStore,
} from "@quorate/ports";
import {
  type Diagnosis,
  diagnosisOf,
  mapped,
  notChecked,
  type Probe,
  probe,
} from "../doctor/check.ts";
import {
  type CommonHeight,
  checkAgreement,
  checkBalance,
  checkContract,
  checkEndpoints,
  checkEtcd,
  checkKey,
  checkLeader,
  checkQueue,
  checkSchema,
  checkSender,
  highestOf,
} from "./submitter-doctor-checks.ts";

/** The parts a submitter works with, each of which may be away. */
export interface DoctorWorld {
  readonly clusterId: ClusterId;
  readonly schemaName: string;
  readonly finality: FinalityMode;
  /** Results in a full batch. */
  readonly batchMax: number;
  /** Where the signing key lies, or who holds it; nothing is signed. */
  readonly address: () => Promise<EvmAddress>;
  readonly etcd: {
    readConfig(options: { readonly signal: AbortSignal }): Promise<Pick<ClusterConfig, "set">>;
  } & Pick<Election, "leader">;
  readonly schema: () => Promise<{
    readonly missing: readonly string[];
    readonly unknown: readonly string[];
  }>;
  readonly submissions: Pick<SubmissionStore, "senderState" | "counts" | "list" | "gaps">;
  /** Asks whichever endpoint answers. */
  readonly chain: Pick<Chain, "chainId" | "contractAddress" | "simulateBatch" | "suggestFees">;
  /** One each, in the order of the configuration. */
  readonly endpoints: readonly Pick<Chain, "endpointReports" | "blockAt">[];
  readonly clock: Clock;
}

/** The longest one part may take, in ms. */
const PART_TIMEOUT_MS = 10_000;
const GAPS_SHOWN_MAX = 10;
const PENDING: readonly SubmissionState[] = ["QUEUED", "ASSIGNED", "INCLUDED"];

/** Looks at every part and changes nothing. Never rejects for a part that is away: that is a failed check. */
export async function diagnose(world: DoctorWorld): Promise<Diagnosis> {
  const [key, cluster, schema] = await Promise.all([
    probe(() => world.address()),
    probe((signal) => world.etcd.readConfig({ signal })),
    probe(() => world.schema()),
  ]);
  const [leader, chain] = await Promise.all([
    leaderOf(world, key, cluster),
    lookAtChain(world, key),
  ]);
  const database = await lookAtDatabase(world, key, schema, chain.reports);
  const checks = [
    checkKey(mapped(key, (address) => ({ address }))),
    checkEtcd(
      mapped(cluster, ({ set }) => ({
        epoch: set.epoch,
        threshold: set.threshold,
        trustees: set.trustees.length,
      })),
      world.clusterId,
    ),
    checkSchema(schema, world.schemaName),
    ...checkEndpoints(chain.reports, world.clock.nowMs()),
    checkAgreement(chain.common, world.endpoints.length),
    key.ok
      ? checkContract(chain.full, world.chain.contractAddress)
      : notChecked("contract", NO_KEY),
    checkBalance(chain.balance, chain.fees, chain.full),
    ...checkSender({ state: database.state, reports: chain.reports, gaps: database.gaps }),
    ...checkQueue({
      counts: database.counts,
      oldestPendingMs: database.oldestPendingMs,
      nowMs: world.clock.nowMs(),
    }),
    checkLeader(leader),
  ];
  return diagnosisOf(checks);
}

const NO_KEY = "the account is unknown";

async function leaderOf(
  { etcd, chain }: DoctorWorld,
  key: Probe<EvmAddress>,
  cluster: Probe<unknown>,
): Promise<Probe<string | null>> {
  if (!cluster.ok) return { ok: false, problem: "etcd can't be asked" };
  if (!key.ok) return { ok: false, problem: NO_KEY };
  return probe((signal) => etcd.leader(`submitter/${chain.chainId}/${key.value}`, { signal }));
}

async function lookAtChain(world: DoctorWorld, key: Probe<EvmAddress>) {
  // Without a key the contract's own address is asked for: heads are told all the same.
  const account = key.ok ? key.value : world.chain.contractAddress;
  const reports = (
    await Promise.all(
      world.endpoints.map((endpoint) => reportOf(endpoint, account, world.finality)),
    )
  ).map(
    (report): EndpointReport =>
      key.ok ? report : { ...report, countLatest: null, countPending: null, balanceWei: null },
  );
  const isUp = reports.some(({ problem }) => problem === null);
  const down: Probe<never> = { ok: false, problem: "no endpoint can be used" };
  const [common, full, fees] = isUp
    ? await Promise.all([commonHeight(world, reports), fullBatch(world, account), feesOf(world)])
    : [down, down, down];
  const balance = highestOf(reports.map(({ balanceWei }) => balanceWei));
  return {
    reports,
    common,
    full,
    fees,
    balance: (balance === null
      ? { ok: false, problem: key.ok ? "no endpoint tells it" : NO_KEY }
      : { ok: true, value: balance }) satisfies Probe<bigint>,
  };
}

async function reportOf(
  endpoint: Pick<Chain, "endpointReports">,
  account: EvmAddress,
  finality: FinalityMode,
): Promise<EndpointReport> {
  const [report] = await endpoint.endpointReports(account, finality, {
    signal: AbortSignal.timeout(PART_TIMEOUT_MS),
  });
  assert(report !== undefined, "a chain of one endpoint reports on one");
  return report;
}

function feesOf({ chain }: DoctorWorld) {
  return probe((signal) => chain.suggestFees({ signal }));
}

/** Results nobody has voted on, against the newest state: nothing is sent. The contract itself says whether it takes them. */
function fullBatch({ chain, batchMax }: DoctorWorld, account: EvmAddress) {
  const run = randomUUID();
  const value = unwrap(parseValue(0n));
  const items = Array.from({ length: batchMax }, (_, i) => ({
    txId: unwrap(parseTxId(`doctor:${run}:${i}`)),
    value,
  }));
  return probe(async (signal) => ({
    ...(await chain.simulateBatch(account, items, { signal })),
    results: batchMax,
  }));
}

async function commonHeight(
  { endpoints }: DoctorWorld,
  reports: readonly EndpointReport[],
): Promise<Probe<CommonHeight>> {
  const usable = reports.flatMap(({ endpoint, problem, head, finalized }, i) => {
    const chain = endpoints[i];
    // Final where there is something final: heads may differ for a moment without anything being wrong.
    const deepest = finalized ?? head;
    return problem === null && chain !== undefined && deepest !== null
      ? [{ endpoint, chain, height: deepest.number }]
      : [];
  });
  if (usable.length < 2) return { ok: false, problem: "fewer than two endpoints can be compared" };
  const height = usable.reduce(
    (low, e) => (e.height < low ? e.height : low),
    usable[0]?.height ?? 0n,
  );
  return probe(async (signal) => ({
    height,
    hashes: await Promise.all(
      usable.map(
        async ({ endpoint, chain }): Promise<{ endpoint: string; hash: Hex | null }> => ({
          endpoint,
          hash: (await chain.blockAt(height, { signal }))?.hash ?? null,
        }),
      ),
    ),
  }));
}

async function lookAtDatabase(
  { submissions, chain }: DoctorWorld,
  key: Probe<EvmAddress>,
  schema: Probe<{ readonly missing: readonly string[] }>,
  reports: readonly EndpointReport[],
): Promise<{
  readonly state: Probe<SenderState | null>;
  readonly counts: Probe<Readonly<Record<SubmissionState, number>>>;
  readonly oldestPendingMs: number | null;
  readonly gaps: readonly bigint[];
}> {
  const isUsable = schema.ok && schema.value.missing.length === 0;
  const away: Probe<never> = { ok: false, problem: "PostgreSQL is not ready" };
  if (!isUsable) return { state: away, counts: away, oldestPendingMs: null, gaps: [] };
  const [counts, oldest] = await Promise.all([
    probe((signal) => submissions.counts({ signal })),
    probe((signal) => submissions.list({ states: PENDING, after: null, limit: 1 }, { signal })),
  ]);
  const oldestPendingMs = oldest.ok ? (oldest.value.submissions[0]?.queuedAtMs ?? null) : null;
  if (!key.ok) return { state: { ok: false, problem: NO_KEY }, counts, oldestPendingMs, gaps: [] };
  const sender = { chainId: chain.chainId, address: key.value };
  const state = await probe((signal) => submissions.senderState(sender, { signal }));
  const latest = highestOf(reports.map(({ countLatest }) => countLatest));
  if (!state.ok || state.value === null || latest === null)
    return { state, counts, oldestPendingMs, gaps: [] };
  const gaps = await probe((signal) =>
    submissions.gaps(sender, latest, GAPS_SHOWN_MAX, { signal }),
  );
  return { state, counts, oldestPendingMs, gaps: gaps.ok ? gaps.value : [] };
}

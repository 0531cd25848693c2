import type { SubmissionState } from "@quorate/core";
import type { EndpointReport, Fees, SenderState } from "@quorate/ports";
import { check, type DoctorCheck, notChecked, type Probe } from "../doctor/check.ts";
import { differencesOf } from "./submitter-differences.ts";

// Thresholds are for a person's attention only: nothing is decided by them.
/** A head this old is no head: the slowest chain in use has a block every 12 s. */
const HEAD_AGE_WARN_MS = 120_000;
/** Finality of the slowest chain in use takes 13 to 19 minutes when all is well. */
const FINALITY_AGE_WARN_MS = 30 * 60_000;
/** Blocks by which endpoints that all follow the chain differ at one moment. */
const HEAD_LAG_WARN_BLOCKS = 5n;
/** A submitter waits for several calls at each head. */
const LATENCY_WARN_MS = 2_000;
/** Two and a half windows of eight: time enough to send money. */
const BATCHES_WARN = 20n;
/** Longer than finality takes on any chain in use. */
const PENDING_AGE_WARN_MS = 45 * 60_000;

export function checkKey(key: Probe<{ readonly address: string }>): DoctorCheck {
  return key.ok
    ? check("key", "ok", `signs as ${key.value.address}`)
    : check("key", "fail", key.problem, "see the submitter's keyFile or signer settings");
}

export function checkEtcd(
  cluster: Probe<{ readonly epoch: number; readonly threshold: number; readonly trustees: number }>,
  clusterId: string,
): DoctorCheck {
  if (cluster.ok) {
    const { epoch, threshold, trustees } = cluster.value;
    const detail = `cluster ${clusterId}, epoch ${epoch}, ${threshold} of ${trustees}`;
    return check("etcd", "ok", detail);
  }
  return check(
    "etcd",
    "fail",
    cluster.problem,
    "see etcd.hosts and clusterId; a new cluster is written by: quorate cluster init",
  );
}

export function checkLeader(leader: Probe<string | null>): DoctorCheck {
  if (!leader.ok) return notChecked("leader", leader.problem);
  if (leader.value !== null) return check("leader", "ok", `${leader.value} leads`);
  return check(
    "leader",
    "warn",
    "nobody leads, so nothing is sent",
    "start a submitter: quorate submitter --config FILE",
  );
}

export function checkSchema(
  schema: Probe<{ readonly missing: readonly string[]; readonly unknown: readonly string[] }>,
  name: string,
): DoctorCheck {
  if (!schema.ok) return check("postgres", "fail", schema.problem, "see postgres.url");
  const { missing, unknown } = schema.value;
  if (unknown.length > 0)
    return check(
      "postgres",
      "fail",
      `schema ${name} was migrated by a newer release: ${unknown.join(", ")}`,
      "run that release or a later one",
    );
  if (missing.length > 0)
    return check(
      "postgres",
      "fail",
      `schema ${name} is not up to date: ${missing.join(", ")} not applied`,
      "a submitter that starts migrates it; its user must be allowed to",
    );
  return check("postgres", "ok", `schema ${name} is up to date`);
}

/** One check an endpoint. @param nowMs the time by this machine's clock */
export function checkEndpoints(
  reports: readonly EndpointReport[],
  nowMs: number,
): readonly DoctorCheck[] {
  const highest = reports.reduce(
    (high, { head }) => (head && head.number > high ? head.number : high),
    0n,
  );
  return reports.map((report) => checkEndpoint(report, highest, nowMs));
}

function checkEndpoint(report: EndpointReport, highest: bigint, nowMs: number): DoctorCheck {
  const { endpoint, problem, head, finalized, latencyMs } = report;
  const name = `rpc ${endpoint}`;
  if (problem !== null || head === null)
    return check(
      name,
      "fail",
      problem ?? "it gave no head",
      "see chain.rpcUrls and chain.chainId; with one endpoint less, reads that decide for good need the others",
    );
  const headAgeMs = nowMs - Number(head.timestampSeconds) * 1_000;
  const words = [
    `head ${head.number}`,
    finalized === null ? "nothing final yet" : `final ${head.number - finalized.number} behind`,
    ...(latencyMs === null ? [] : [`${Math.round(latencyMs)} ms`]),
  ];
  const detail = words.join(", ");
  const warn = (why: string, advice: string): DoctorCheck =>
    check(name, "warn", `${detail}; ${why}`, advice);
  if (headAgeMs > HEAD_AGE_WARN_MS)
    return warn(
      `its head is ${Math.round(headAgeMs / 1_000)} s old`,
      "the endpoint has stopped following the chain, or this machine's clock is wrong",
    );
  if (highest - head.number > HEAD_LAG_WARN_BLOCKS)
    return warn(`${highest - head.number} blocks behind another endpoint`, "let it catch up");
  if (
    finalized !== null &&
    nowMs - Number(finalized.timestampSeconds) * 1_000 > FINALITY_AGE_WARN_MS
  )
    return warn(
      "finality lags",
      "nothing is lost: results stay INCLUDED until the chain finalizes",
    );
  if (latencyMs !== null && latencyMs > LATENCY_WARN_MS)
    return warn("it is slow", "the submitter follows the chain only as fast as it is answered");
  return check(name, "ok", detail);
}

/** What each endpoint says is the block at one height that all of them have. */
export interface CommonHeight {
  readonly height: bigint;
  readonly hashes: readonly { readonly endpoint: string; readonly hash: string | null }[];
}

export function checkAgreement(common: Probe<CommonHeight>, endpoints: number): DoctorCheck {
  if (endpoints === 1)
    return check("agreement", "ok", "one endpoint only: its word is taken for everything");
  if (!common.ok) return notChecked("agreement", common.problem);
  const { height, hashes } = common.value;
  const distinct = new Set(hashes.map(({ hash }) => hash));
  if (distinct.size === 1 && !distinct.has(null))
    return check("agreement", "ok", `${hashes.length} endpoints hold the same block ${height}`);
  const said = hashes.map(({ endpoint, hash }) => `${endpoint}: ${hash?.slice(0, 12) ?? "none"}`);
  return check(
    "agreement",
    "fail",
    `the endpoints differ about block ${height} (${said.join(", ")})`,
    "one of them follows another chain or lies: find out which, and take it out of chain.rpcUrls",
  );
}

/** @param full gas of a batch that this account would send now */
export function checkContract(
  full: Probe<{ readonly gasLimit: bigint; readonly results: number }>,
  contract: string,
): DoctorCheck {
  if (full.ok)
    return check(
      "contract",
      "ok",
      `${contract} takes results from this account (${full.value.results} need up to ${full.value.gasLimit} gas)`,
    );
  return check(
    "contract",
    "fail",
    full.problem,
    "see chain.contractAddress; the contract's owner names its submitter with setSubmitter(address)",
  );
}

export function checkBalance(
  balance: Probe<bigint>,
  fees: Probe<Fees>,
  full: Probe<{ readonly gasLimit: bigint; readonly results: number }>,
): DoctorCheck {
  if (!balance.ok) return notChecked("balance", balance.problem);
  const has = `${etherOf(balance.value)} ETH`;
  if (balance.value === 0n) return check("balance", "fail", "0 ETH", "send money to this account");
  if (!fees.ok) return check("balance", "warn", `${has}; fees are unknown: ${fees.problem}`);
  if (!full.ok) return check("balance", "warn", `${has}; what a batch needs is unknown`);
  const batchWei = full.value.gasLimit * fees.value.maxFeePerGasWei;
  const batches = batchWei === 0n ? null : balance.value / batchWei;
  const detail = `${has}, enough for ${batches ?? "any number of"} full batches of ${full.value.results} at present fees`;
  if (batches === null || batches >= BATCHES_WARN) return check("balance", "ok", detail);
  return check("balance", batches === 0n ? "fail" : "warn", detail, "send money to this account");
}

/** Nonces of the database against those of the chain, and whether the sender may take more. */
export function checkSender(facts: {
  readonly state: Probe<SenderState | null>;
  readonly reports: readonly EndpointReport[];
  readonly gaps: readonly bigint[];
}): readonly DoctorCheck[] {
  const { state, reports, gaps } = facts;
  if (!state.ok)
    return ["nonces", "history", "frozen"].map((name) => notChecked(name, state.problem));
  const latest = highestOf(reports.map(({ countLatest }) => countLatest));
  const pending = highestOf(reports.flatMap((r) => [r.countPending, r.countLatest]));
  if (state.value === null)
    return [
      check(
        "nonces",
        "ok",
        `no submitter has led with this account yet; it would begin at nonce ${pending ?? "unknown"}`,
      ),
      check("frozen", "ok", "no"),
    ];
  const { nextNonce, frozen } = state.value;
  return [
    checkNonces({ nextNonce, latest, pending, gaps }),
    checkHistory(state.value),
    frozen === null
      ? check("frozen", "ok", "no")
      : check(
          "frozen",
          "fail",
          `since ${new Date(frozen.sinceMs).toISOString()}: ${frozen.reason}`,
          "look into the reason, then: quorate submissions unfreeze --reason TEXT (it shows what differs first)",
        ),
  ];
}

/** What the database remembers of this account against what the chain holds. */
function checkHistory({ historyChecked, historyDiffers }: SenderState): DoctorCheck {
  if (historyDiffers)
    return check(
      "history",
      "fail",
      "it differed from what the contract holds, and nobody has accepted that yet",
      "look at the submitter's log and at quorate submissions list, then: quorate submissions unfreeze --reason TEXT",
    );
  return historyChecked
    ? check("history", "ok", "held against the chain")
    : check(
        "history",
        "warn",
        "not yet held against the chain; until then no nonce is taken",
        "a leading submitter does so by itself, once the blocks it needs are final",
      );
}

function checkNonces(facts: {
  readonly nextNonce: bigint;
  readonly latest: bigint | null;
  readonly pending: bigint | null;
  readonly gaps: readonly bigint[];
}): DoctorCheck {
  const { nextNonce, latest, pending, gaps } = facts;
  if (latest === null || pending === null)
    return notChecked("nonces", "no endpoint tells the account's nonce");
  const detail = `next ${nextNonce}, on the chain ${latest}, with the pools ${pending}`;
  // Quarantined ones and imports have checks of their own.
  const [difference] = differencesOf({
    ...facts,
    gaps: [],
    latestNonce: latest,
    pendingNonce: pending,
    finalizedBlock: 0n,
    history: null,
    quarantined: 0,
  });
  if (difference !== undefined)
    return check(
      "nonces",
      "fail",
      `${detail}: ${difference}`,
      "let one database only use this key; after a restore a submitter imports what the chain holds",
    );
  if (gaps.length > 0)
    return check(
      "nonces",
      "warn",
      `${detail}; nothing is signed for ${gaps.join(", ")}`,
      "a leading submitter fills gaps with empty transactions; see its log if this stays",
    );
  if (nextNonce > pending)
    return check(
      "nonces",
      "warn",
      `${detail}: ${nextNonce - pending} signed transactions are in no pool`,
      "a leading submitter sends the same bytes again within a few blocks; see its log if this stays",
    );
  return check("nonces", "ok", detail);
}

export function checkQueue(facts: {
  readonly counts: Probe<Readonly<Record<SubmissionState, number>>>;
  /** Since when the oldest one that is not final waits; null when none does. */
  readonly oldestPendingMs: number | null;
  readonly nowMs: number;
}): readonly DoctorCheck[] {
  const { counts, oldestPendingMs, nowMs } = facts;
  if (!counts.ok) return [notChecked("queue", counts.problem)];
  const { QUEUED, ASSIGNED, INCLUDED, QUARANTINED } = counts.value;
  const ageMs = oldestPendingMs === null ? null : Math.max(0, nowMs - oldestPendingMs);
  const age = ageMs === null ? "" : `, the oldest ${Math.round(ageMs / 1_000)} s old`;
  const detail = `${QUEUED} queued, ${ASSIGNED} assigned, ${INCLUDED} included${age}`;
  const isOld = ageMs !== null && ageMs > PENDING_AGE_WARN_MS;
  return [
    isOld
      ? check(
          "queue",
          "warn",
          detail,
          "see: quorate submissions list --state QUEUED,ASSIGNED,INCLUDED",
        )
      : check("queue", "ok", detail),
    QUARANTINED === 0
      ? check("quarantine", "ok", "empty")
      : check(
          "quarantine",
          "warn",
          `${QUARANTINED} submissions wait for a person`,
          "see: quorate submissions list --state QUARANTINED; then: quorate submissions retry TX --reason TEXT",
        ),
  ];
}

/** The highest that anybody said; null when nobody said anything. */
export function highestOf(values: readonly (bigint | null)[]): bigint | null {
  return values.reduce(
    (high, value) => (value !== null && (high === null || value > high) ? value : high),
    null,
  );
}

/** Wei as ether, cut off after six places. */
function etherOf(wei: bigint): string {
  const micro = wei / 10n ** 12n;
  const whole = micro / 1_000_000n;
  const rest = (micro % 1_000_000n).toString().padStart(6, "0").replace(/0+$/, "");
  return rest === "" ? whole.toString() : `${whole}.${rest}`;
}

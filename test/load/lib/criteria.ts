import { createHash } from "node:crypto";
import { quantile } from "../../bench/quantile.ts";
import type { InvariantReport } from "../../chaos-cluster/lib/invariants.ts";
import type { Uptime } from "./uptime.ts";

/** One of the specification's success criteria (§14.3), held against what was measured. */
export interface Criterion {
  readonly name: string;
  readonly measured: string;
  readonly passed: boolean;
  readonly remark: string;
}

export interface Measured {
  /** Of each transaction that honest trustees were to agree on: from when its votes were due to its decision, in ms; null when it never came. */
  readonly latenciesMs: readonly (number | null)[];
  /** Trustees that broke a rule, and those of them that are banned. */
  readonly planted: number;
  readonly caught: number;
  readonly honestBanned: number;
  /** From the publication of a crime to the abort as an etcd watcher sees it, in ms; null when it never came. */
  readonly abortsMs: readonly (number | null)[];
  readonly duplicates: number;
  /** `txId/nodeId=value` of every vote that was to be cast, and of every one found in etcd. */
  readonly cast: readonly string[];
  readonly found: ReadonlySet<string>;
  /** Of the cast, votes that the trustee's own node refused aloud, by code: not lost, and not recorded either. */
  readonly refused: Readonly<Record<string, number>>;
  readonly uptime: Uptime;
  readonly invariants: InvariantReport;
}

const CONSENSUS_MS = 2_000;
const ABORT_MS = 100;
const UPTIME = 0.9999;

export function judgeCriteria(measured: Measured): readonly Criterion[] {
  return [
    consensus(measured),
    detection(measured),
    once(measured),
    noLoss(measured),
    aborts(measured),
    uptime(measured),
    invariants(measured),
  ];
}

const ms = (value: number): string => `${Math.round(value)} ms`;

function consensus({ latenciesMs }: Measured): Criterion {
  const never = latenciesMs.filter((one) => one === null).length;
  const p99 = quantile(
    latenciesMs.map((one) => one ?? Number.POSITIVE_INFINITY),
    0.99,
  );
  const p50 = quantile(
    latenciesMs.map((one) => one ?? Number.POSITIVE_INFINITY),
    0.5,
  );
  return {
    name: "all transactions reach consensus within 2 s (p99)",
    measured: `p50 ${ms(p50)}, p99 ${ms(p99)}, ${never} of ${latenciesMs.length} never`,
    passed: latenciesMs.length > 0 && never === 0 && p99 <= CONSENSUS_MS,
    remark:
      "from the moment a transaction's votes were due (however late they were sent) to its decision as an etcd watcher sees it",
  };
}

function detection({ planted, caught, honestBanned }: Measured): Criterion {
  return {
    name: "zero Byzantine nodes go undetected",
    measured: `${caught} of ${planted} banned, ${honestBanned} honest banned`,
    passed: caught === planted && honestBanned === 0,
    remark:
      planted === 0 ? "none was planted in this scenario: only that nobody honest was banned" : "",
  };
}

function once({ duplicates, invariants: found }: Measured): Criterion {
  return {
    name: "zero duplicate blockchain submissions",
    measured: `${duplicates} among ${found.recordedOnChain} records`,
    passed: duplicates === 0,
    remark:
      "by the contract's own events: neither a second record nor one that only the contract refused",
  };
}

function noLoss({ cast, found, refused }: Measured): Criterion {
  const lost = cast.filter((vote) => !found.has(vote));
  const digest = (votes: readonly string[]): string =>
    createHash("sha256").update(votes.toSorted().join("\n")).digest("hex").slice(0, 16);
  const aloud = Object.entries(refused).map(([code, count]) => `${count} ${code}`);
  const there = cast.filter((vote) => found.has(vote));
  return {
    name: "zero message loss (verified via checksums)",
    measured: `${lost.length} of ${cast.length} votes not recorded${aloud.length === 0 ? "" : ` (refused aloud: ${aloud.join(", ")})`}; SHA-256 cast ${digest(cast)}, recorded ${digest(there)}`,
    passed: lost.length === 0 && digest(cast) === digest(there) && cast.length > 0,
    remark:
      "of every vote handed to a node: transaction, trustee and value, as its verified signature in etcd says them",
  };
}

function aborts({ abortsMs }: Measured): Criterion {
  const never = abortsMs.filter((one) => one === null).length;
  const worst = Math.max(0, ...abortsMs.map((one) => one ?? Number.POSITIVE_INFINITY));
  return {
    name: "all Byzantine transactions aborted within 100 ms",
    measured:
      abortsMs.length === 0
        ? "no Byzantine transactions"
        : `${abortsMs.map((one) => (one === null ? "never" : ms(one))).join(", ")}; worst ${ms(worst)}`,
    passed: never === 0 && worst <= ABORT_MS,
    remark:
      abortsMs.length === 0
        ? "none was planted in this scenario"
        : "from just before the vote that completes the crime is handed to the network (a process away) to the abort as an etcd watcher sees it, so gossip, commit and two hops of this harness are in it",
  };
}

/** With n looks and none of them down, the share that is up is above 1 - 3/n with 95 % confidence. */
function uptime({ uptime: seen }: Measured): Criterion {
  const share = 1 - seen.down / Math.max(1, seen.looks);
  const provable = 1 - 3 / Math.max(3, seen.looks);
  const percent = (value: number): string => `${(100 * value).toFixed(3)} %`;
  return {
    name: "99.99 % uptime",
    measured: `${percent(share)} of ${seen.looks} looks; ${seen.failed} of ${seen.probes} single answers missing`,
    passed: seen.looks > 0 && share >= UPTIME,
    remark: `up: t nodes and a submitter are ready. A run of this length without a fault shows no more than ${percent(provable)} (95 % confidence); 99.99 % takes 30,000 looks, 50 minutes`,
  };
}

function invariants({ invariants: found }: Measured): Criterion {
  return {
    name: "every invariant of the independent check holds",
    measured: `${found.violations.length} violations; ${found.signaturesVerified} signatures verified`,
    passed: found.violations.length === 0,
    remark: found.violations.slice(0, 3).join("; "),
  };
}

import type {
  AbortOptions,
  Chain,
  ChainSigner,
  Clock,
  Counter,
  FinalityMode,
  Gauge,
  Logger,
  MetricsFactory,
  SubmissionStore,
} from "@quorate/ports";

/** What a submitter looks at on its own account; each process does, leading or not. */
export interface SubmitterWatchMetrics {
  readonly balance: Gauge;
  readonly nonceGap: Gauge;
  readonly oldestPending: Gauge;
  readonly headAge: Gauge;
  readonly endpoints: Gauge;
  readonly endpointsUp: Gauge;
  readonly postgresUp: Gauge;
  readonly lastBackup: Gauge;
  readonly failures: Counter<"what">;
}

const WATCHED = ["chain", "postgres", "backup"] as const;

/** @see spec §13.1 */
export function submitterWatchMetrics(factory: MetricsFactory): SubmitterWatchMetrics {
  return {
    balance: factory.gauge({
      name: "submitter_balance_ether",
      help: "What the submitter's account has, in whole units of the chain's coin; not a number while no endpoint tells.",
    }),
    nonceGap: factory.gauge({
      name: "submitter_nonce_gap",
      help: "Nonces that are taken in the database and not mined yet.",
    }),
    oldestPending: factory.gauge({
      name: "submissions_oldest_pending_seconds",
      help: "Age of the oldest submission that is queued or signed and not in a block; 0 when there is none.",
    }),
    headAge: factory.gauge({
      name: "chain_head_age_seconds",
      help: "Time since the newest block that any endpoint knows, by its own time stamp.",
    }),
    endpoints: factory.gauge({
      name: "chain_endpoints",
      help: "RPC endpoints that this submitter is configured with.",
    }),
    endpointsUp: factory.gauge({
      name: "chain_endpoints_up",
      help: "RPC endpoints that answered the last look and are on the right chain.",
    }),
    postgresUp: factory.gauge({
      name: "postgres_up",
      help: "1 when PostgreSQL answered the last look, 0 when it did not.",
    }),
    lastBackup: factory.gauge({
      name: "backup_last_success_timestamp_seconds",
      help: "When the newest backup that PostgreSQL knows of was taken, since the Unix epoch; 0 when none ever was; not a number while this submitter can't read it.",
    }),
    failures: factory.counter({
      name: "submitter_watch_failures_total",
      help: "Looks that failed, by what was looked at.",
      labels: ["what"],
      initial: WATCHED.map((what) => ({ what })),
    }),
  };
}

export interface SubmitterGaugesDependencies {
  readonly submissions: Pick<SubmissionStore, "senderState" | "list">;
  readonly chain: Pick<Chain, "chainId" | "endpointReports">;
  readonly signer: Pick<ChainSigner, "address">;
  /** When the newest backup was taken, in seconds since the Unix epoch; 0 when none ever was. */
  readonly lastBackupSeconds: (options: AbortOptions) => Promise<number>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
}

const INTERVAL_MS = 10_000;
/** A look that takes longer has failed: the next one is due. */
const LOOK_TIMEOUT_MS = 8_000;
const WEI_PER_ETHER = 1e18;
const MS_PER_SECOND = 1_000;

/** Looks at the account, the queue and the servers from time to time. It decides nothing and changes nothing. */
export class SubmitterGauges {
  readonly #finality: FinalityMode;
  readonly #deps: SubmitterGaugesDependencies;
  readonly #metrics: SubmitterWatchMetrics;

  constructor(finality: FinalityMode, dependencies: SubmitterGaugesDependencies) {
    this.#finality = finality;
    this.#deps = dependencies;
    this.#metrics = submitterWatchMetrics(dependencies.metrics);
    // Not 0: nobody has looked yet, and 0 is an alarm.
    this.#metrics.balance.set({}, Number.NaN);
    this.#metrics.lastBackup.set({}, Number.NaN);
  }

  /** Resolves when aborted. A server that is away is a figure, not an end. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    while (!options.signal.aborted) {
      await this.look(options);
      await this.#deps.clock.sleep(INTERVAL_MS, options).catch(() => {});
    }
  }

  /** Looks once at everything. Never rejects. */
  async look(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const timeout = AbortSignal.timeout(LOOK_TIMEOUT_MS);
    const signal =
      options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const [nextNonce, mined, lastBackup] = await Promise.all([
      this.#guarded("postgres", () => this.#lookAtQueue({ signal })),
      this.#guarded("chain", () => this.#lookAtChain({ signal })),
      // By itself: a role that may not read that table says nothing of the queue, nor of PostgreSQL's health.
      this.#guarded("backup", () => this.#deps.lastBackupSeconds({ signal })),
    ]);
    this.#metrics.postgresUp.set({}, nextNonce === null ? 0 : 1);
    this.#metrics.lastBackup.set({}, lastBackup ?? Number.NaN);
    if (mined === null) {
      this.#metrics.endpointsUp.set({}, 0);
      // An old balance would look like a present one.
      this.#metrics.balance.set({}, Number.NaN);
    } else if (nextNonce !== null)
      this.#metrics.nonceGap.set({}, nextNonce > mined ? Number(nextNonce - mined) : 0);
  }

  /** @returns the sender's next nonce; 0 when it never led */
  async #lookAtQueue(options: AbortOptions): Promise<bigint> {
    const { submissions, chain, signer, clock } = this.#deps;
    const sender = { chainId: chain.chainId, address: signer.address };
    const state = await submissions.senderState(sender, options);
    const page = { states: ["QUEUED", "ASSIGNED"], after: null, limit: 1 } as const;
    const [oldest] = (await submissions.list(page, options)).submissions;
    const ageMs = oldest === undefined ? 0 : Math.max(0, clock.nowMs() - oldest.queuedAtMs);
    this.#metrics.oldestPending.set({}, ageMs / MS_PER_SECOND);
    return state?.nextNonce ?? 0n;
  }

  /** @returns how many transactions the account has on the chain, as the endpoint that is furthest says */
  async #lookAtChain(options: AbortOptions): Promise<bigint> {
    const { chain, signer, clock } = this.#deps;
    const reports = await chain.endpointReports(signer.address, this.#finality, options);
    const good = reports.filter((report) => report.problem === null);
    this.#metrics.endpoints.set({}, reports.length);
    const heads = good.flatMap(({ head }) =>
      head === null ? [] : [Number(head.timestampSeconds)],
    );
    const counts = good.flatMap(({ countLatest }) => (countLatest === null ? [] : [countLatest]));
    const balances = good.flatMap(({ balanceWei }) => (balanceWei === null ? [] : [balanceWei]));
    const mined = counts.reduce<bigint | null>((a, b) => (a === null || b > a ? b : a), null);
    if (mined === null || heads.length === 0) throw new Error("no endpoint answered");
    this.#metrics.endpointsUp.set({}, good.length);
    this.#metrics.headAge.set({}, Math.max(0, clock.nowMs() / MS_PER_SECOND - Math.max(...heads)));
    // The least that any says: an alarm for money comes rather early than late.
    const least = balances.reduce<bigint | null>((a, b) => (a === null || b < a ? b : a), null);
    this.#metrics.balance.set({}, least === null ? Number.NaN : Number(least) / WEI_PER_ETHER);
    return mined;
  }

  async #guarded<T>(what: (typeof WATCHED)[number], look: () => Promise<T>): Promise<T | null> {
    try {
      return await look();
    } catch (error) {
      this.#metrics.failures.inc({ what });
      this.#deps.logger.debug("a look at a server failed", { what, error });
      return null;
    }
  }
}

import type { TxId, Verify } from "@quorate/core";
import type {
  AbortOptions,
  AuditLog,
  Chain,
  ChainSigner,
  ChangeSet,
  Clock,
  ClusterConfig,
  Ed25519,
  Election,
  FaultPoint,
  Logger,
  MetricsFactory,
  OpenTransaction,
  Sender,
  SubmissionStore,
  TallyStore,
  Tracer,
} from "@quorate/ports";
import { createAbortGate } from "./abort-gate.ts";
import { type SubmitterMetrics, submitterMetrics } from "./catalogue.ts";
import { HistoryCheck, type HistoryCheckOptions, type HistoryReport } from "./history-check.ts";
import { Problems } from "./problems.ts";
import { Projector } from "./projector.ts";
import { ReputationKeeper } from "./reputation-keeper.ts";
import { StoreProbe } from "./store-probe.ts";
import { type ClaimsOptions, SubmissionClaims } from "./submission-claims.ts";
import { type SenderOptions, SubmissionSender } from "./submission-sender.ts";
import { SubmissionSpans, withSpans } from "./submission-spans.ts";
import { TallyView } from "./tally-view.ts";
import type { Check } from "./trustee-node.ts";

export interface SubmitterOptions {
  /** Names this process among candidates; must differ between processes. */
  readonly candidate: string;
  readonly leaseTtlSeconds: number;
  readonly claims: ClaimsOptions;
  readonly sender: SenderOptions;
  readonly history: Pick<HistoryCheckOptions, "deployedAtBlock">;
  /** How long queued results gather into one chain transaction, in ms. */
  readonly batchWindowMs: number;
}

export interface SubmitterDependencies {
  readonly store: TallyStore;
  readonly election: Election;
  readonly submissions: SubmissionStore;
  readonly audit: AuditLog;
  readonly chain: Chain;
  readonly signer: ChainSigner;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
  /** Leadership or the place in the change stream is lost: the process must end, a new one starts clean. */
  readonly onFatal: (error: unknown) => void;
  /** Takes away what the retention rules let go; runs in every process and works in one. */
  readonly collector?: { run(options: { readonly signal: AbortSignal }): Promise<void> };
  /** For fault tests; the projector passes through it. */
  readonly fault?: FaultPoint | undefined;
  /** Absent: nothing is traced. */
  readonly tracer?: Tracer | undefined;
}

const COUNT_INTERVAL_MS = 10_000;
/** A chain without a new head for so long is a matter for a person: many times any chain's block time. */
const HEAD_STALE_MS = 180_000;

/** The submitter: one leader at a time writes decided values to the chain, and one projects history. Others stand by. */
export class SubmitterService {
  readonly view = new TallyView();
  readonly #options: SubmitterOptions;
  readonly #deps: SubmitterDependencies;
  readonly #metrics: SubmitterMetrics;
  readonly #running = new AbortController();
  readonly #tasks: Promise<unknown>[] = [];
  readonly #projector: Projector;
  readonly #probe: StoreProbe;
  readonly #reputationKeeper: ReputationKeeper;
  #config: ClusterConfig | null = null;
  #claims: SubmissionClaims | null = null;
  #sender: SubmissionSender | null = null;
  #history: HistoryCheck | null = null;
  #wakeSender: (() => void) | null = null;
  /** Something was queued while the sender was at work. */
  #moreToSend = false;
  #countedAtMs = Number.NEGATIVE_INFINITY;
  #leading = false;
  #projecting = false;
  #headAtMs: number | null = null;
  /** What failed last of each step, until it succeeds. */
  readonly #problems = new Problems<string>();

  constructor(options: SubmitterOptions, dependencies: SubmitterDependencies) {
    this.#options = options;
    this.#deps = dependencies;
    this.#metrics = submitterMetrics(dependencies.metrics);
    const { store, audit, clock, logger, ed25519, fault } = dependencies;
    const shared = { store, audit, clock, logger, metrics: this.#metrics };
    const verify: Verify = (key, message, signature) => ed25519.verify(key, message, signature);
    this.#probe = new StoreProbe({ store, clock });
    this.#projector = new Projector({ ...shared, verify, fault });
    this.#reputationKeeper = new ReputationKeeper(shared);
  }

  get leading(): boolean {
    return this.#leading;
  }

  /** What holding the database against the chain came to; null while this process never did. */
  get historyReport(): HistoryReport | null {
    return this.#history?.report ?? null;
  }

  get projectedRevision(): bigint | null {
    return this.#projector.position;
  }

  get clusterConfig(): ClusterConfig | null {
    return this.#config;
  }

  async start(options: AbortOptions = {}): Promise<void> {
    const { store, chain, logger, signer } = this.#deps;
    await store.start(options);
    await chain.start(options);
    const { revision, bans } = await store.readBans(options);
    // After the revision at which the watch begins: a change in between comes twice, and never not at all.
    this.#config = await store.readConfig(options);
    this.view.load(bans, []);
    await this.#loadOpen(options);
    this.#run(
      "watch",
      store.watch(revision, (set) => this.#onChanges(set), this.#stopSignal()),
    );
    this.#run("probe", this.#probe.run(this.#stopSignal()));
    this.#run("submitter", this.#campaign());
    this.#run("projector", this.#projectWhileLeading());
    const { collector } = this.#deps;
    if (collector !== undefined) this.#run("collector", collector.run(this.#stopSignal()));
    logger.info("submitter started", { address: signer.address, chainId: chain.chainId });
  }

  async stop(options: AbortOptions = {}): Promise<void> {
    this.#running.abort(new Error("the submitter stops"));
    this.#wakeSender?.();
    await Promise.allSettled(this.#tasks);
    await this.#deps.chain.stop(options);
    await this.#deps.store.stop(options);
  }

  checks(): readonly Check[] {
    const { clock } = this.#deps;
    const headAge = this.#headAtMs === null ? null : clock.monotonicMs() - this.#headAtMs;
    const stale = this.#leading && (headAge === null || headAge > HEAD_STALE_MS);
    const trouble =
      this.#problems.text ??
      (stale ? "no new head is seen: the chain or its endpoints stand still" : null);
    const sending = [this.#history?.problem, this.#sender?.problem]
      .filter((text) => typeof text === "string")
      .join("; ");
    const etcd = this.#probe.problem;
    return [
      {
        name: "started",
        ok: this.#config !== null,
        detail: this.#config === null ? "still starting" : "started",
      },
      // A leader that loses etcd loses its lease and ends; a standby must say that it could not take over.
      { name: "etcd", ok: etcd === null, detail: etcd ?? "answers" },
      { name: "chain", ok: trouble === null, detail: trouble ?? "following the chain" },
      {
        name: "sending",
        ok: sending === "",
        detail: sending === "" ? "nothing is known against sending" : sending,
      },
      // A standby is ready too: it takes over when the leader's lease ends.
      { name: "leader", ok: true, detail: this.#leading ? "this process leads" : "standing by" },
      {
        name: "projector",
        ok: true,
        detail: this.#projecting ? `at revision ${this.#projector.position ?? 0n}` : "standing by",
      },
    ];
  }

  #stopSignal(): { readonly signal: AbortSignal } {
    return { signal: this.#running.signal };
  }

  async #loadOpen(options: AbortOptions): Promise<void> {
    await this.#eachOpen((page) => {
      for (const { txId, status, record } of page) this.view.noteExisting(txId, status, record);
    }, options);
  }

  /** Everything that is not settled, page by page. */
  async #eachOpen(
    take: (page: readonly OpenTransaction[]) => void,
    options: AbortOptions,
  ): Promise<void> {
    let after: TxId | null = null;
    for (;;) {
      const page = await this.#deps.store.listTransactions({ after, limit: 1_000 }, options);
      take(page.filter((t) => t.status !== "CONFIRMED" && t.status !== "ABORTED_BYZANTINE"));
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.txId;
    }
  }

  async #onChanges(set: ChangeSet): Promise<void> {
    const touched = this.view.apply(set);
    for (const change of set.changes)
      if (change.kind === "config")
        this.#config = await this.#deps.store.readConfig(this.#stopSignal());
    this.#claims?.onView(touched);
  }

  async #campaign(): Promise<void> {
    const { election, chain, signer } = this.#deps;
    const name = `submitter/${chain.chainId}/${signer.address}`;
    const { candidate, leaseTtlSeconds } = this.#options;
    await election.campaign(
      name,
      candidate,
      leaseTtlSeconds,
      (lost) => this.#lead(lost),
      this.#stopSignal(),
    );
  }

  async #lead(lost: AbortSignal): Promise<void> {
    const { chain, signer, clock, logger, store, ed25519, tracer } = this.#deps;
    const spans = tracer?.enabled === true ? new SubmissionSpans({ tracer, clock }) : undefined;
    const real = this.#deps.submissions;
    const submissions = spans === undefined ? real : withSpans(real, spans);
    const signal = AbortSignal.any([lost, this.#running.signal]);
    const sender: Sender = { chainId: chain.chainId, address: signer.address };
    const history = new HistoryCheck(
      sender,
      { finality: this.#options.sender.finality, ...this.#options.history },
      { chain, submissions, logger, metrics: this.#metrics },
    );
    this.#history = history;
    const lease = await this.#patiently("taking the lead", () => history.lead({ signal }), signal);
    logger.info("this process leads", { leaderEpoch: lease.leaderEpoch.toString() });
    this.#sender = new SubmissionSender(lease, this.#options.sender, {
      chain,
      signer,
      submissions,
      clock,
      logger,
      metrics: this.#metrics,
      aborts: createAbortGate(this.view, store),
      spans,
    });
    this.#claims = new SubmissionClaims(this.#options.claims, {
      config: () => this.#started(),
      verify: (key, message, signature) => ed25519.verify(key, message, signature),
      store,
      view: this.view,
      submissions,
      chain,
      lease,
      clock,
      logger,
      metrics: this.#metrics,
      onQueued: (txIds) => {
        this.#sender?.noteQueued(txIds);
        this.#moreToSend = true;
        this.#wakeSender?.();
      },
      spans,
    });
    // Listed anew, after the changes go to the claims too: the view holds the newest ones only.
    const claims = this.#claims;
    const listing = () => this.#eachOpen((page) => claims.onListed(page), { signal });
    await this.#patiently("listing what is open", listing, signal);
    this.#leading = true;
    this.#metrics.leader.set({}, 1);
    // One of them failing ends the others: a leader works as a whole or not at all.
    const stop = new AbortController();
    const together = { signal: AbortSignal.any([signal, stop.signal]) };
    const parts = [
      this.#claims.run(together),
      this.#sendLoop(together),
      chain.watchHeads((head) => this.#onHead(head.number, together), together),
    ];
    try {
      await Promise.race(parts);
    } finally {
      stop.abort(new Error("leadership ends"));
      this.#wakeSender?.();
      await Promise.allSettled(parts);
      this.#leading = false;
      this.#metrics.leader.set({}, 0);
    }
    if (lost.aborted && !this.#running.signal.aborted)
      throw new Error("the submitter's lease was lost");
  }

  async #sendLoop(options: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#deps;
    options.signal.addEventListener("abort", () => this.#wakeSender?.(), { once: true });
    while (!options.signal.aborted) {
      this.#moreToSend = false;
      await this.#guarded("sending", () => this.#sender?.sendQueued(options), options);
      if (options.signal.aborted) return;
      if (!this.#moreToSend)
        await new Promise<void>((resolve) => {
          this.#wakeSender = resolve;
        });
      await clock.sleep(this.#options.batchWindowMs, options).catch(() => {});
    }
  }

  async #onHead(number: bigint, options: { readonly signal: AbortSignal }): Promise<void> {
    this.#headAtMs = this.#deps.clock.monotonicMs();
    await this.#guarded("reconciling", () => this.#sender?.reconcile(number, options), options);
    await this.#guarded("checking history", () => this.#history?.onHead(options), options);
    await this.#guarded("confirming", () => this.#confirmAll(options), options);
    await this.#guarded("counting", () => this.#gauge(options), options);
    // The window may have room again, and whatever failed before is tried at every head.
    this.#wakeSender?.();
  }

  async #confirmAll(options: { readonly signal: AbortSignal }): Promise<void> {
    const claims = this.#claims;
    while (claims !== null && (await claims.confirmOnce(options)) > 0);
  }

  async #gauge(options: { readonly signal: AbortSignal }): Promise<void> {
    // Counting reads the whole table; a gauge need not be fresher than a scrape.
    const now = this.#deps.clock.monotonicMs();
    if (now - this.#countedAtMs < COUNT_INTERVAL_MS) return;
    this.#countedAtMs = now;
    const counts = await this.#deps.submissions.counts(options);
    for (const [state, count] of Object.entries(counts)) this.#metrics.queue.set({ state }, count);
  }

  /** Does what leadership begins with; failures of servers are waited out, for as long as the lease holds. */
  async #patiently<T>(what: string, task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let failures = 0; ; failures++) {
      try {
        const result = await task();
        this.#problems.set(what, null);
        return result;
      } catch (error) {
        if (signal.aborted || !isRetryable(error)) throw error;
        this.#problems.set(what, `${what} failed: ${error.message}`);
        this.#deps.logger.warn("a step of the submission failed, it is tried again", {
          step: what,
          error,
        });
        await this.#deps.clock.sleep(Math.min(5_000, 100 * 2 ** Math.min(failures, 6)), { signal });
      }
    }
  }

  /** Failures of servers are waited out until the next head; being deposed ends it. */
  async #guarded(
    what: string,
    task: () => Promise<void> | undefined,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    try {
      await task();
      this.#problems.set(what, null);
    } catch (error) {
      if (options.signal.aborted) return;
      if (error instanceof Error && error.name === "FencedError") throw error;
      this.#problems.set(
        what,
        `${what} failed: ${error instanceof Error ? error.message : String(error)}`,
      );
      this.#deps.logger.warn("a step of the submission failed, it is tried at the next head", {
        step: what,
        error,
      });
    }
  }

  async #projectWhileLeading(): Promise<void> {
    const { election } = this.#deps;
    const { candidate, leaseTtlSeconds } = this.#options;
    await election.campaign(
      "projector",
      candidate,
      leaseTtlSeconds,
      async (lost) => {
        this.#projecting = true;
        const stop = new AbortController();
        const signal = AbortSignal.any([lost, this.#running.signal, stop.signal]);
        const keeping = this.#reputationKeeper.run({ signal });
        try {
          await this.#projector.run({ signal });
        } finally {
          stop.abort(new Error("the projector has ended"));
          await keeping;
        }
      },
      this.#stopSignal(),
    );
  }

  #started(): ClusterConfig {
    if (this.#config === null) throw new Error("the submitter has not started");
    return this.#config;
  }

  #run(name: string, task: Promise<unknown>): void {
    this.#tasks.push(
      task.then(
        () => {
          if (!this.#running.signal.aborted)
            this.#deps.onFatal(new Error(`${name} ended by itself`));
        },
        (error: unknown) => {
          if (this.#running.signal.aborted) return;
          this.#deps.logger.error("background task failed", { task: name, error });
          this.#deps.onFatal(error);
        },
      ),
    );
  }
}

function isRetryable(error: unknown): error is Error & { readonly retryable: true } {
  return error instanceof Error && "retryable" in error && error.retryable === true;
}

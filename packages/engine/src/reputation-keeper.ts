import {
  isBelowBound,
  LIMITS,
  type NodeId,
  REPUTATION,
  type ReputationState,
  SPOTLESS,
  scoreAt,
  type Trustee,
} from "@quorate/core";
import type {
  AbortOptions,
  AuditLog,
  Clock,
  ClusterConfig,
  Logger,
  TallyStore,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";

export interface ReputationKeeperDependencies {
  readonly store: Pick<TallyStore, "readConfig" | "readBans" | "readLifts" | "recordBan">;
  readonly audit: Pick<AuditLog, "reputations" | "violationsOf">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
}

/** Scores move over days, or with transactions that have just been decided; a gauge is scraped about as often. */
const INTERVAL_MS = 5_000;

interface Candidate {
  readonly trustee: Trustee;
  readonly state: ReputationState;
}

/**
 * Shows every trustee's score, and bans who falls below the bound [spec §7.3]. Runs beside the leading
 * projector; a second one would do no harm, for a ban is recorded once.
 *
 * A score is an opinion. So it never takes part in putting more than N−t trustees out: when that many look bad, an
 * outage or a forger is likelier than so much misconduct, and the cluster could decide nothing without them.
 */
export class ReputationKeeper {
  readonly #deps: ReputationKeeperDependencies;
  /** Whom it last refused to ban, to say it once. */
  #withheld = "";

  constructor(dependencies: ReputationKeeperDependencies) {
    this.#deps = dependencies;
  }

  /** Resolves when aborted. A server that is away is waited for. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, logger } = this.#deps;
    while (!options.signal.aborted) {
      try {
        await this.review(options);
      } catch (error) {
        if (options.signal.aborted) return;
        logger.warn("reputation could not be reviewed, it is tried again", { error });
      }
      await clock.sleep(INTERVAL_MS, options).catch(() => {});
    }
  }

  /** Looks at every score once. */
  async review(options: AbortOptions = {}): Promise<void> {
    const { store, audit, clock, metrics } = this.#deps;
    const config = await store.readConfig(options);
    const rows = await audit.reputations(options);
    const states = new Map(rows.map(({ peerId, state }) => [peerId, state]));
    const nowMs = clock.nowMs();
    for (const trustee of newestOfEach(config)) {
      const state = states.get(trustee.peerId) ?? SPOTLESS;
      metrics.peerReputation.set({ node: trustee.nodeId }, scoreAt(state, nowMs));
    }
    // Who is no trustee any more has nothing that could be taken from it.
    const candidates = config.set.trustees
      .map((trustee) => ({ trustee, state: states.get(trustee.peerId) ?? SPOTLESS }))
      .filter(({ state }) => isBelowBound(state, nowMs));
    await this.#judge(config, candidates, options);
  }

  async #judge(
    config: ClusterConfig,
    below: readonly Candidate[],
    options: AbortOptions,
  ): Promise<void> {
    const { store, metrics } = this.#deps;
    const candidates = below.length === 0 ? [] : await this.#current(below, options);
    if (candidates.length === 0) return this.#withhold([], 0);
    const { bans } = await store.readBans(options);
    const out = config.set.trustees.filter(({ peerId }) => bans.has(peerId)).length;
    const unbanned = candidates.filter(({ trustee }) => !bans.has(trustee.peerId));
    if (out + unbanned.length > config.set.trustees.length - config.set.threshold)
      return this.#withhold(unbanned, out);
    this.#withhold([], out);
    for (const candidate of unbanned)
      if (await this.#ban(candidate, options)) metrics.reputationBans.inc({});
  }

  /** History lags behind the tally: who has been let in since its last row is not judged by what was before. */
  async #current(
    candidates: readonly Candidate[],
    options: AbortOptions,
  ): Promise<readonly Candidate[]> {
    const lifts = await this.#deps.store.readLifts(options);
    return candidates.filter(
      ({ trustee, state }) =>
        !lifts.some(
          ({ kind, peerId, liftedAtMs }) =>
            kind === "OPERATOR" && peerId === trustee.peerId && liftedAtMs > state.penaltyAtMs,
        ),
    );
  }

  async #ban({ trustee, state }: Candidate, options: AbortOptions): Promise<boolean> {
    const { store, audit, clock, logger } = this.#deps;
    const { peerId, nodeId } = trustee;
    const nowMs = clock.nowMs();
    const score = scoreAt(state, nowMs);
    const bound = REPUTATION.banBelow;
    const violations = await audit.violationsOf(peerId, LIMITS.reputationViolationsMax, options);
    const recorded = await store.recordBan(
      {
        peerId,
        nodeId,
        reason: "LOW_REPUTATION",
        grade: "OPINION",
        bannedAtMs: nowMs,
        evidence: { type: "LOW_REPUTATION", nodeId, score, bound, violations },
      },
      options,
    );
    if (recorded) logger.warn("banned for a low reputation", { node: nodeId, score, bound });
    return recorded;
  }

  #withhold(candidates: readonly Candidate[], out: number): void {
    const { logger, metrics } = this.#deps;
    const nodes: readonly NodeId[] = candidates.map(({ trustee }) => trustee.nodeId);
    metrics.reputationBansWithheld.set({}, nodes.length);
    const withheld = nodes.join(" ");
    if (withheld === this.#withheld) return;
    this.#withheld = withheld;
    if (nodes.length > 0)
      logger.error("too many low reputations at once, nobody is banned for it", { nodes, out });
  }
}

/** Every trustee of the epochs that are kept, under the key that its name has in the newest: a closed set of labels. */
function newestOfEach(config: ClusterConfig): readonly Trustee[] {
  const newest = new Map<NodeId, Trustee>();
  const epochs = [...config.sets.keys()].sort((a, b) => a - b);
  for (const epoch of epochs)
    for (const trustee of config.sets.get(epoch)?.trustees ?? [])
      newest.set(trustee.nodeId, trustee);
  for (const trustee of config.set.trustees) newest.set(trustee.nodeId, trustee);
  return [...newest.values()];
}

import type { NodeId, PeerId, TrusteeSets, Verify } from "@quorate/core";
import {
  type BanEntry,
  type ChangeSet,
  type Clock,
  type Gossip,
  type Logger,
  StoreError,
  type TallyStore,
} from "@quorate/ports";
import { judgeBan } from "./ban-court.ts";
import type { NodeMetrics } from "./catalogue.ts";
import type { TallyView } from "./tally-view.ts";

export interface ResponseDependencies {
  readonly nodeId: NodeId;
  readonly store: Pick<TallyStore, "strikeBan">;
  readonly gossip: Pick<Gossip, "ban" | "unban" | "localPeerId">;
  readonly view: TallyView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  readonly sets: () => TrusteeSets;
  readonly verify: Verify;
  readonly signal: AbortSignal;
}

/**
 * Carries bans out on this node, and only those that their evidence bears out: a ban that
 * somebody with access to etcd made up is taken out of the tally again, and counts for nothing here meanwhile.
 * @see spec §3.3
 */
export class ByzantineResponse {
  readonly #deps: ResponseDependencies;
  readonly #striking = new Set<PeerId>();

  constructor(dependencies: ResponseDependencies) {
    this.#deps = dependencies;
  }

  /** A ban that this node has committed itself. @param committedAtMs by the monotonic clock */
  enforce(ban: BanEntry, committedAtMs: number): void {
    const { view, clock, metrics } = this.#deps;
    view.noteBan(ban);
    this.shutOut(ban.peerId, ban.reason);
    metrics.banLatency.observe({}, (clock.monotonicMs() - committedAtMs) / 1_000);
  }

  /** [spec §3.3] In memory at once; the network's part goes on behind it. Idempotent. */
  shutOut(peer: PeerId, reason: string): void {
    const { gossip, logger } = this.#deps;
    if (peer === gossip.localPeerId) {
      logger.error("this node has been banned", { reason });
      return;
    }
    gossip.ban(peer);
    logger.warn("peer banned", { peer, reason });
  }

  /** The bans of a start-up read that count. */
  siftBans(
    bans: ReadonlyMap<PeerId, BanEntry>,
    versions: ReadonlyMap<PeerId, bigint>,
  ): ReadonlyMap<PeerId, BanEntry> {
    return new Map([...bans].filter(([peer, ban]) => this.#counts(ban, versions.get(peer) ?? 0n)));
  }

  /** A change set without the bans that don't count. */
  sift(set: ChangeSet): ChangeSet {
    // Copied only when there is something to look at: this is every revision's way.
    if (!set.changes.some((change) => change.kind === "ban" && change.ban !== null)) return set;
    const changes = set.changes.filter(
      (change) =>
        change.kind !== "ban" || change.ban === null || this.#counts(change.ban, set.revision),
    );
    return { ...set, changes };
  }

  #counts(ban: BanEntry, version: bigint): boolean {
    const { sets, verify, logger } = this.#deps;
    const judged = judgeBan(ban, sets(), verify);
    if (judged.kind !== "unproven") return true;
    const { peerId, reason } = ban;
    logger.error("a ban in etcd is not borne out by its evidence; it is struck", {
      peer: peerId,
      reason,
      problem: judged.problem,
    });
    if (!this.#striking.has(peerId)) {
      this.#striking.add(peerId);
      void this.#strike(ban, version, judged.problem).finally(() => this.#striking.delete(peerId));
    }
    return false;
  }

  /** Every node does it; the store's guard makes it happen once. */
  async #strike(ban: BanEntry, version: bigint, problem: string): Promise<void> {
    const { store, clock, logger, metrics, nodeId, signal } = this.#deps;
    const lift = {
      peerId: ban.peerId,
      nodeId: ban.nodeId,
      kind: "UNPROVEN",
      by: nodeId,
      reason: problem,
      liftedAtMs: Math.floor(clock.nowMs()),
      banReason: ban.reason,
    } as const;
    for (let attempt = 0; !signal.aborted; attempt++)
      try {
        if (await store.strikeBan(lift, version, { signal })) metrics.strikes.inc({});
        return;
      } catch (error) {
        if (signal.aborted) return;
        logger.warn("a forged ban is not struck yet, it is tried again", { error });
        if (error instanceof StoreError && !error.retryable) return;
        await clock
          .sleep(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)), { signal })
          .catch(() => {});
      }
  }
}

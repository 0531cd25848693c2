import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  emptySnapshot,
  type TrusteeSet,
  type VerifiedVote,
} from "@quorate/core";
import type { TallyStore, TxCommit } from "@quorate/ports";
import { type TestCluster, testCluster, txIdOf, votes } from "@quorate/testkit";

const TRUSTEES = 5;
const THRESHOLD = 4;
/** Transactions in one signed frame and one commit. */
const CHUNK = 50;
const COMMIT_TRIES_MAX = 20;

/** What the trustees decided: the truth that the chain is held against. */
export interface Decided {
  readonly txId: string;
  readonly value: bigint;
}

/**
 * Trustees without nodes: they sign real votes, and what their nodes would commit is committed by the
 * same rules into the real etcd. The submitter verifies the signatures itself.
 */
export class Trustees {
  readonly decided: Decided[] = [];
  readonly #cluster: TestCluster;
  readonly #store: TallyStore;
  #epochVersion: bigint | null = null;

  constructor(clusterId: string, seed: number, store: TallyStore) {
    this.#cluster = testCluster({ trustees: TRUSTEES, threshold: THRESHOLD, clusterId, seed });
    this.#store = store;
  }

  get set(): TrusteeSet {
    return this.#cluster.set;
  }

  async begin(): Promise<void> {
    if ((await this.#store.initCluster(this.set)) !== "created")
      throw new Error(`etcd knows ${this.set.clusterId} already`);
    this.#epochVersion = (await this.#store.readConfig()).epochVersion;
  }

  /** All trustees vote for each; resolves when it is committed as THRESHOLD_REACHED. */
  async decide(transactions: readonly Decided[]): Promise<void> {
    for (let at = 0; at < transactions.length; at += CHUNK) {
      const some = transactions.slice(at, at + CHUNK);
      const cast = new Map<string, VerifiedVote[]>(some.map(({ txId }) => [txId, []]));
      for (let index = 0; index < TRUSTEES; index++)
        for (const vote of votes(this.#cluster, index, some)) cast.get(vote.vote.txId)?.push(vote);
      await this.#commit(some.map(({ txId }) => this.#commitOf(txId, cast.get(txId) ?? [])));
      this.decided.push(...some);
    }
  }

  #commitOf(txId: string, cast: readonly VerifiedVote[]): TxCommit {
    const { writes } = decide(
      emptySnapshot(txIdOf(txId)),
      { votes: cast, nowMs: Date.now(), deadlinePassed: false },
      {
        set: this.set,
        config: DEFAULT_PROTOCOL_CONFIG,
        bans: new Map(),
        silenceStreaks: new Map(),
        verify: this.#cluster.verify,
      },
    );
    if (writes?.status !== "THRESHOLD_REACHED") throw new Error(`${txId} is not decided`);
    return { version: 0n, writes };
  }

  async #commit(commits: readonly TxCommit[]): Promise<void> {
    if (this.#epochVersion === null) throw new Error("the trustees have not begun");
    for (let tries = 1; ; tries++)
      try {
        const outcomes = await this.#store.commit(commits, this.#epochVersion);
        // A conflict can only be the same commit of a try before, whose answer was lost.
        const lost = outcomes.filter((outcome) => outcome.kind !== "committed").length;
        if (lost > 0 && tries === 1) throw new Error(`${lost} decisions met a conflict`);
        return;
      } catch (error) {
        const again = error instanceof Error && Reflect.get(error, "retryable") === true;
        if (!again || tries === COMMIT_TRIES_MAX) throw error;
      }
  }
}

import {
  type ClaimDecision,
  type Decision,
  decideClaim,
  decideConfirm,
  onlySet,
  type ProtocolConfig,
  type TxId,
  type TxSnapshot,
  unwrap,
  type VerifiedVote,
  verifyEvidence,
} from "@quorate/core";
import { nodeAt, TallyFold, type TestCluster, testCluster, txIdOf, vote } from "@quorate/testkit";

/** A node by its index, and the value that it votes for. */
export type Cast = readonly [node: number, value: number];

export interface ScenarioOptions extends Partial<ProtocolConfig> {
  readonly trustees: number;
  readonly threshold: number;
}

/** One cluster and its tally; transaction "tx" unless another is named. */
export class Scenario {
  readonly cluster: TestCluster;
  readonly fold: TallyFold;

  constructor({ trustees, threshold, ...config }: ScenarioOptions) {
    this.cluster = testCluster({ trustees, threshold });
    this.fold = new TallyFold(this.cluster.set, config);
  }

  vote([node, value]: Cast, txId = "tx"): VerifiedVote {
    return vote(this.cluster, node, txId, value);
  }

  /** Commits these votes together. */
  cast(...casts: readonly Cast[]): Decision {
    return this.castIn("tx", ...casts);
  }

  castIn(txId: string, ...casts: readonly Cast[]): Decision {
    return this.fold.commit(txIdOf(txId), { votes: casts.map((c) => this.vote(c, txId)) });
  }

  /** The deadline sweep. */
  deadline(txId = "tx"): Decision {
    return this.fold.commit(txIdOf(txId), { deadlinePassed: true, nowMs: 30_000 });
  }

  snapshot(txId = "tx"): TxSnapshot {
    return this.fold.snapshot(txIdOf(txId));
  }

  claim(txId = "tx"): ClaimDecision {
    const decision = decideClaim(this.snapshot(txId), this.cluster.set, this.cluster.verify);
    if (decision.kind === "claim") this.fold.apply(decision.writes);
    return decision;
  }

  /** @returns whether there was something to confirm. */
  confirm(txId = "tx"): boolean {
    const writes = decideConfirm(this.snapshot(txId), { txHash: "0xab", blockNumber: "7" });
    if (writes !== null) this.fold.apply(writes);
    return writes !== null;
  }

  /** Status and value or reason, as a line. */
  outcome(txId = "tx"): string {
    const { status, record } = this.snapshot(txId);
    return [status ?? "-", record?.value ?? record?.reason ?? ""].join(" ").trim();
  }

  /** Who is banned and for what: "1 DOUBLE_VOTING PROOF", by index. */
  bans(): readonly string[] {
    return this.cluster.nodes.flatMap(({ peerId }, index) => {
      const ban = this.fold.bans.get(peerId);
      return ban === undefined ? [] : [`${index} ${ban.reason} ${ban.grade}`];
    });
  }

  /** All recorded violations, in order: "1 DOUBLE_VOTING". */
  violations(): readonly string[] {
    return this.fold.violations.map(({ nodeId, type }) => `${this.indexOf(nodeId)} ${type}`);
  }

  /** Indices of the nodes that were absent when the deadline was judged. */
  absent(txId = "tx"): readonly number[] | null {
    return this.snapshot(txId).record?.absent?.map((nodeId) => this.indexOf(nodeId)) ?? null;
  }

  indexOf(nodeId: string): number {
    return this.cluster.nodes.findIndex((node) => node.nodeId === nodeId);
  }

  streak(node: number): number {
    return this.fold.silenceStreaks.get(nodeAt(this.cluster, node).nodeId) ?? 0;
  }

  /** Every ban but those for silence rests on evidence that convinces a stranger, and names the banned node. */
  evidenceHolds(): boolean {
    return [...this.fold.bans.values()].every(
      (ban) =>
        ban.reason === "SILENT_FAILURE" ||
        unwrap(verifyEvidence(ban.evidence, onlySet(this.cluster.set), this.cluster.verify))
          .nodeId === ban.nodeId,
    );
  }

  get tx(): TxId {
    return txIdOf("tx");
  }
}

/** What became of each vote, as words. */
export const outcomesOf = (decision: Decision): readonly string[] =>
  decision.outcomes.map((o) => (o.kind === "REFUSED" ? `REFUSED ${o.code}` : o.kind));

import {
  assert,
  type BanLift,
  type Evidence,
  type EvidenceGrade,
  type NodeId,
  type PeerId,
  parseEpoch,
  type TrusteeSet,
  TX_STATUSES,
  type TxRecord,
  type TxStatus,
  unwrap,
  type Violation,
  type ViolationType,
} from "@quorate/core";
import {
  type BanEntry,
  StoreError,
  type TallyMaintenance,
  type TallyStore,
  type TxCommit,
  type VersionedSnapshot,
} from "@quorate/ports";
import { type TallyFixture, txIdOf, valueOf } from "@quorate/testkit";
import {
  type CommitEntry,
  TALLY_TRUSTEES,
  TALLY_TXS,
  type TallyCommand,
  type TallyTx,
} from "./tally-commands.ts";
import {
  liftKey,
  liftWords,
  type ModelSubject,
  type TallyModel,
  violationKey,
} from "./tally-model.ts";

type Store = TallyStore & TallyMaintenance;

const START_MS = Date.UTC(2026, 0, 1);
const EPOCH = unwrap(parseEpoch(1));
const PAGE = 2;
const ABSENT = 0n;
/** Below every revision that a ban can have. */
const NO_BAN = 1n;

/** What one step left in a store, in the store's own revisions. */
interface Moment {
  readonly revision: bigint;
  readonly versions: ReadonlyMap<TallyTx, bigint>;
  readonly banVersions: ReadonlyMap<number, bigint>;
  readonly epochVersion: bigint;
}

/** Carries the commands out on one store, and tells what it answers and holds in the model's words. */
export class TallyDriver {
  readonly name: string;
  readonly store: Store;
  readonly #fixture: TallyFixture;
  readonly #moments: Moment[] = [];

  constructor(name: string, store: Store, fixture: TallyFixture) {
    this.name = name;
    this.store = store;
    this.#fixture = fixture;
  }

  async open(): Promise<void> {
    const all = Array.from({ length: TALLY_TRUSTEES }, (_, node) => node);
    assert((await this.store.initCluster(this.setOf(all, 1))) === "created", "the cluster is new");
    await this.#remember();
  }

  /** The store's revision after a step. */
  revisionAfter(step: number): bigint {
    return this.#moment(step).revision;
  }

  /** The step that made a revision: what two stores can agree on. */
  stepOf(revision: bigint): number {
    const step = this.#moments.findIndex((moment) => moment.revision >= revision);
    return step < 0 ? this.#moments.length : step;
  }

  /** @param model as it is before the command is applied to it */
  async perform(command: TallyCommand, model: TallyModel): Promise<unknown> {
    try {
      return await this.#call(command, model);
    } catch (error) {
      if (error instanceof StoreError && error.code === "REFUSED") return "REFUSED";
      throw error;
    }
  }

  async #call(command: TallyCommand, model: TallyModel): Promise<unknown> {
    const { store } = this;
    switch (command.kind) {
      case "commit": {
        const epoch = this.#moment(model.readAt(command.epochAge)).epochVersion;
        const outcomes = await store.commit(
          command.entries.map((entry) => this.#commitOf(entry, model)),
          epoch,
        );
        return outcomes.map((outcome) =>
          outcome.kind === "committed"
            ? { kind: outcome.kind }
            : {
                kind: outcome.kind,
                fresh: this.#snapshot(outcome.fresh),
                bans: [...outcome.bans].map(([peer, grade]) => [this.#nodeOf(peer), grade]),
              },
        );
      }
      case "violation": {
        const { tx, node, type, grade, named } = command;
        const violation = this.#violation(tx, node, type, grade, named, model.step);
        const ban = this.#ban(node, grade, type, model.step, named);
        return await store.recordViolation({ violation, ban });
      }
      case "ban":
        return await store.recordBan(
          this.#ban(command.node, command.grade, "LOW_REPUTATION", model.step),
        );
      case "lift":
        return await store.liftBan(this.#lift(command));
      case "strike": {
        const banVersions = this.#moment(model.readAt(command.age)).banVersions;
        return await store.strikeBan(this.#lift(command), banVersions.get(command.node) ?? NO_BAN);
      }
      case "receipts": {
        const { first } = model.receiptsOf(command);
        const receipts = Array.from({ length: command.count }, (_, i) =>
          this.#fixture.receipt(command.node, first + i, START_MS + (first + i) * 10),
        );
        await store.recordReceipts(receipts);
        return "kept";
      }
      case "trustees": {
        const { epoch, members } = model.nextSet(command);
        const { epochVersion } = this.#moment(model.readAt(command.age));
        return await store.changeTrustees(this.setOf(members, epoch), epochVersion);
      }
      case "purge":
        return await store.purge(
          command.requests.map(({ tx, level, age }) => ({
            txId: txIdOf(tx),
            level,
            throughRevision: this.revisionAfter(model.readAt(age)),
          })),
        );
      default:
        return command satisfies never;
    }
  }

  setOf(members: readonly number[], epoch: number): TrusteeSet {
    return this.#fixture.setOf(members, members.length, epoch);
  }

  #commitOf(entry: CommitEntry, model: TallyModel): TxCommit {
    const { tx, age, votes, status, withRecord, decision, violations, bans, streaks } = entry;
    const txId = txIdOf(tx);
    const touched = new Set(votes.map(({ value }) => value));
    return {
      version: this.#moment(model.readAt(age)).versions.get(tx) ?? ABSENT,
      writes: {
        txId,
        newVotes: votes.map(({ node, value }) => this.#fixture.vote(node, txId, valueOf(value))),
        counts: new Map(
          [...touched].map((value) => [valueOf(value), model.countWith(entry, value)]),
        ),
        status,
        record: withRecord ? recordOf(status, model.step) : null,
        decision:
          decision === null
            ? null
            : decision === "SUBMIT"
              ? { kind: "SUBMIT", value: valueOf(7) }
              : { kind: "ABORT", reason: "SPLIT_VOTE" },
        violations: violations.map(({ node, type }) => ({
          ...this.#violation(tx, node, type, "OPINION", true, model.step),
          nodeId: this.#member(node).nodeId,
        })),
        bans: bans.map(({ node, grade }) => ({
          ...this.#ban(node, grade, "SILENT_FAILURE", model.step),
          nodeId: this.#member(node).nodeId,
        })),
        silenceStreaks: new Map(
          streaks.map(({ node, off }) => {
            const before = model.streaks.get(node) ?? 0;
            return [
              this.#member(node).nodeId,
              { before: before + (off ? 1 : 0), after: before + 1 },
            ];
          }),
        ),
      },
    };
  }

  #violation(
    tx: TallyTx,
    node: number,
    type: ViolationType,
    grade: EvidenceGrade,
    named: boolean,
    step: number,
  ): Omit<Violation, "nodeId"> & { readonly nodeId: NodeId | null } {
    const { peerId, nodeId } = this.#member(node);
    return {
      txId: txIdOf(tx),
      peerId,
      nodeId: named ? nodeId : null,
      type,
      grade,
      evidence: this.#evidence(node),
      detectedAtMs: START_MS + step,
    };
  }

  #ban(
    node: number,
    grade: EvidenceGrade,
    reason: BanEntry["reason"],
    step: number,
    named = true,
  ): BanEntry {
    const { peerId, nodeId } = this.#member(node);
    const evidence = this.#evidence(node);
    const bannedAtMs = START_MS + step;
    return { peerId, nodeId: named ? nodeId : null, reason, grade, bannedAtMs, evidence };
  }

  /** Of the right shape, which is all that a store asks. */
  #evidence(node: number): Evidence {
    const { nodeId } = this.#member(node);
    return { type: "SILENT_FAILURE", nodeId, openedAtMs: 1, deadlineAtMs: 2, voted: [] };
  }

  #lift({
    kind,
    node,
    moment,
    by,
    named,
  }: Extract<TallyCommand, { kind: "lift" | "strike" }>): BanLift {
    const { peerId, nodeId } = this.#member(node);
    return {
      peerId,
      nodeId: named ? nodeId : null,
      kind: kind === "lift" ? "OPERATOR" : "UNPROVEN",
      by,
      reason: "because",
      liftedAtMs: START_MS + moment,
      banReason: "LOW_REPUTATION",
    };
  }

  #snapshot({ snapshot, version }: VersionedSnapshot): ModelSubject {
    const { txId, status, record, votes, violations, decision } = snapshot;
    const types = [...violations].flatMap(([nodeId, all]) =>
      [...all].map((type) => violationKey(txId, this.#indexOf(nodeId), type)),
    );
    return {
      status,
      record:
        record === null
          ? null
          : {
              step: record.openedAtMs,
              status: TX_STATUSES[record.deadlineAtMs - record.openedAtMs],
            },
      votes: [...votes]
        .map(([nodeId, { vote }]) => [this.#indexOf(nodeId), Number(vote.value)] as const)
        .sort(([a], [b]) => a - b),
      violations: types.sort(),
      decision: decision?.kind ?? null,
      version: version === ABSENT ? 0 : this.stepOf(version),
    };
  }

  /** Notes what a caller can read after a step, and tells all of it in the model's words. */
  async state(model: TallyModel): Promise<ModelSubject> {
    const { store } = this;
    await this.#remember();
    const [snapshots, bans, lifts, streaks, receipts, listed, transactions, violations, config] =
      await Promise.all([
        Promise.all(TALLY_TXS.map((tx) => store.read(txIdOf(tx)))),
        store.readBans(),
        store.readLifts(),
        store.readSilenceStreaks(),
        store.readReceipts(100),
        this.#listed(model),
        store.countTransactions(),
        this.#violations(),
        store.readConfig(),
      ]);
    const { revision } = this.#moment(this.#moments.length - 1);
    assert(
      [...snapshots, bans].every((read) => read.revision === revision),
      "nobody else writes, so every read is of the newest revision",
    );
    return {
      txs: snapshots.map((snapshot) => this.#snapshot(snapshot)),
      bans: [...bans.bans]
        .map(([peer, { grade, reason, nodeId }]) => {
          const version = this.stepOf(bans.versions.get(peer) ?? ABSENT);
          return [this.#nodeOf(peer), { grade, reason, named: nodeId !== null, version }] as const;
        })
        .sort(([a], [b]) => a - b),
      lifts: lifts
        .map((lift) => {
          const kind = lift.kind === "OPERATOR" ? "lift" : "strike";
          const key = liftKey(this.#nodeOf(lift.peerId), lift.liftedAtMs - START_MS);
          return [key, liftWords(kind, lift.by, lift.nodeId !== null)] as const;
        })
        .sort(([a], [b]) => (a < b ? -1 : 1)),
      streaks: [...streaks]
        .map(([nodeId, length]) => [this.#indexOf(nodeId), length] as const)
        .sort(([a], [b]) => a - b),
      receipts: receipts
        .map((receipt) => {
          const sequence = String(receipt.sequence).padStart(3, "0");
          return `${this.#indexOf(receipt.nodeId)}/${sequence}`;
        })
        .sort(),
      listed,
      transactions,
      violations,
      epoch: config.set.epoch,
      members: config.set.trustees.map(({ nodeId }) => this.#indexOf(nodeId)),
      epochVersion: this.stepOf(config.epochVersion),
    };
  }

  /** In the order of opening; between those that one call opened, in Txns of their own, there is none. */
  async #listed(model: TallyModel): Promise<readonly string[]> {
    const openedAt = (text: string): number =>
      [...model.txs].find(([tx]) => tx === text)?.[1].openedAt ?? 0;
    const listed: string[] = [];
    let after: Parameters<TallyStore["listTransactions"]>[0]["after"] = null;
    for (;;) {
      const page = await this.store.listTransactions({ after, limit: PAGE });
      const last = page.at(-1);
      if (last === undefined) {
        const steps = listed.map(openedAt);
        assert(
          steps.every((step, at) => at === 0 || step >= (steps[at - 1] ?? 0)),
          "transactions are listed in the order in which they opened",
        );
        return listed.toSorted((a, b) => openedAt(a) - openedAt(b) || (a < b ? -1 : 1));
      }
      listed.push(...page.map(({ txId }) => txId));
      after = last.txId;
    }
  }

  /** By pages and by transaction, which must be the same. */
  async #violations(): Promise<readonly unknown[]> {
    const rowOf = (violation: Omit<Violation, "nodeId"> & { readonly nodeId: NodeId | null }) => {
      const { txId, peerId, type, grade, nodeId } = violation;
      const key = violationKey(txId, this.#nodeOf(peerId), type);
      return [key, { grade, named: nodeId !== null }] as const;
    };
    const paged: ReturnType<typeof rowOf>[] = [];
    let after: string | null = null;
    do {
      const page = await this.store.listViolations({ after, limit: PAGE });
      paged.push(...page.violations.map(rowOf));
      after = page.next;
    } while (after !== null);
    const byTx = await Promise.all(TALLY_TXS.map((tx) => this.store.readViolations(txIdOf(tx))));
    const sorted = (rows: readonly ReturnType<typeof rowOf>[]) =>
      rows.toSorted(([a], [b]) => (a < b ? -1 : 1));
    assert(
      JSON.stringify(sorted(byTx.flat().map(rowOf))) === JSON.stringify(sorted(paged)),
      "violations are the same by page and by transaction",
    );
    return sorted(paged);
  }

  async #remember(): Promise<void> {
    const { store } = this;
    const [revision, snapshots, bans, config] = await Promise.all([
      store.revision(),
      Promise.all(TALLY_TXS.map((tx) => store.read(txIdOf(tx)))),
      store.readBans(),
      store.readConfig(),
    ]);
    this.#moments.push({
      revision,
      versions: new Map(
        snapshots.flatMap(({ version }, at) => {
          const tx = TALLY_TXS[at];
          return tx === undefined || version === ABSENT ? [] : [[tx, version] as const];
        }),
      ),
      banVersions: new Map(
        [...bans.versions].map(([peer, version]) => [this.#nodeOf(peer), version]),
      ),
      epochVersion: config.epochVersion,
    });
  }

  #moment(step: number): Moment {
    const moment = this.#moments[step];
    assert(moment !== undefined, `step ${step} was carried out`);
    return moment;
  }

  #member(node: number): { readonly peerId: PeerId; readonly nodeId: NodeId } {
    const member = this.#fixture.members[node];
    assert(member !== undefined, `there is a trustee ${node}`);
    return member.trustee;
  }

  #nodeOf(peer: PeerId): number {
    return this.#fixture.members.findIndex(({ trustee }) => trustee.peerId === peer);
  }

  #indexOf(nodeId: NodeId): number {
    return this.#fixture.members.findIndex(({ trustee }) => trustee.nodeId === nodeId);
  }
}

/** A record that tells when it was written, and what for: all else of it is nothing to a store. */
function recordOf(status: TxStatus, step: number): TxRecord {
  const isAbort = status === "ABORTED_BYZANTINE";
  return {
    epoch: EPOCH,
    policy: "strict-abort",
    profile: "balanced",
    excluded: [],
    openedAtMs: step,
    deadlineAtMs: step + TX_STATUSES.indexOf(status),
    value: status === "COLLECTING" || isAbort ? null : valueOf(7),
    unanimous: false,
    thresholdAtMs: null,
    reason: isAbort ? "SPLIT_VOTE" : null,
    offenders: [],
    absent: null,
    chain: null,
  };
}

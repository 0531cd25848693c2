import type { EvidenceGrade, TxStatus, ViolationType } from "@quorate/core";
import {
  type CommitEntry,
  TALLY_TRUSTEES,
  TALLY_TXS,
  type TallyCommand,
  type TallyTx,
} from "./tally-commands.ts";

interface ModelTx {
  readonly openedAt: number;
  /** The step that wrote its status last; 0 says "there is none" wherever a version is named. */
  version: number;
  status: TxStatus;
  /** The step that wrote its record last, with what it was written for. */
  record: { readonly step: number; readonly status: TxStatus } | null;
  readonly votes: Map<number, 7 | 8>;
}

interface ModelBan {
  readonly grade: EvidenceGrade;
  readonly reason: string;
  /** Whether the store knows whose peer it is. */
  readonly named: boolean;
  readonly version: number;
}

export type ModelSubject = Readonly<Record<string, unknown>>;

/**
 * What the port promises of a tally, in as few words as it can be said: plain maps, steps in the place of revisions, no
 * code shared with either store. A step's own number is the version of all it writes.
 */
export class TallyModel {
  step = 0;
  readonly txs = new Map<TallyTx, ModelTx>();
  /** Write-once words; they outlive everything. */
  readonly decisions = new Map<TallyTx, string>();
  readonly violations = new Map<
    string,
    { readonly grade: EvidenceGrade; readonly named: boolean }
  >();
  readonly bans = new Map<number, ModelBan>();
  readonly lifts = new Map<string, string>();
  readonly streaks = new Map<number, number>();
  readonly receipts = new Map<number, number>();
  /** Where the newest write of a node's receipts began. */
  readonly #receiptsFrom = new Map<number, number>();
  epoch = 1;
  members = Array.from({ length: TALLY_TRUSTEES }, (_, node) => node);
  epochVersion = 0;
  /** After each step: what a caller could have read then. */
  readonly #past: {
    readonly versions: ReadonlyMap<TallyTx, number>;
    readonly banVersions: ReadonlyMap<number, number>;
    readonly epochVersion: number;
  }[] = [];

  constructor() {
    this.#remember();
  }

  /** The step that a caller means who acts on what it read `age` steps ago. */
  readAt(age: number): number {
    return Math.max(0, this.step - 1 - age);
  }

  banVersionAt(step: number, node: number): number | null {
    return this.#past[step]?.banVersions.get(node) ?? null;
  }

  /** What a value's counter is after these votes. */
  countWith({ tx, votes }: CommitEntry, value: 7 | 8): number {
    const before = [...(this.txs.get(tx)?.votes.values() ?? [])].filter((each) => each === value);
    return before.length + votes.filter((vote) => vote.value === value).length;
  }

  /** Begins a step: commands are then looked at, and carried out, under its number. */
  begin(): number {
    this.step += 1;
    return this.step;
  }

  /** @returns what the call must answer. */
  apply(command: TallyCommand): unknown {
    const answer = this.#answer(command);
    this.#remember();
    return answer;
  }

  #answer(command: TallyCommand): unknown {
    switch (command.kind) {
      case "commit":
        return this.#commit(command);
      case "violation": {
        const { tx, node, type, grade, named } = command;
        const key = violationKey(tx, node, type);
        if (this.violations.has(key)) return false;
        this.violations.set(key, { grade, named });
        this.#banIfStronger(node, { grade, reason: type, named });
        return true;
      }
      case "ban":
        return this.#banIfStronger(command.node, {
          grade: command.grade,
          reason: "LOW_REPUTATION",
          named: true,
        });
      case "lift":
      case "strike":
        return this.#endBan(command);
      case "receipts": {
        const { node, count } = command;
        const { first, last } = this.receiptsOf(command);
        if (count > 0) this.receipts.set(node, Math.max(this.receipts.get(node) ?? 0, last));
        this.#receiptsFrom.set(node, first);
        return "kept";
      }
      case "trustees":
        return this.#changeTrustees(command);
      case "purge":
        return command.requests.map((request) => this.#purge(request));
      default:
        return command satisfies never;
    }
  }

  /** Which numbers a write of receipts has: the next ones, or those of the last write again, and perhaps more. */
  receiptsOf({ node, again, count }: Extract<TallyCommand, { kind: "receipts" }>): {
    readonly first: number;
    readonly last: number;
  } {
    const next = (this.receipts.get(node) ?? 0) + 1;
    const first = again ? (this.#receiptsFrom.get(node) ?? next) : next;
    return { first, last: first + count - 1 };
  }

  /** The set that a change asks for. */
  nextSet({ members, what }: Extract<TallyCommand, { kind: "trustees" }>): {
    readonly epoch: number;
    readonly members: readonly number[];
  } {
    if (what === "in-force") return { epoch: this.epoch, members: this.members };
    const epoch = this.epoch + (what === "next" ? 1 : 2);
    return { epoch, members: [...members].sort((a, b) => a - b) };
  }

  #commit({ entries, epochAge }: Extract<TallyCommand, { kind: "commit" }>): unknown {
    const inForce = this.#past[this.readAt(epochAge)]?.epochVersion === this.epochVersion;
    const good = entries.map((entry) => inForce && this.#guardsHold(entry));
    // All guards of a call are judged before any of it is carried out: its transactions differ.
    for (const [at, entry] of entries.entries()) if (good[at] === true) this.#write(entry);
    return entries.map((entry, at) =>
      good[at] === true
        ? { kind: "committed" }
        : {
            kind: "conflict",
            fresh: this.snapshot(entry.tx),
            bans: guarded(entry)
              .filter((node) => this.bans.has(node))
              .map((node) => [node, this.bans.get(node)?.grade]),
          },
    );
  }

  #guardsHold(entry: CommitEntry): boolean {
    const { tx, age, votes, decision, streaks } = entry;
    const stored = this.txs.get(tx);
    const version = this.#past[this.readAt(age)]?.versions.get(tx) ?? 0;
    const undecided = !this.decisions.has(tx);
    return (
      version === (stored?.version ?? 0) &&
      (stored !== undefined || undecided) &&
      (decision === null || undecided) &&
      votes.every(({ node }) => stored?.votes.has(node) !== true) &&
      guarded(entry).every((node) => !this.bans.has(node)) &&
      streaks.every(({ off }) => !off)
    );
  }

  #write({ tx, votes, status, withRecord, decision, violations, bans, streaks }: CommitEntry) {
    const { step } = this;
    const stored = this.txs.get(tx) ?? {
      openedAt: step,
      version: step,
      status,
      record: null,
      votes: new Map<number, 7 | 8>(),
    };
    this.txs.set(tx, stored);
    stored.version = step;
    stored.status = status;
    if (withRecord) stored.record = { step, status };
    for (const { node, value } of votes) stored.votes.set(node, value);
    if (decision !== null) this.decisions.set(tx, decision);
    for (const { node, type } of violations)
      this.violations.set(violationKey(tx, node, type), { grade: "OPINION", named: true });
    for (const { node, grade } of bans)
      this.bans.set(node, { grade, reason: "SILENT_FAILURE", named: true, version: step });
    for (const { node } of streaks) this.streaks.set(node, (this.streaks.get(node) ?? 0) + 1);
  }

  #banIfStronger(node: number, ban: Omit<ModelBan, "version">): boolean {
    const before = this.bans.get(node);
    if (before !== undefined && !(before.grade === "OPINION" && ban.grade === "PROOF"))
      return false;
    this.bans.set(node, { ...ban, version: this.step });
    return true;
  }

  #endBan(command: Extract<TallyCommand, { kind: "lift" | "strike" }>): unknown {
    const { kind, node, moment, by, named, age } = command;
    const stored = this.lifts.get(liftKey(node, moment));
    const words = liftWords(kind, by, named);
    const isLift = kind === "lift";
    if (stored === words) return isLift ? "lifted" : true;
    const ban = this.bans.get(node);
    if (isLift && ban === undefined) return "not-banned";
    if (isLift && ban?.grade === "PROOF") return "permanent";
    const asked = this.banVersionAt(this.readAt(age), node);
    if (!isLift && (ban === undefined || asked !== ban.version)) return false;
    if (stored !== undefined) return "REFUSED";
    this.bans.delete(node);
    this.lifts.set(liftKey(node, moment), words);
    if (isLift && (named || ban?.named === true)) this.streaks.set(node, 0);
    return isLift ? "lifted" : true;
  }

  #changeTrustees(command: Extract<TallyCommand, { kind: "trustees" }>): unknown {
    const next = this.nextSet(command);
    const inForce = this.#past[this.readAt(command.age)]?.epochVersion === this.epochVersion;
    if (!inForce) return command.what === "in-force" ? "changed" : "conflict";
    if (command.what !== "next") return "REFUSED";
    this.epoch = next.epoch;
    this.members = [...next.members];
    this.epochVersion = this.step;
    return "changed";
  }

  #purge({
    tx,
    level,
    age,
  }: {
    readonly tx: TallyTx;
    readonly level: "votes" | "all";
    readonly age: number;
  }): string {
    const stored = this.txs.get(tx);
    if (stored === undefined) return "gone";
    const word = finalWord(stored);
    if (word === null) return "kept";
    if (level === "votes" && stored.votes.size === 0 && this.decisions.has(tx)) return "gone";
    if (stored.votes.size > 0 && stored.version > this.readAt(age)) return "kept";
    if (!this.decisions.has(tx)) this.decisions.set(tx, word);
    stored.votes.clear();
    stored.version = this.step;
    if (level === "all") this.txs.delete(tx);
    return "purged";
  }

  snapshot(tx: TallyTx): ModelSubject {
    const stored = this.txs.get(tx);
    return {
      status: stored?.status ?? null,
      record: stored?.record ?? null,
      votes: [...(stored?.votes ?? [])].sort(([a], [b]) => a - b),
      violations: [...this.violations]
        .filter(([key, { named }]) => named && key.startsWith(`${tx}/`))
        .map(([key]) => key)
        .sort(),
      decision: this.decisions.get(tx) ?? null,
      version: stored?.version ?? 0,
    };
  }

  /** Everything that the port lets a caller read. */
  state(): ModelSubject {
    const listed = [...this.txs]
      .filter(([, { record }]) => record !== null)
      .sort(([a, x], [b, y]) => x.openedAt - y.openedAt || (a < b ? -1 : 1));
    return {
      txs: TALLY_TXS.map((tx) => this.snapshot(tx)),
      bans: [...this.bans].sort(([a], [b]) => a - b),
      lifts: [...this.lifts].sort(([a], [b]) => (a < b ? -1 : 1)),
      streaks: [...this.streaks].sort(([a], [b]) => a - b),
      receipts: [...this.receipts]
        .flatMap(([node, last]) =>
          Array.from({ length: last }, (_, i) => `${node}/${String(i + 1).padStart(3, "0")}`),
        )
        .sort(),
      listed: listed.map(([tx]) => tx),
      transactions: this.txs.size,
      violations: [...this.violations].sort(([a], [b]) => (a < b ? -1 : 1)),
      epoch: this.epoch,
      members: this.members,
      epochVersion: this.epochVersion,
    };
  }

  #remember(): void {
    this.#past.push({
      versions: new Map([...this.txs].map(([tx, { version }]) => [tx, version])),
      banVersions: new Map([...this.bans].map(([node, { version }]) => [node, version])),
      epochVersion: this.epochVersion,
    });
  }
}

/** Whom a commit takes to be free: those whose votes it records, and those it bans for an opinion, which must not weaken a proof. */
function guarded({ votes, bans }: CommitEntry): readonly number[] {
  const opinions = bans.filter(({ grade }) => grade === "OPINION");
  return [...new Set([...votes, ...opinions].map(({ node }) => node))];
}

export const violationKey = (tx: string, node: number, type: ViolationType): string =>
  `${tx}/${node}/${type}`;
export const liftKey = (node: number, moment: number): string => `${node}/${moment}`;
export const liftWords = (kind: "lift" | "strike", by: string, named: boolean): string =>
  `${kind} by ${by}${named ? " with a name" : ""}`;

/** How it was decided, of what is settled and says so. */
function finalWord({ status, record }: ModelTx): string | null {
  if (record === null) return null;
  // A record names a value when it was written for one of these, and a reason for an abort.
  const ended = record.status === "ABORTED_BYZANTINE" ? "ABORT" : "SUBMIT";
  if (status === "CONFIRMED" && ended === "SUBMIT" && record.status !== "COLLECTING")
    return "SUBMIT";
  return status === "ABORTED_BYZANTINE" && ended === "ABORT" ? "ABORT" : null;
}

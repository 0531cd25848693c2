import type { StepViolation } from "@quorate/core";
import type { Commit, EtcdHistory, TrusteeSetSight } from "./etcd-history.ts";
import type { Call, Place, Run } from "./read-runs.ts";
import type { Refusal } from "./refusal.ts";
import { NONE, type Tla, tlaText } from "./tla-text.ts";

/** What a model is made for: transactions under the same constants are followed together. */
export interface VotingConstants {
  readonly trustees: number;
  readonly threshold: number;
  readonly policy: string;
  readonly profile: string;
  readonly silenceStreakMax: number;
}

/** One step of a trace, and the record that it came from; steps of the environment have none of their own. */
export interface TraceStep {
  readonly tla: Tla;
  readonly place: Place;
  readonly step: unknown;
}

/** What happened to one transaction, as TraceVoting follows it. */
export interface Projection {
  readonly about: string;
  readonly constants: VotingConstants;
  /** Distinct values, the one that nobody voted included. */
  readonly values: number;
  readonly steps: readonly TraceStep[];
  /** The text of it: transactions of one shape have the same. */
  readonly shape: string;
}

export interface Projections {
  readonly projections: readonly Projection[];
  readonly refusals: readonly Refusal[];
  /** Transactions whose trustee set no process told. */
  readonly unknownSets: number;
}

const SILENCE_STREAK_MAX_DEFAULT = 3;
/** The value that an equivocator signed besides the recorded one: which it was is in the evidence, and does not matter. */
const OTHER_VALUE = "v0";

/** Each transaction of a cluster as a trace of its own, with what others did to its trustees in between. */
export function votingProjections(cluster: string, history: EtcdHistory): Projections {
  const refusals: Refusal[] = [];
  const projections: Projection[] = [];
  let unknownSets = 0;
  for (const [txId, commits] of history.commits) {
    const opening = commits[0];
    if (opening === undefined) continue;
    const { record } = opening.step;
    const refuse = (commit: Commit, guard: string): void =>
      void refusals.push({
        cluster,
        about: txId,
        place: commit.call.place,
        step: commit.step,
        guard,
        state: null,
        by: "order",
      });
    if (record === null) {
      // When its beginning is missing that is told already.
      if (opening.step.version === "0")
        refuse(opening, "what opens a transaction writes its record");
      continue;
    }
    const set = history.sets.get(record.epoch);
    if (set === undefined) {
      unknownSets++;
      continue;
    }
    const { protocol } = opening.call.run.start;
    const constants = {
      trustees: set.trustees.length,
      threshold: set.threshold,
      policy: record.policy,
      profile: record.profile,
      silenceStreakMax: protocol?.silenceStreakMax ?? SILENCE_STREAK_MAX_DEFAULT,
    };
    const builder = new TraceBuilder(set, history, txId, constants.silenceStreakMax);
    const problem = builder.addAll(commits);
    if (problem !== null) {
      refuse(problem.commit, problem.guard);
      continue;
    }
    projections.push({ about: txId, constants, ...builder.result() });
  }
  return { projections, refusals, unknownSets };
}

interface Problem {
  readonly commit: Commit;
  readonly guard: string;
}

class TraceBuilder {
  readonly #set: TrusteeSetSight;
  readonly #history: EtcdHistory;
  readonly #txId: string;
  readonly #silenceStreakMax: number;
  readonly #steps: TraceStep[] = [];
  readonly #names = new Map<string, string>();
  readonly #values = new Map<string, string>([["", OTHER_VALUE]]);
  readonly #bans = new Map<string, string>();
  readonly #voted = new Map<string, string>();
  readonly #doubles = new Set<string>();
  #revision = 0n;
  #status = "IDLE";
  #absentKnown = false;
  #due = false;
  /** Since when the present threshold stands, and by whose clock. */
  #threshold: { readonly run: Run; readonly at: number } | null = null;
  #unanimous = false;
  #opened: {
    readonly run: Run;
    readonly at: number;
    readonly record: Commit["step"]["record"];
  } | null = null;

  constructor(set: TrusteeSetSight, history: EtcdHistory, txId: string, silenceStreakMax: number) {
    this.#silenceStreakMax = silenceStreakMax;
    this.#set = set;
    this.#history = history;
    this.#txId = txId;
  }

  addAll(commits: readonly Commit[]): Problem | null {
    const own = this.#accusationsOf(commits);
    for (const commit of commits) {
      for (const accusation of own.get(commit) ?? []) this.#accuse(accusation);
      const guard = this.#add(commit);
      if (guard !== null) return { commit, guard };
    }
    for (const accusation of own.get(null) ?? []) this.#accuse(accusation);
    return null;
  }

  result(): Pick<Projection, "values" | "steps" | "shape"> {
    const steps = this.#steps;
    return {
      values: this.#values.size,
      steps,
      shape: `<<${steps.map(({ tla }) => tlaText(tla)).join(",\n")}>>`,
    };
  }

  /** Trustees are alike to the model: they are called by the order in which they appear. */
  #name(nodeId: string): string {
    const known = this.#names.get(nodeId);
    if (known !== undefined) return known;
    const name = `n${this.#names.size + 1}`;
    this.#names.set(nodeId, name);
    return name;
  }

  #value(value: string): string {
    const known = this.#values.get(value);
    if (known !== undefined) return known;
    const name = `v${this.#values.size}`;
    this.#values.set(value, name);
    return name;
  }

  #isTrustee(nodeId: string | null): nodeId is string {
    return nodeId !== null && this.#set.trustees.some((t) => t.nodeId === nodeId);
  }

  #push(
    source: { readonly place: Place; readonly step: unknown },
    fields: Record<string, Tla>,
  ): void {
    this.#steps.push({ tla: { record: fields }, place: source.place, step: source.step });
  }

  /** Violations of this transaction that are no part of a commit, each before the commit that it is known to precede. */
  #accusationsOf(commits: readonly Commit[]): ReadonlyMap<Commit | null, readonly Call[]> {
    const byCommit = new Map<Commit | null, Call[]>();
    for (const call of this.#history.accusations) {
      if (call.step.op !== "etcd.violation" || call.step.violation.txId !== this.#txId) continue;
      if (call.step.violation.type !== "DOUBLE_VOTING") continue;
      const revision = this.#revisionOf(call.step.violation, call);
      const next =
        revision === null ? null : (commits.find((commit) => commit.revision > revision) ?? null);
      byCommit.set(next, [...(byCommit.get(next) ?? []), call]);
    }
    return byCommit;
  }

  /** The revision at which its ban was seen. */
  #revisionOf({ peerId, type }: StepViolation, call: Call): bigint | null {
    const event = this.#history.bans
      .get(peerId)
      ?.find(({ ban }) => ban?.reason === type && ban.grade === "PROOF");
    return event === undefined || call.outcome.kind === "unknown" ? null : event.revision;
  }

  #accuse(call: Call): void {
    if (call.step.op !== "etcd.violation" || call.outcome.kind !== "done") return;
    const { nodeId } = call.step.violation;
    // A trustee of another epoch is nobody to this transaction's set.
    if (!this.#isTrustee(nodeId)) return;
    const n = this.#name(nodeId);
    // What others did to the trustee before: its ban by opinion is why its votes were refused.
    const revision = this.#revisionOf(call.step.violation, call);
    if (revision !== null) this.#bansElsewhere(call, this.#revision, revision);
    this.#sign(call, n, this.#value("#"));
    this.#sign(call, n, OTHER_VALUE);
    this.#push(call, { do: "accuse", n });
    this.#bans.set(nodeId, "PROOF");
    this.#doubles.add(nodeId);
  }

  #sign(source: { readonly place: Place; readonly step: unknown }, n: string, v: string): void {
    this.#push(source, { do: "sign", n, v });
  }

  #add(commit: Commit): string | null {
    const { step, call } = commit;
    const strangers = [
      ...step.votes.map(({ nodeId }) => nodeId),
      ...step.violations.map(({ nodeId }) => nodeId),
      ...step.bans.map(({ nodeId }) => nodeId),
    ].filter((nodeId) => !this.#isTrustee(nodeId));
    if (strangers.length > 0)
      return `only trustees of the transaction's epoch vote and are judged, not ${strangers.join(", ")}`;
    this.#bansElsewhere(call, this.#revision, commit.revision);
    const doubles = step.violations.flatMap(({ type, nodeId }) =>
      type === "DOUBLE_VOTING" && nodeId !== null ? [nodeId] : [],
    );
    for (const { nodeId, value } of step.votes) {
      if (this.#voted.has(nodeId)) continue;
      this.#sign(call, this.#name(nodeId), this.#value(value));
    }
    for (const nodeId of doubles) this.#sign(call, this.#name(nodeId), OTHER_VALUE);
    const judged = step.record !== null && step.record.absent !== null && !this.#absentKnown;
    this.#opened ??= { run: call.run, at: call.beganAt, record: step.record };
    const due = judged || step.record?.reason === "SILENT_FAILURE";
    if (due && !this.#due && this.#deadlineIsOver(call)) {
      this.#push(call, { do: "due" });
      this.#due = true;
    }
    if (judged) this.#runsElsewhere(commit);
    const kind = this.#kindOf(commit);
    if (kind === "claim" && !this.#unanimous && this.#settleIsOver(call))
      this.#push(call, { do: "settle" });
    this.#push(call, { do: kind, ...this.#written(commit, doubles) });
    this.#follow(commit, doubles);
    return null;
  }

  #kindOf({ step }: Commit): "commit" | "claim" | "confirm" {
    if (step.decision?.kind === "SUBMIT") return "claim";
    const confirms =
      step.status === "CONFIRMED" && this.#status === "SUBMITTED" && step.votes.length === 0;
    return confirms ? "confirm" : "commit";
  }

  #written({ step }: Commit, doubles: readonly string[]): Record<string, Tla> {
    const name = (nodeId: string): string => this.#name(nodeId);
    const { record, decision } = step;
    const pairs = (list: readonly (readonly [Tla, Tla])[]): Tla => ({
      set: list.map(([a, b]) => ({ tuple: [a, b] })),
    });
    const names = (list: readonly string[]): Tla => ({
      set: list.filter((nodeId) => this.#isTrustee(nodeId)).map(name),
    });
    return {
      new: pairs(step.votes.map(({ nodeId, value }) => [name(nodeId), this.#value(value)])),
      doubles: names(doubles),
      counts: pairs(step.counts.map(({ value, count }) => [this.#value(value), count])),
      status: step.status,
      record: record !== null,
      value: record === null || record.value === null ? NONE : this.#value(record.value),
      unanimous: record?.unanimous ?? false,
      excluded: names(record?.excluded ?? []),
      absent: record === null || record.absent === null ? NONE : names(record.absent),
      violations: pairs(
        step.violations.flatMap(({ nodeId, type }) =>
          nodeId === null ? [] : [[name(nodeId), type]],
        ),
      ),
      decision:
        decision === null
          ? NONE
          : {
              tuple: [
                decision.kind,
                decision.kind === "SUBMIT"
                  ? this.#value(decision.value ?? "#")
                  : (decision.reason ?? ""),
              ],
            },
      bans: pairs(
        step.bans.flatMap(({ nodeId, grade }) => (nodeId === null ? [] : [[name(nodeId), grade]])),
      ),
      runs: pairs(step.silence.map(({ nodeId, after }) => [name(nodeId), this.#capped(after)])),
    };
  }

  #follow({ step, revision, call }: Commit, doubles: readonly string[]): void {
    for (const { nodeId, value } of step.votes) this.#voted.set(nodeId, value);
    for (const nodeId of doubles) this.#doubles.add(nodeId);
    for (const { nodeId, grade } of step.bans) if (nodeId !== null) this.#bans.set(nodeId, grade);
    if (step.record !== null) {
      this.#absentKnown = step.record.absent !== null;
      this.#unanimous = step.record.unanimous;
    }
    if (step.status !== "THRESHOLD_REACHED") this.#threshold = null;
    else this.#threshold ??= { run: call.run, at: call.beganAt };
    this.#status = step.status;
    this.#revision = revision;
  }

  /** Bans of this transaction's trustees that others wrote or ended after one revision and before another. */
  #bansElsewhere(
    source: { readonly place: Place; readonly step: unknown },
    after: bigint,
    before: bigint,
  ): void {
    for (const { nodeId, peerId } of this.#set.trustees) {
      const events = this.#history.bans.get(peerId) ?? [];
      const last = events.findLast(({ revision }) => revision < before);
      if (last === undefined || (last.revision < after && this.#bans.has(nodeId))) continue;
      const grade = last.ban?.grade ?? "none";
      if ((this.#bans.get(nodeId) ?? "none") === grade) continue;
      this.#push(source, { do: "ban elsewhere", n: this.#name(nodeId), grade });
      this.#bans.set(nodeId, grade);
    }
  }

  /** The silent runs as the commit found them; that it was decided on those is checked over all transactions. */
  #runsElsewhere(commit: Commit): void {
    const { call, step } = commit;
    const before = new Map([
      ...(this.#history.runsBefore.get(commit) ?? []),
      ...step.silence.map((s) => [s.nodeId, s.before] as const),
    ]);
    for (const { nodeId } of this.#set.trustees) this.#name(nodeId);
    const runs = this.#set.trustees
      .map(({ nodeId }) => [this.#name(nodeId), this.#capped(before.get(nodeId) ?? 0)] as const)
      .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    this.#push(call, { do: "runs elsewhere", runs: { record: Object.fromEntries(runs) } });
  }

  /** The model counts a run no further than to what bans. */
  #capped(run: number): number {
    return Math.min(run, this.#silenceStreakMax);
  }

  /** Whether the judging node can have seen the transaction open for as long as its record allows. */
  #deadlineIsOver(judging: Call): boolean {
    if (this.#opened === null || this.#opened.record === null) return true;
    const { run, at, record } = this.#opened;
    const { boot } = judging.run.start;
    if (run !== judging.run && (boot === null || boot !== run.start.boot)) return true;
    return judging.beganAt - at >= (record.deadlineAtMs - record.openedAtMs) * 1_000;
  }

  /** Whether the submitter can have waited as long as it was told to: only times of one boot say that it did not. */
  #settleIsOver(claim: Call): boolean {
    const { protocol, boot } = claim.run.start;
    // Where there is no threshold the claim is refused for that.
    if (this.#threshold === null) return false;
    if (protocol === null) return true;
    const { run, at } = this.#threshold;
    if (run !== claim.run && (boot === null || boot !== run.start.boot)) return true;
    return claim.beganAt - at >= protocol.settleMs * 1_000;
  }
}

import { etcdHistory } from "./etcd-history.ts";
import type { Recording, Run } from "./read-runs.ts";
import type { Refusal } from "./refusal.ts";
import { checkSubmissions } from "./submission-check.ts";
import { submissionHistory } from "./submission-history.ts";
import { submissionProjections } from "./submission-projection.ts";
import { checkVoting } from "./voting-check.ts";
import { votingProjections } from "./voting-projection.ts";

export interface ClusterReport {
  readonly cluster: string;
  readonly runs: number;
  /** Runs that did not end in good order. */
  readonly cutShort: number;
  readonly transactions: number;
  readonly commits: number;
  readonly conflicts: number;
  readonly inferred: number;
  readonly unresolved: number;
  /** Transactions that were not followed, for no process told their trustee set. */
  readonly unknownSets: number;
  readonly votingShapes: number;
  readonly sends: number;
  readonly nonces: number;
  readonly results: number;
  readonly submissionShapes: number;
  /** Results that a person's decision or a contradiction took out of the model. */
  readonly beyondTheModel: number;
  readonly states: number;
}

export interface TraceReport {
  /** Every recorded step was followed, there were some, and each is one of the model. */
  readonly ok: boolean;
  /** What of the record could not be held against the model, in words; empty when all of it was. */
  readonly unfollowed: readonly string[];
  readonly files: number;
  readonly lines: number;
  readonly torn: readonly string[];
  readonly clusters: readonly ClusterReport[];
  readonly refusals: readonly Refusal[];
}

/** Holds a recording against the model, cluster by cluster. */
export function checkRecording(recording: Recording): TraceReport {
  const byCluster = new Map<string, Run[]>();
  for (const run of recording.runs) {
    const { clusterId } = run.start;
    const runs = byCluster.get(clusterId);
    if (runs === undefined) byCluster.set(clusterId, [run]);
    else runs.push(run);
  }
  const clusters: ClusterReport[] = [];
  const refusals: Refusal[] = [];
  for (const [cluster, runs] of byCluster) {
    const history = etcdHistory(cluster, runs);
    const voting = votingProjections(cluster, history);
    const checked = checkVoting(cluster, voting.projections);
    refusals.push(...history.refusals, ...voting.refusals, ...checked.refusals);
    const submitted = { sends: 0, nonces: 0, results: 0, submissionShapes: 0, beyondTheModel: 0 };
    let states = checked.states;
    for (const sender of bySender(runs)) {
      const submissions = submissionHistory(cluster, sender, history);
      const sights = sender.flatMap((run) => run.sights);
      const projections = submissionProjections(submissions, history, sights);
      const followed = checkSubmissions(cluster, projections);
      refusals.push(...submissions.refusals, ...followed.refusals);
      submitted.sends += submissions.counts.sends;
      submitted.nonces += submissions.counts.slots;
      submitted.results += projections.length;
      submitted.submissionShapes += followed.shapes;
      submitted.beyondTheModel += submissions.beyond.size;
      states += followed.states;
    }
    clusters.push({
      cluster,
      runs: runs.length,
      cutShort: runs.filter(({ ended }) => !ended).length,
      transactions: history.commits.size,
      ...history.counts,
      unknownSets: voting.unknownSets,
      votingShapes: checked.shapes,
      ...submitted,
      states,
    });
  }
  const { files, lines, torn } = recording;
  const unfollowed = unfollowedOf(clusters);
  const ok = refusals.length === 0 && unfollowed.length === 0;
  return { ok, unfollowed, files, lines, torn, clusters, refusals };
}

/** How many steps were held against the model. */
export function stepsFollowed(clusters: readonly ClusterReport[]): number {
  return clusters.reduce((total, c) => total + c.commits + c.nonces + c.sends + c.results, 0);
}

/** A record that says nothing of a step says nothing of whether the model has it. */
function unfollowedOf(clusters: readonly ClusterReport[]): readonly string[] {
  const unfollowed = clusters
    .filter(({ unknownSets }) => unknownSets > 0)
    .map(
      ({ cluster, unknownSets, transactions }) =>
        `${unknownSets} of ${transactions} transactions of ${cluster} were not followed: no process told their trustee set`,
    );
  return stepsFollowed(clusters) > 0
    ? unfollowed
    : [...unfollowed, "nothing was followed: no step on durable state is recorded there"];
}

/** Submitters by the account whose nonces they take: each account's are of their own. */
function bySender(runs: readonly Run[]): readonly (readonly Run[])[] {
  const senders = new Map<string, Run[]>();
  for (const run of runs) {
    if (run.start.program !== "submitter") continue;
    const list = senders.get(run.start.name);
    if (list === undefined) senders.set(run.start.name, [run]);
    else list.push(run);
  }
  return [...senders.values()];
}

import { etcdHistory } from "./etcd-history.ts";
import type { Recording, Run } from "./read-runs.ts";
import type { Refusal } from "./refusal.ts";
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
  readonly votingShapes: number;
  readonly states: number;
}

export interface TraceReport {
  readonly ok: boolean;
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
    clusters.push({
      cluster,
      runs: runs.length,
      cutShort: runs.filter(({ ended }) => !ended).length,
      transactions: history.commits.size,
      ...history.counts,
      votingShapes: checked.shapes,
      states: checked.states,
    });
  }
  const { files, lines, torn } = recording;
  return { ok: refusals.length === 0, files, lines, torn, clusters, refusals };
}

import type { Evidence, Finding, TrusteeSets } from "./evidence.ts";
import type { RecordJson, TallyJson } from "./evidence-file-shape.ts";
import type { NodeId, TxId } from "./ids.ts";
import { assert, err, ok, type Result } from "./result.ts";
import { isArchived } from "./retention.ts";
import type { TxRecord, TxSnapshot } from "./tally.ts";
import type { TrusteeSet } from "./trustee-set.ts";
import { type Verify, verifyVote } from "./vote.ts";
import { isoTime, type VoteJson, voteFromJson, voteToJson } from "./vote-json.ts";

/** The tally as a file carries it: votes that somebody has put into the store without their trustees' signatures are left out. */
export function tallyOf(
  { snapshot, revision }: { readonly snapshot: TxSnapshot; readonly revision: bigint },
  sets: TrusteeSets,
  verify: Verify,
): Result<TallyJson, string> {
  const { txId, status, record } = snapshot;
  if (status === null || record === null) return err(`the tally holds nothing of ${txId} any more`);
  if (isArchived(snapshot)) return err(`the votes of ${txId} are archived`);
  const set = sets.get(record.epoch);
  if (set === undefined) return err(`the trustee set of epoch ${record.epoch} is not known`);
  const votes = [...snapshot.votes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([nodeId, signed]) => {
      const good = verifyVote(signed, set, verify);
      if (!good.ok || good.value.vote.nodeId !== nodeId || good.value.vote.txId !== txId) return [];
      return [{ nodeId, vote: voteToJson(good.value, good.value.peerId) }];
    });
  return ok({ revision: revision.toString(), status, record: recordToJson(record), votes });
}

/** With its keys in the file's order, wherever the record comes from. */
function recordToJson(record: TxRecord): RecordJson {
  const { epoch, policy, profile, excluded, openedAtMs, deadlineAtMs, value } = record;
  const { unanimous, thresholdAtMs, reason, offenders, absent, chain } = record;
  return {
    epoch,
    policy,
    profile,
    excluded,
    openedAtMs,
    deadlineAtMs,
    value: value === null ? null : value.toString(),
    unanimous,
    thresholdAtMs,
    reason,
    offenders,
    absent,
    chain: chain === null ? null : { txHash: chain.txHash, blockNumber: chain.blockNumber },
  };
}

/** Whether every vote of the tally is its trustee's, one each, and those that the evidence names are among them. */
export function checkTally(
  tally: TallyJson,
  txId: TxId,
  evidence: Evidence,
  sets: TrusteeSets,
  verify: Verify,
): Result<null, string> {
  const { epoch } = tally.record;
  const set = sets.get(epoch);
  if (set === undefined) return err(`the trustee set of epoch ${epoch} is not there`);
  let last = "";
  for (const { nodeId, vote } of tally.votes) {
    if (nodeId <= last) return err("the tally's votes are not one a trustee, sorted by name");
    last = nodeId;
    const good = checkVote(nodeId, vote, txId, set, verify);
    if (!good.ok) return good;
  }
  if (evidence.type !== "MINORITY_VOTE") return ok(null);
  const recorded = new Set(tally.votes.map(({ vote }) => JSON.stringify(vote)));
  const named = [evidence.vote, ...evidence.majority];
  return named.every((vote) => recorded.has(JSON.stringify(vote)))
    ? ok(null)
    : err("the tally does not hold the votes that the evidence is made of");
}

function checkVote(
  nodeId: NodeId,
  vote: VoteJson,
  txId: TxId,
  set: TrusteeSet,
  verify: Verify,
): Result<null, string> {
  const read = voteFromJson(vote);
  if (!read.ok) return err(`the tally's vote of ${nodeId}: ${read.error.message}`);
  const good = verifyVote(read.value, set, verify);
  if (!good.ok) return err(`the tally's vote of ${nodeId}: ${good.error.message}`);
  if (good.value.vote.nodeId !== nodeId || good.value.peerId !== vote.peer_id)
    return err(`the tally's vote of ${nodeId} is another trustee's`);
  if (good.value.vote.txId !== txId)
    return err(`the tally's vote of ${nodeId} is for another transaction`);
  return ok(null);
}

/**
 * What can be said of an absence. Its votes are genuine and the record fits the accusation; that nothing else was
 * in the tally is the exporting node's word, and the sentence says so.
 */
export function silenceFinding(
  evidence: Extract<Evidence, { readonly type: "SILENT_FAILURE" }>,
  tally: TallyJson,
  {
    id,
    exporter,
    sets,
  }: {
    readonly id: { readonly txId: TxId };
    readonly exporter: NodeId;
    readonly sets: TrusteeSets;
  },
): Result<Finding, string> {
  const { record } = tally;
  const set = sets.get(record.epoch);
  assert(set !== undefined, "the tally was checked against its set");
  const accused = set.trustees.find((t) => t.nodeId === evidence.nodeId);
  if (accused === undefined)
    return err(`${evidence.nodeId} is not a trustee of epoch ${record.epoch}`);
  const { nodeId, peerId } = accused;
  const { txId } = id;
  const { absent } = record;
  if (evidence.openedAtMs !== record.openedAtMs || evidence.deadlineAtMs !== record.deadlineAtMs)
    return err("the evidence and the decision record differ in the transaction's times");
  if (record.excluded.includes(nodeId))
    return err(`${nodeId} was banned when ${txId} opened, and nobody waited for its vote`);
  if (absent === null || !absent.includes(nodeId))
    return err(`the decision record does not name ${nodeId} as absent`);
  if (absent.length > set.trustees.length - set.threshold)
    return err(`${absent.length} trustees were absent: an outage is held against nobody`);
  if (evidence.voted.some((voter) => absent.some((name) => name === voter)))
    return err("a trustee is named both as a voter and as absent");
  const voters = new Set(evidence.voted);
  if (voters.size !== evidence.voted.length) return err("a voter is named twice");
  const votes = new Map(tally.votes.map((entry) => [entry.nodeId as string, entry.vote]));
  for (const voter of voters)
    if (!votes.has(voter))
      return err(`there is no vote that ${voter}, who is said to have voted, signed`);
  const own = votes.get(nodeId);
  const late = own === undefined ? "" : `; its vote, signed at ${own.timestamp}, came later`;
  const deadline = isoTime(record.deadlineAtMs);
  return ok({
    nodeId,
    peerId,
    txId,
    sentence: `${nodeId} had no vote for ${txId} in the tally when its deadline, ${deadline}, was judged, and ${voters.size} of ${set.trustees.length} trustees had${late}: an absence leaves no signature, so this is no proof but what ${exporter} attests to have read at revision ${tally.revision}.`,
  });
}

import type { NodeId } from "./ids.ts";
import { parseEpoch } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { err, ok, type Result, unwrap } from "./result.ts";
import { makeTrusteeSet, type Trustee, type TrusteeSet, thresholdProblems } from "./trustee-set.ts";

/** The set of the next epoch, or everything that speaks against the change. */
export type TrusteeChange = Result<TrusteeSet, readonly string[]>;

/**
 * The next epoch's set with one trustee more. The threshold stays unless another one is given.
 * @see spec §16.1
 */
export function addTrustee(
  set: TrusteeSet,
  trustee: Trustee,
  threshold: number = set.threshold,
): TrusteeChange {
  const problems: string[] = [];
  const { nodeId, peerId } = trustee;
  const named = set.byNodeId.get(nodeId);
  if (named !== undefined)
    problems.push(
      named.peerId === peerId
        ? `${nodeId} is a trustee of epoch ${set.epoch} already, with this key`
        : `${nodeId} is a trustee of epoch ${set.epoch} already, with another key (${named.peerId}): remove it first, or take another name`,
    );
  const keyed = set.byPeerId.get(peerId);
  // Two names for one key would be two votes for one party.
  if (keyed !== undefined && keyed !== named)
    problems.push(`peer id ${peerId} is that of trustee ${keyed.nodeId} already`);
  return nextSet(set, [...set.trustees, trustee], threshold, problems);
}

/**
 * The next epoch's set without one trustee. The threshold stays unless another one is given, and
 * is refused when it is more than the trustees that are left.
 * @see spec §16.2
 */
export function removeTrustee(
  set: TrusteeSet,
  nodeId: NodeId,
  threshold: number = set.threshold,
): TrusteeChange {
  if (!set.byNodeId.has(nodeId)) {
    const names = set.trustees.map((t) => t.nodeId).join(", ");
    const unknown = `${nodeId} is not a trustee of epoch ${set.epoch} (these are: ${names})`;
    return err([unknown, ...problemsOf(set.trustees.length, threshold)]);
  }
  const left = set.trustees.filter((t) => t.nodeId !== nodeId);
  return nextSet(set, left, threshold, []);
}

/** The next epoch's set with the same trustees and another threshold. */
export function changeThreshold(set: TrusteeSet, threshold: number): TrusteeChange {
  const same = threshold === set.threshold;
  const problems = same ? [`threshold ${threshold} is in force in epoch ${set.epoch} already`] : [];
  return nextSet(set, set.trustees, threshold, problems);
}

function nextSet(
  set: TrusteeSet,
  trustees: readonly Trustee[],
  threshold: number,
  found: readonly string[],
): TrusteeChange {
  const problems = [...found, ...problemsOf(trustees.length, threshold)];
  if (problems.length > 0) return err(problems);
  const epoch = unwrap(parseEpoch(set.epoch + 1));
  const made = makeTrusteeSet({ clusterId: set.clusterId, epoch, threshold, trustees });
  return made.ok ? ok(made.value) : made;
}

/** What is impossible about N and t, and which t would do. */
function problemsOf(trusteeCount: number, threshold: number): readonly string[] {
  const problems = thresholdProblems(trusteeCount, threshold);
  const countFits = trusteeCount >= 1 && trusteeCount <= LIMITS.trusteesMax;
  if (problems.length === 0 || !countFits) return problems;
  const least = Math.floor(trusteeCount / 2) + 1;
  const range = least === trusteeCount ? `${least}` : `${least} to ${trusteeCount}`;
  const recommended = Math.ceil((2 * trusteeCount) / 3);
  return problems.map(
    (problem) =>
      `${problem}; a threshold of ${range} is more than half of ${trusteeCount}, and ${recommended} is recommended`,
  );
}

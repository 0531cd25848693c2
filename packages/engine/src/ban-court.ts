import {
  type Epoch,
  type Evidence,
  fromBase64,
  gradeOf,
  namedVote,
  type TrusteeSets,
  type Verify,
  type VoteJson,
  verifyEvidence,
  voteFromJson,
} from "@quorate/core";
import type { BanEntry } from "@quorate/ports";

/**
 * What a node thinks of a ban that it finds in the tally.
 * "unproven": its own evidence speaks against it, so somebody with access to the store forged it.
 * "not-judged": an observation without signatures (silence, reputation), or of an epoch that is not kept.
 */
export type BanJudgement =
  | { readonly kind: "borne-out" | "not-judged" }
  | { readonly kind: "unproven"; readonly problem: string };

/** Looks at a ban's evidence before anybody is shut out for it (I5, I6). Pure. */
export function judgeBan(ban: BanEntry, sets: TrusteeSets, verify: Verify): BanJudgement {
  const { evidence, reason } = ban;
  const unproven = (problem: string): BanJudgement => ({ kind: "unproven", problem });
  if (evidence.type !== reason) return unproven(`its evidence is of ${evidence.type}`);
  const grade = reason === "LOW_REPUTATION" ? "OPINION" : gradeOf(reason);
  if (ban.grade !== grade) return unproven(`${reason} is ${grade}, but it says ${ban.grade}`);
  if (evidence.type === "SILENT_FAILURE" || evidence.type === "LOW_REPUTATION")
    return { kind: "not-judged" };
  if (epochsOf(evidence).some((epoch) => !sets.has(epoch))) return { kind: "not-judged" };
  const found = verifyEvidence(evidence, sets, verify);
  if (!found.ok) return unproven(found.error);
  if (found.value.peerId !== ban.peerId) return unproven("its evidence is against another peer");
  return { kind: "borne-out" };
}

function epochsOf(evidence: Evidence): readonly Epoch[] {
  const of = (vote: VoteJson): readonly Epoch[] => {
    const read = voteFromJson(vote);
    return read.ok ? [read.value.vote.epoch] : [];
  };
  if (evidence.type === "DOUBLE_VOTING") return [...of(evidence.first), ...of(evidence.second)];
  if (evidence.type === "MINORITY_VOTE") return of(evidence.vote);
  if (evidence.type !== "INVALID_SIGNATURE") return [];
  const named = namedVote(fromBase64(evidence.envelope.data) ?? new Uint8Array());
  return named === null ? [] : [named.epoch];
}

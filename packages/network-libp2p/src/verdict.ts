import { TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import { assertNever } from "@quorate/core";
import type { GossipVerdict } from "@quorate/ports";

/** The only place where our verdicts become libp2p's. */
export function toValidatorResult(verdict: GossipVerdict): TopicValidatorResult {
  switch (verdict) {
    case "ACCEPT":
      return TopicValidatorResult.Accept;
    case "IGNORE":
      return TopicValidatorResult.Ignore;
    case "REJECT":
      return TopicValidatorResult.Reject;
    default:
      return assertNever(verdict);
  }
}

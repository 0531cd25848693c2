import { badSignature } from "../attacks/bad-signature.ts";
import { badSignatureAfterDecision } from "../attacks/bad-signature-after-decision.ts";
import { bannedReturnAddress } from "../attacks/banned-return-address.ts";
import { bannedReturnRelay } from "../attacks/banned-return-relay.ts";
import { bannedReturnRestart } from "../attacks/banned-return-restart.ts";
import { doubleVote } from "../attacks/double-vote.ts";
import { doubleVoteAfterDecision } from "../attacks/double-vote-after-decision.ts";
import { doubleVoteBothOrders } from "../attacks/double-vote-both-orders.ts";
import { doubleVoteTwoEpochs } from "../attacks/double-vote-two-epochs.ts";
import { floodNewTransactions } from "../attacks/flood-new-transactions.ts";
import { floodOutsider } from "../attacks/flood-outsider.ts";
import { floodTrustee } from "../attacks/flood-trustee.ts";
import { frameForgedAuthor } from "../attacks/frame-forged-author.ts";
import { frameJunkVote } from "../attacks/frame-junk-vote.ts";
import { frameRelay } from "../attacks/frame-relay.ts";
import { frameReplay } from "../attacks/frame-replay.ts";
import { malformedFrame } from "../attacks/malformed-frame.ts";
import { malformedRpc } from "../attacks/malformed-rpc.ts";
import { massSilence } from "../attacks/mass-silence.ts";
import { minorityAfterDecision } from "../attacks/minority-after-decision.ts";
import { minorityFirst } from "../attacks/minority-first.ts";
import { minorityLast } from "../attacks/minority-last.ts";
import { oversized } from "../attacks/oversized.ts";
import { replayOldEpoch } from "../attacks/replay-old-epoch.ts";
import { replayOtherCluster } from "../attacks/replay-other-cluster.ts";
import { replaySameCluster } from "../attacks/replay-same-cluster.ts";
import { reusedSeqno } from "../attacks/reused-seqno.ts";
import { silent } from "../attacks/silent.ts";
import { splitEquivocation } from "../attacks/split-equivocation.ts";
import { strangerVotes } from "../attacks/stranger-votes.ts";
import { sybilSwarm } from "../attacks/sybil-swarm.ts";
import { tamperInFlight } from "../attacks/tamper-in-flight.ts";
import { tamperedBatchPath } from "../attacks/tampered-batch-path.ts";
import { topicFlood } from "../attacks/topic-flood.ts";
import { wrongKey } from "../attacks/wrong-key.ts";
import type { Attack } from "./attack.ts";

/** Every attack, in the order in which they are run: the four crimes, framing, replays, junk, floods, and coming back. */
export const ATTACKS: readonly Attack[] = [
  doubleVote,
  doubleVoteBothOrders,
  doubleVoteAfterDecision,
  doubleVoteTwoEpochs,
  minorityFirst,
  minorityLast,
  minorityAfterDecision,
  badSignature,
  badSignatureAfterDecision,
  silent,
  massSilence,
  frameJunkVote,
  frameReplay,
  frameRelay,
  frameForgedAuthor,
  tamperInFlight,
  wrongKey,
  strangerVotes,
  reusedSeqno,
  replaySameCluster,
  replayOtherCluster,
  replayOldEpoch,
  tamperedBatchPath,
  oversized,
  malformedFrame,
  malformedRpc,
  topicFlood,
  sybilSwarm,
  floodOutsider,
  floodTrustee,
  floodNewTransactions,
  bannedReturnRestart,
  bannedReturnAddress,
  bannedReturnRelay,
  splitEquivocation,
];

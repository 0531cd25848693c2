import type { Ban, NodeId, ProtocolConfig, SignedVote, VerifiedVote, Verify } from "@quorate/core";
import type { Clock, FaultPoint, Logger, TallyStore } from "@quorate/ports";
import type { NodeMetrics } from "./catalogue.ts";
import type { RefusedByRules } from "./refusal.ts";
import type { TallyView } from "./tally-view.ts";
import type { VoteSpans } from "./vote-spans.ts";

/** How a vote ended for whoever handed it in. */
export type RecordOutcome =
  /** It is in etcd, written by this node or another. */
  | { readonly kind: "RECORDED" }
  /** The trustee's other value stands; both signatures are recorded as evidence. */
  | { readonly kind: "EQUIVOCATION" }
  | {
      readonly kind: "REFUSED";
      readonly code:
        | "BANNED"
        | "WRONG_EPOCH"
        | "UNKNOWN_TRUSTEE"
        | "RECORD_FORGED"
        /** Decided long ago: its votes are archived, and the id is never open again. */
        | "ARCHIVED"
        | "QUEUE_FULL"
        | "STOPPED"
        | "JOURNAL_FAILED";
    };

export interface PipelineOptions {
  readonly nodeId: NodeId;
  readonly protocol: ProtocolConfig;
  /**
   * How long at least a transaction's owner waits for more of its votes, in ms: they fold into one
   * commit. It waits as long as a commit takes at present, for no other would be sent sooner; not at all once every vote is there.
   */
  readonly windowMs: number;
  /**
   * How much longer at least each further rank waits for the watch to show the owner's commit, in ms.
   * It grows with what records by others take at present, or a slow cluster would write everything N times.
   */
  readonly staggerMs: number;
  /** Transactions in one commit call. */
  readonly batchMax: number;
  /** Commit calls under way at once. */
  readonly batchesInFlightMax: number;
}

export interface PipelineDependencies {
  readonly store: TallyStore;
  readonly view: TallyView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  readonly verify: Verify;
  /** Called for each ban right after the commit that holds it. */
  readonly onBan: (ban: Ban, committedAtMs: number) => void;
  /** Called for a vote whose trustee voted otherwise, as far as is known here; before anything is committed. */
  readonly onConflict: (first: SignedVote, second: VerifiedVote) => void;
  /** Called for a vote that the rules refuse. */
  readonly onRefused: (vote: VerifiedVote, code: RefusedByRules) => void;
  readonly fault?: FaultPoint;
  readonly spans?: VoteSpans | undefined;
}

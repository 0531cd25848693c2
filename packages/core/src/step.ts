import type { AttemptKind, SlotState, SubmissionState } from "./submission-fsm.ts";
import type { AbortReason } from "./tally.ts";
import type { BanReason, EvidenceGrade, ViolationType } from "./violation.ts";
import type { TxStatus } from "./vote-fsm.ts";

/** The format that this version writes and reads. */
export const STEP_FORMAT = 1;

/** A u64 or a larger whole number in decimal digits, as JSON can carry it. */
export type Digits = string;

/**
 * One line of a step file: what one run of one process did to durable state, for a check against the model.
 * A `begin` is on disk before its call is made, an `end` follows the reply: a `begin` without an `end` is a call
 * whose outcome nobody learned (a crash, a kill), and so is an `end` that says `unknown` (a lost reply).
 */
export type StepLine =
  | StepStart
  | { readonly line: "begin"; readonly at: number; readonly call: number; readonly step: Step }
  | {
      readonly line: "note";
      readonly at: number;
      readonly call: number;
      readonly signed: SignedNote;
    }
  | {
      readonly line: "end";
      readonly at: number;
      readonly call: number;
      readonly outcome: StepOutcome;
    }
  | { readonly line: "saw"; readonly at: number; readonly sight: StepSight }
  | { readonly line: "stop"; readonly at: number };

/** The first line. `at` everywhere is µs of the machine's monotonic clock: it orders what ran since one boot, whichever process. */
export interface StepStart {
  readonly line: "start";
  readonly at: number;
  readonly format: typeof STEP_FORMAT;
  /** Tells this run from every other. */
  readonly run: string;
  readonly program: string;
  /** The process's own name: a node id, or the submitter's. */
  readonly name: string;
  readonly clusterId: string;
  readonly pid: number;
  /** Which boot of which machine `at` counts from; null when that is not known, and then `at` compares with no other run's. */
  readonly boot: string | null;
  readonly startedAtMs: number;
  /** What the process was told that its steps depend on; null for one that takes no decisions of its own. */
  readonly protocol: { readonly settleMs: number; readonly silenceStreakMax: number } | null;
}

export interface StepVote {
  readonly nodeId: string;
  readonly peerId: string;
  readonly epoch: number;
  readonly value: Digits;
}

export interface StepCount {
  readonly value: Digits;
  readonly count: number;
}

export interface StepRecord {
  readonly epoch: number;
  readonly policy: "strict-abort" | "quarantine-and-continue";
  readonly profile: "strict" | "balanced";
  readonly excluded: readonly string[];
  readonly openedAtMs: number;
  readonly deadlineAtMs: number;
  readonly value: Digits | null;
  readonly unanimous: boolean;
  readonly reason: AbortReason | null;
  readonly offenders: readonly string[];
  readonly absent: readonly string[] | null;
  readonly txHash: string | null;
}

export interface StepDecision {
  readonly kind: "SUBMIT" | "ABORT";
  readonly value: Digits | null;
  readonly reason: AbortReason | null;
}

export interface StepViolation {
  readonly txId: string;
  /** Null when the peer has no name. */
  readonly nodeId: string | null;
  readonly peerId: string;
  readonly type: ViolationType;
  readonly grade: EvidenceGrade;
}

export interface StepBan {
  readonly nodeId: string | null;
  readonly peerId: string;
  readonly reason: BanReason;
  readonly grade: EvidenceGrade;
}

export interface StepSilence {
  readonly nodeId: string;
  readonly before: number;
  readonly after: number;
}

export interface StepItem {
  readonly txId: string;
  readonly value: Digits;
}

export interface StepAttempt {
  readonly kind: AttemptKind;
  readonly hash: string;
  /** BLAKE3 of the signed bytes: a send names the bytes and not the hash that they should have. */
  readonly bytes: string;
}

/** What was signed inside a call, before its database transaction was committed. */
export interface SignedNote {
  readonly nonce: Digits;
  readonly items: readonly StepItem[];
  readonly attempt: StepAttempt;
}

export interface StepSlot {
  readonly nonce: Digits;
  readonly items: readonly StepItem[];
  readonly attempts: readonly StepAttempt[];
}

export type FinalSlotState = Exclude<SlotState, "RESERVED" | "SIGNED" | "INCLUDED">;

/** A call that changes durable state, or sends. `lease` is the sender's leader epoch under which it is made. */
export type Step =
  /** One transaction's guarded commit. `version` is what it is guarded on, `epochVersion` the trustee set's. @see spec §7.2 */
  | {
      readonly op: "etcd.commit";
      readonly txId: string;
      readonly epochVersion: Digits;
      readonly version: Digits;
      readonly votes: readonly StepVote[];
      readonly counts: readonly StepCount[];
      readonly status: TxStatus;
      readonly record: StepRecord | null;
      readonly decision: StepDecision | null;
      readonly violations: readonly StepViolation[];
      readonly bans: readonly StepBan[];
      readonly silence: readonly StepSilence[];
    }
  | { readonly op: "etcd.violation"; readonly violation: StepViolation; readonly ban: StepBan }
  | { readonly op: "etcd.ban"; readonly ban: StepBan }
  | { readonly op: "etcd.lift"; readonly peerId: string }
  | { readonly op: "etcd.strike"; readonly peerId: string; readonly version: Digits }
  | { readonly op: "etcd.epoch"; readonly epoch: number; readonly epochVersion: Digits }
  | { readonly op: "etcd.purge"; readonly txId: string; readonly level: "votes" | "all" }
  | {
      readonly op: "pg.lead";
      readonly chainId: number;
      readonly sender: string;
      readonly floor: Digits;
    }
  | {
      readonly op: "pg.enqueue";
      readonly txId: string;
      readonly value: Digits;
      readonly decisionRevision: Digits;
    }
  | { readonly op: "pg.assign"; readonly lease: Digits; readonly items: readonly StepItem[] }
  | { readonly op: "pg.reserve"; readonly lease: Digits; readonly items: readonly StepItem[] }
  | {
      readonly op: "pg.attempt";
      readonly lease: Digits;
      readonly nonce: Digits;
      readonly attempt: StepAttempt;
    }
  | {
      readonly op: "pg.include";
      readonly lease: Digits;
      readonly nonce: Digits;
      readonly hash: string;
      readonly blockNumber: Digits;
      readonly blockHash: string;
      readonly status: "success" | "reverted";
    }
  | { readonly op: "pg.reorg"; readonly lease: Digits; readonly nonce: Digits }
  | {
      readonly op: "pg.finalize";
      readonly lease: Digits;
      readonly nonce: Digits;
      readonly state: FinalSlotState;
      readonly items: readonly {
        readonly txId: string;
        readonly outcome: "finalized" | "requeue" | "quarantine";
      }[];
      readonly requeuesMax: number;
    }
  | {
      readonly op: "pg.settle";
      readonly lease: Digits;
      readonly txId: string;
      readonly blockNumber: Digits;
    }
  | { readonly op: "pg.quarantine"; readonly lease: Digits; readonly txId: string }
  | { readonly op: "pg.abort"; readonly lease: Digits; readonly txIds: readonly string[] }
  | { readonly op: "pg.release"; readonly txId: string }
  | { readonly op: "pg.floor"; readonly lease: Digits; readonly floor: Digits }
  | { readonly op: "pg.import"; readonly lease: Digits; readonly throughBlock: Digits }
  | { readonly op: "pg.checked"; readonly lease: Digits }
  | { readonly op: "pg.freeze"; readonly chainId: number; readonly sender: string }
  | { readonly op: "pg.thaw"; readonly chainId: number; readonly sender: string }
  | { readonly op: "pg.confirm"; readonly txIds: readonly string[] }
  | { readonly op: "chain.send"; readonly bytes: string };

export type StepOp = Step["op"];

/** What came back. */
export type StepOutcome =
  /** All of the step was written, at this revision of etcd. */
  | { readonly kind: "committed"; readonly revision: Digits }
  /** A guard failed; nothing was written. `version` is what was found. */
  | { readonly kind: "conflict"; readonly version: Digits }
  /** It took effect now, or had before. */
  | { readonly kind: "done" }
  /** Nothing was changed, for this reason. */
  | { readonly kind: "nothing"; readonly why: string }
  /** Another leader's epoch stands; nothing was changed. */
  | { readonly kind: "fenced" }
  | { readonly kind: "leads"; readonly lease: Digits }
  | {
      readonly kind: "enqueued";
      readonly as: "queued" | "exists" | "recorded" | "archived" | "conflict";
      /** Where it stood, with "exists". */
      readonly state: SubmissionState | null;
    }
  | { readonly kind: "taken"; readonly slot: StepSlot }
  | { readonly kind: "aborted"; readonly txIds: readonly string[] }
  | {
      readonly kind: "imported";
      readonly settled: readonly string[];
      readonly contradicted: readonly string[];
    }
  | { readonly kind: "sent"; readonly answer: string }
  /** The call failed: it may have taken effect, and may not. */
  | { readonly kind: "unknown"; readonly why: string };

/** What a process read that its later steps rest on, and what others did that no step file tells of. */
export type StepSight =
  | {
      readonly what: "config";
      readonly epoch: number;
      readonly epochVersion: Digits;
      readonly threshold: number;
      readonly trustees: readonly { readonly nodeId: string; readonly peerId: string }[];
    }
  /** All bans there were at a revision. */
  | {
      readonly what: "banned";
      readonly revision: Digits;
      readonly bans: readonly StepBan[];
    }
  /** One ban as a revision left it; `ban` is null when it ended there. */
  | {
      readonly what: "ban";
      readonly revision: Digits;
      readonly peerId: string;
      readonly ban: StepBan | null;
    }
  /** Signed bytes that were read back from a committed row of a nonce that is not final; each once. */
  | { readonly what: "stored"; readonly nonce: Digits; readonly bytes: string }
  /** A receipt of one of our transactions. `agreed`: by two endpoints, where there are two. */
  | {
      readonly what: "receipt";
      readonly hash: string;
      readonly status: "success" | "reverted";
      readonly blockNumber: Digits;
      readonly blockHash: string;
      readonly agreed: boolean;
    }
  /** The sender's next nonce at a block, as endpoints agree. */
  | { readonly what: "count"; readonly blockNumber: Digits; readonly count: Digits }
  /** What the contract holds at a block, as endpoints agree. */
  | {
      readonly what: "record";
      readonly blockNumber: Digits;
      readonly txId: string;
      readonly value: Digits | null;
    };

/** The text of a line, without its end of line. */
export function writeStepLine(line: StepLine): string {
  return JSON.stringify(line);
}

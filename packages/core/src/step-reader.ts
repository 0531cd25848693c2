import { parseClusterId, parseNodeId, parsePeerId, parseTxId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { err, type Result } from "./result.ts";
import type {
  Digits,
  SignedNote,
  Step,
  StepAttempt,
  StepBan,
  StepItem,
  StepLine,
  StepOp,
  StepOutcome,
  StepRecord,
  StepSight,
  StepSlot,
  StepViolation,
  StepVote,
} from "./step.ts";
import {
  listOf,
  nullable,
  objectOf,
  parsedBy,
  type Reader,
  textLike,
  trueOrFalse,
  wholeNumber,
  wordOf,
} from "./strict-json.ts";
import type { AttemptKind, SubmissionState } from "./submission-fsm.ts";
import type { AbortReason } from "./tally.ts";
import { type BanReason, type EvidenceGrade, VIOLATION_TYPES } from "./violation.ts";
import { TX_STATUSES } from "./vote-fsm.ts";

const TEXT_CHARS_MAX = 1_000;
const digits: Reader<Digits> = textLike(/^(?:0|[1-9][0-9]{0,77})$/, "a whole number in digits");
const hex: Reader<string> = textLike(/^0x[0-9a-f]*$/, "hexadecimal text");
const bareHex: Reader<string> = textLike(/^[0-9a-f]{64}$/, "a hash of 32 bytes");
const text: Reader<string> = textLike(
  new RegExp(`^[^]{0,${TEXT_CHARS_MAX}}$`),
  `text of at most ${TEXT_CHARS_MAX} characters`,
);
const literal =
  <T extends string | number>(expected: T): Reader<T> =>
  (input, at) =>
    input === expected ? { ok: true, value: expected } : err(`${at} is not ${expected}`);

const txId = parsedBy(parseTxId);
const nodeId = parsedBy(parseNodeId);
const peerId = parsedBy(parsePeerId);
const grade = wordOf<EvidenceGrade>(["PROOF", "OPINION"]);
const abortReason = wordOf<AbortReason>([
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "SPLIT_VOTE",
  "QUORUM_UNREACHABLE",
  "SILENT_FAILURE",
]);
const banReason = wordOf<BanReason>([...VIOLATION_TYPES, "LOW_REPUTATION"]);
const attemptKind = wordOf<AttemptKind>(["ORIGINAL", "BUMP", "CANCEL", "GAPFILL"]);
const chainStatus = wordOf<"success" | "reverted">(["success", "reverted"]);
const submissionState = wordOf<SubmissionState>([
  "QUEUED",
  "ASSIGNED",
  "INCLUDED",
  "FINALIZED",
  "ABORTED",
  "QUARANTINED",
]);

const nodes = listOf(nodeId, LIMITS.trusteesMax);
const txIds = listOf(txId, LIMITS.stepItemsMax);
const vote = objectOf<StepVote>({ nodeId, peerId, epoch: wholeNumber, value: digits });
const violation = objectOf<StepViolation>({
  txId,
  nodeId: nullable(nodeId),
  peerId,
  type: wordOf(VIOLATION_TYPES),
  grade,
});
const ban = objectOf<StepBan>({ nodeId: nullable(nodeId), peerId, reason: banReason, grade });
const item = objectOf<StepItem>({ txId, value: digits });
const items = listOf(item, LIMITS.chainBatchMax);
const attempt = objectOf<StepAttempt>({ kind: attemptKind, hash: hex, bytes: bareHex });
const record = objectOf<StepRecord>({
  epoch: wholeNumber,
  policy: wordOf(["strict-abort", "quarantine-and-continue"]),
  profile: wordOf(["strict", "balanced"]),
  excluded: nodes,
  openedAtMs: wholeNumber,
  deadlineAtMs: wholeNumber,
  value: nullable(digits),
  unanimous: trueOrFalse,
  reason: nullable(abortReason),
  offenders: nodes,
  absent: nullable(nodes),
  txHash: nullable(text),
});

type StepOf<Op extends StepOp> = Extract<Step, { readonly op: Op }>;
const nonceStep = { lease: digits, nonce: digits };
const sender = { chainId: wholeNumber, sender: hex };

const taking = { lease: digits, items: listOf(item, LIMITS.chainBatchMax) };

const STEPS: Readonly<Record<StepOp, Reader<Step>>> = {
  "etcd.commit": objectOf<StepOf<"etcd.commit">>({
    op: literal("etcd.commit"),
    txId,
    epochVersion: digits,
    version: digits,
    votes: listOf(vote, LIMITS.trusteesMax),
    counts: listOf(objectOf({ value: digits, count: wholeNumber }), LIMITS.trusteesMax),
    status: wordOf(TX_STATUSES),
    record: nullable(record),
    decision: nullable(
      objectOf({
        kind: wordOf(["SUBMIT", "ABORT"]),
        value: nullable(digits),
        reason: nullable(abortReason),
      }),
    ),
    violations: listOf(violation, 4 * LIMITS.trusteesMax),
    bans: listOf(ban, LIMITS.trusteesMax),
    silence: listOf(
      objectOf({ nodeId, before: wholeNumber, after: wholeNumber }),
      LIMITS.trusteesMax,
    ),
  }),
  "etcd.violation": objectOf<StepOf<"etcd.violation">>({
    op: literal("etcd.violation"),
    violation,
    ban,
  }),
  "etcd.ban": objectOf<StepOf<"etcd.ban">>({ op: literal("etcd.ban"), ban }),
  "etcd.lift": objectOf<StepOf<"etcd.lift">>({ op: literal("etcd.lift"), peerId }),
  "etcd.strike": objectOf<StepOf<"etcd.strike">>({
    op: literal("etcd.strike"),
    peerId,
    version: digits,
  }),
  "etcd.epoch": objectOf<StepOf<"etcd.epoch">>({
    op: literal("etcd.epoch"),
    epoch: wholeNumber,
    epochVersion: digits,
  }),
  "etcd.purge": objectOf<StepOf<"etcd.purge">>({
    op: literal("etcd.purge"),
    txId,
    level: wordOf(["votes", "all"]),
  }),
  "pg.lead": objectOf<StepOf<"pg.lead">>({ op: literal("pg.lead"), ...sender, floor: digits }),
  "pg.enqueue": objectOf<StepOf<"pg.enqueue">>({
    op: literal("pg.enqueue"),
    txId,
    value: digits,
    decisionRevision: digits,
  }),
  "pg.assign": objectOf<StepOf<"pg.assign">>({ op: literal("pg.assign"), ...taking }),
  "pg.reserve": objectOf<StepOf<"pg.reserve">>({ op: literal("pg.reserve"), ...taking }),
  "pg.attempt": objectOf<StepOf<"pg.attempt">>({
    op: literal("pg.attempt"),
    ...nonceStep,
    attempt,
  }),
  "pg.include": objectOf<StepOf<"pg.include">>({
    op: literal("pg.include"),
    ...nonceStep,
    hash: hex,
    blockNumber: digits,
    blockHash: hex,
    status: chainStatus,
  }),
  "pg.reorg": objectOf<StepOf<"pg.reorg">>({ op: literal("pg.reorg"), ...nonceStep }),
  "pg.finalize": objectOf<StepOf<"pg.finalize">>({
    op: literal("pg.finalize"),
    ...nonceStep,
    state: wordOf(["FINALIZED_OK", "FINALIZED_REVERTED", "FINALIZED_FOREIGN", "FINALIZED_CANCEL"]),
    items: listOf(
      objectOf({ txId, outcome: wordOf(["finalized", "requeue", "quarantine"]) }),
      LIMITS.chainBatchMax,
    ),
    requeuesMax: wholeNumber,
  }),
  "pg.settle": objectOf<StepOf<"pg.settle">>({
    op: literal("pg.settle"),
    lease: digits,
    txId,
    blockNumber: digits,
  }),
  "pg.quarantine": objectOf<StepOf<"pg.quarantine">>({
    op: literal("pg.quarantine"),
    lease: digits,
    txId,
  }),
  "pg.abort": objectOf<StepOf<"pg.abort">>({ op: literal("pg.abort"), lease: digits, txIds }),
  "pg.release": objectOf<StepOf<"pg.release">>({ op: literal("pg.release"), txId }),
  "pg.floor": objectOf<StepOf<"pg.floor">>({
    op: literal("pg.floor"),
    lease: digits,
    floor: digits,
  }),
  "pg.import": objectOf<StepOf<"pg.import">>({
    op: literal("pg.import"),
    lease: digits,
    throughBlock: digits,
  }),
  "pg.checked": objectOf<StepOf<"pg.checked">>({ op: literal("pg.checked"), lease: digits }),
  "pg.freeze": objectOf<StepOf<"pg.freeze">>({ op: literal("pg.freeze"), ...sender }),
  "pg.thaw": objectOf<StepOf<"pg.thaw">>({ op: literal("pg.thaw"), ...sender }),
  "pg.confirm": objectOf<StepOf<"pg.confirm">>({ op: literal("pg.confirm"), txIds }),
  "chain.send": objectOf<StepOf<"chain.send">>({ op: literal("chain.send"), bytes: bareHex }),
};

type Outcome<Kind extends StepOutcome["kind"]> = Extract<StepOutcome, { readonly kind: Kind }>;
const slot = objectOf<StepSlot>({
  nonce: digits,
  items,
  attempts: listOf(attempt, LIMITS.stepItemsMax),
});

const OUTCOMES: Readonly<Record<StepOutcome["kind"], Reader<StepOutcome>>> = {
  committed: objectOf<Outcome<"committed">>({ kind: literal("committed"), revision: digits }),
  conflict: objectOf<Outcome<"conflict">>({ kind: literal("conflict"), version: digits }),
  done: objectOf<Outcome<"done">>({ kind: literal("done") }),
  nothing: objectOf<Outcome<"nothing">>({ kind: literal("nothing"), why: text }),
  fenced: objectOf<Outcome<"fenced">>({ kind: literal("fenced") }),
  leads: objectOf<Outcome<"leads">>({ kind: literal("leads"), lease: digits }),
  enqueued: objectOf<Outcome<"enqueued">>({
    kind: literal("enqueued"),
    as: wordOf(["queued", "exists", "recorded", "archived", "conflict"]),
    state: nullable(submissionState),
  }),
  taken: objectOf<Outcome<"taken">>({ kind: literal("taken"), slot }),
  aborted: objectOf<Outcome<"aborted">>({ kind: literal("aborted"), txIds }),
  imported: objectOf<Outcome<"imported">>({
    kind: literal("imported"),
    settled: txIds,
    contradicted: txIds,
  }),
  sent: objectOf<Outcome<"sent">>({ kind: literal("sent"), answer: text }),
  unknown: objectOf<Outcome<"unknown">>({ kind: literal("unknown"), why: text }),
};

type Sight<What extends StepSight["what"]> = Extract<StepSight, { readonly what: What }>;

const SIGHTS: Readonly<Record<StepSight["what"], Reader<StepSight>>> = {
  config: objectOf<Sight<"config">>({
    what: literal("config"),
    epoch: wholeNumber,
    epochVersion: digits,
    threshold: wholeNumber,
    trustees: listOf(objectOf({ nodeId, peerId }), LIMITS.trusteesMax),
  }),
  banned: objectOf<Sight<"banned">>({
    what: literal("banned"),
    revision: digits,
    bans: listOf(ban, LIMITS.stepItemsMax),
  }),
  ban: objectOf<Sight<"ban">>({
    what: literal("ban"),
    revision: digits,
    peerId,
    ban: nullable(ban),
  }),
  stored: objectOf<Sight<"stored">>({ what: literal("stored"), nonce: digits, bytes: bareHex }),
  receipt: objectOf<Sight<"receipt">>({
    what: literal("receipt"),
    hash: hex,
    status: chainStatus,
    blockNumber: digits,
    blockHash: hex,
    agreed: trueOrFalse,
  }),
  count: objectOf<Sight<"count">>({ what: literal("count"), blockNumber: digits, count: digits }),
  record: objectOf<Sight<"record">>({
    what: literal("record"),
    blockNumber: digits,
    txId,
    value: nullable(digits),
  }),
};

/** Reads an object by the word that it carries under `key`. */
function byWord<T>(key: string, readers: Readonly<Record<string, Reader<T>>>): Reader<T> {
  return (input, at) => {
    const word =
      typeof input === "object" && input !== null && Object.hasOwn(input, key)
        ? new Map<string, unknown>(Object.entries(input)).get(key)
        : undefined;
    if (typeof word !== "string" || !Object.hasOwn(readers, word))
      return err(`${at}.${key} is none of ${Object.keys(readers).join(", ")}`);
    const reader = readers[word];
    return reader === undefined ? err(`${at}.${key} is unknown`) : reader(input, at);
  };
}

type LineOf<Line extends StepLine["line"]> = Extract<StepLine, { readonly line: Line }>;
const common = { at: wholeNumber };
const LINES: Readonly<Record<StepLine["line"], Reader<StepLine>>> = {
  start: objectOf<LineOf<"start">>({
    line: literal("start"),
    ...common,
    format: literal(1),
    run: textLike(/^[A-Za-z0-9-]{1,64}$/, "the name of a run"),
    program: textLike(/^[a-z][a-z0-9-]{0,31}$/, "the name of a program"),
    name: text,
    clusterId: parsedBy(parseClusterId),
    pid: wholeNumber,
    boot: nullable(text),
    startedAtMs: wholeNumber,
    protocol: nullable(objectOf({ settleMs: wholeNumber, silenceStreakMax: wholeNumber })),
  }),
  begin: objectOf<LineOf<"begin">>({
    line: literal("begin"),
    ...common,
    call: wholeNumber,
    step: byWord("op", STEPS),
  }),
  note: objectOf<LineOf<"note">>({
    line: literal("note"),
    ...common,
    call: wholeNumber,
    signed: objectOf<SignedNote>({ nonce: digits, items, attempt }),
  }),
  end: objectOf<LineOf<"end">>({
    line: literal("end"),
    ...common,
    call: wholeNumber,
    outcome: byWord("kind", OUTCOMES),
  }),
  saw: objectOf<LineOf<"saw">>({
    line: literal("saw"),
    ...common,
    sight: byWord("what", SIGHTS),
  }),
  stop: objectOf<LineOf<"stop">>({ line: literal("stop"), ...common }),
};
const anyLine = byWord<StepLine>("line", LINES);

/** Reads one line back. The error says what is wrong and where in the line. */
export function readStepLine(line: string): Result<StepLine, string> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return err("it is not JSON");
  }
  return anyLine(json, "line");
}

import type { Step, StepAttempt, StepItem, StepOp } from "@quorate/core";
import type { EtcdHistory } from "./etcd-history.ts";
import { type Call, type Run, type Sighting, wasBefore } from "./read-runs.ts";
import type { Refusal } from "./refusal.ts";

type StepOf<Op extends StepOp> = Extract<Step, { readonly op: Op }>;

/** A recorded call of one kind, with its step as that kind. */
export interface CallOf<Op extends StepOp> {
  readonly call: Call;
  readonly step: StepOf<Op>;
}

/** Signed bytes that some call stored for a nonce. */
export interface StoredAttempt {
  readonly nonce: string;
  readonly attempt: StepAttempt;
  readonly call: Call;
  /** Whether the store said so, or only what was seen later. */
  readonly known: boolean;
}

/** A nonce as it was taken: which results it carries. */
export interface TakenSlot {
  readonly nonce: string;
  readonly lease: string;
  readonly items: readonly StepItem[];
  readonly call: Call;
}

/** What one cluster's submitters did, before it is put in order for each result. */
export interface SubmissionHistory {
  readonly leads: readonly (CallOf<"pg.lead"> & { readonly lease: string })[];
  readonly enqueues: ReadonlyMap<string, readonly CallOf<"pg.enqueue">[]>;
  readonly slots: ReadonlyMap<string, TakenSlot>;
  readonly attempts: readonly StoredAttempt[];
  readonly attemptsByBytes: ReadonlyMap<string, StoredAttempt>;
  readonly attemptsByHash: ReadonlyMap<string, StoredAttempt>;
  readonly includes: readonly CallOf<"pg.include">[];
  readonly reorgs: readonly CallOf<"pg.reorg">[];
  readonly finals: readonly CallOf<"pg.finalize">[];
  readonly sends: readonly CallOf<"chain.send">[];
  readonly aborts: readonly CallOf<"pg.abort">[];
  readonly confirms: readonly CallOf<"pg.confirm">[];
  /** Results that a person or a contradiction moved: the model ends there. */
  readonly beyond: ReadonlySet<string>;
  readonly refusals: readonly Refusal[];
  readonly counts: { readonly sends: number; readonly slots: number };
}

export function submissionHistory(
  cluster: string,
  runs: readonly Run[],
  etcd: EtcdHistory,
): SubmissionHistory {
  const calls = runs.flatMap((run) => run.calls);
  const sights = runs.flatMap((run) => run.sights);
  const of = <Op extends StepOp>(op: Op): readonly CallOf<Op>[] =>
    calls.flatMap((call) => (isOf(call.step, op) ? [{ call, step: call.step }] : []));
  const sends = of("chain.send");
  const attempts = storedAttempts(calls, sights, sends);
  const attemptsByBytes = new Map(attempts.map((a) => [a.attempt.bytes, a]));
  const attemptsByHash = new Map(attempts.map((a) => [a.attempt.hash, a]));
  const finals = of("pg.finalize");
  const slots = takenSlots(calls, attemptsByBytes, finals);
  const enqueues = groupBy(of("pg.enqueue"), ({ step }) => step.txId);
  const leads = of("pg.lead").flatMap((lead) =>
    lead.call.outcome.kind === "leads" ? [{ ...lead, lease: lead.call.outcome.lease }] : [],
  );
  const refusals = [
    ...wrongLeads(cluster, leads),
    ...wrongSends(cluster, sends, attemptsByBytes, sights),
    ...wrongInclusions(cluster, of("pg.include"), attemptsByHash, sights),
    ...wrongEnqueues(cluster, of("pg.enqueue"), etcd),
    ...twoSlotsOfOneNonce(cluster, calls),
  ];
  return {
    leads,
    enqueues,
    slots,
    attempts,
    attemptsByBytes,
    attemptsByHash,
    includes: of("pg.include"),
    reorgs: of("pg.reorg"),
    finals,
    sends,
    aborts: of("pg.abort"),
    confirms: of("pg.confirm"),
    beyond: beyondTheModel(calls),
    refusals,
    counts: { sends: sends.length, slots: slots.size },
  };
}

function isOf<Op extends StepOp>(step: Step, op: Op): step is StepOf<Op> {
  return step.op === op;
}

function groupBy<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Everything that was signed and stored. Of a call without a reply it counts when its bytes were seen later. */
function storedAttempts(
  calls: readonly Call[],
  sights: readonly Sighting[],
  sends: readonly CallOf<"chain.send">[],
): readonly StoredAttempt[] {
  const seen = new Set<string>();
  for (const { sight } of sights) {
    if (sight.what === "stored") seen.add(sight.bytes);
    if (sight.what === "receipt") seen.add(sight.hash);
  }
  for (const { step } of sends) seen.add(step.bytes);
  const wasSeen = ({ bytes, hash }: StepAttempt): boolean => seen.has(bytes) || seen.has(hash);
  const found: StoredAttempt[] = [];
  for (const call of calls) {
    const { step, outcome, signed } = call;
    if (step.op === "pg.attempt") {
      const known = outcome.kind === "done";
      if (known || (outcome.kind === "unknown" && wasSeen(step.attempt)))
        found.push({ nonce: step.nonce, attempt: step.attempt, call, known });
    }
    if (step.op !== "pg.assign") continue;
    if (outcome.kind === "taken")
      for (const attempt of outcome.slot.attempts)
        found.push({ nonce: outcome.slot.nonce, attempt, call, known: true });
    else if (outcome.kind === "unknown" && signed !== null && wasSeen(signed.attempt))
      found.push({ nonce: signed.nonce, attempt: signed.attempt, call, known: false });
  }
  // The next leader may sign the very same bytes after a call without a reply; then only one of the two was committed, and
  // it is the one that was told so.
  const told = new Set(found.flatMap(({ known, attempt }) => (known ? [attempt.bytes] : [])));
  return found.filter(({ known, attempt }) => known || !told.has(attempt.bytes));
}

/** Nonces by who took them. */
function takenSlots(
  calls: readonly Call[],
  byBytes: ReadonlyMap<string, StoredAttempt>,
  finals: readonly CallOf<"pg.finalize">[],
): ReadonlyMap<string, TakenSlot> {
  const slots = new Map<string, TakenSlot>();
  const lostReserves: {
    readonly call: Call;
    readonly lease: string;
    readonly items: readonly StepItem[];
  }[] = [];
  for (const call of calls) {
    const { step, outcome, signed } = call;
    if (step.op !== "pg.assign" && step.op !== "pg.reserve") continue;
    const { lease } = step;
    if (outcome.kind === "taken")
      slots.set(outcome.slot.nonce, {
        nonce: outcome.slot.nonce,
        lease,
        items: outcome.slot.items,
        call,
      });
    else if (outcome.kind === "unknown" && signed !== null) {
      if (byBytes.get(signed.attempt.bytes)?.call === call)
        slots.set(signed.nonce, { nonce: signed.nonce, lease, items: signed.items, call });
    } else if (outcome.kind === "unknown" && step.op === "pg.reserve")
      lostReserves.push({ call, lease, items: step.items });
  }
  // A nonce that was reserved without a reply is known by what was signed for it; by whom, by what it carried in the end.
  for (const call of calls) {
    const { step } = call;
    if (step.op !== "pg.attempt" || step.attempt.kind !== "ORIGINAL" || slots.has(step.nonce))
      continue;
    const ids = new Set(
      finals
        .filter((final) => final.step.nonce === step.nonce)
        .flatMap((final) => final.step.items.map(({ txId }) => txId)),
    );
    const at = lostReserves.findIndex(
      (lost) =>
        lost.call.beganAt <= call.beganAt &&
        (ids.size === 0 || lost.items.some(({ txId }) => ids.has(txId))),
    );
    const [lost] = at < 0 ? [] : lostReserves.splice(at, 1);
    if (lost === undefined) continue;
    const items = lost.items.filter(({ txId }) => ids.size === 0 || ids.has(txId));
    slots.set(step.nonce, { nonce: step.nonce, lease: lost.lease, items, call: lost.call });
  }
  return slots;
}

function beyondTheModel(calls: readonly Call[]): ReadonlySet<string> {
  const beyond = new Set<string>();
  for (const { step, outcome } of calls) {
    if (outcome.kind === "fenced" || outcome.kind === "nothing") continue;
    if (step.op === "pg.quarantine" || step.op === "pg.release" || step.op === "pg.settle")
      beyond.add(step.txId);
    if (step.op === "pg.finalize")
      for (const { txId, outcome: end } of step.items) if (end === "quarantine") beyond.add(txId);
    if (outcome.kind === "imported")
      for (const txId of [...outcome.settled, ...outcome.contradicted]) beyond.add(txId);
    if (step.op === "pg.enqueue" && outcome.kind === "enqueued")
      if (["conflict", "recorded", "archived"].includes(outcome.as)) beyond.add(step.txId);
  }
  return beyond;
}

function refuse(
  cluster: string,
  about: string,
  { place, step }: Call,
  guard: string,
  state: Refusal["state"] = null,
): Refusal {
  return { cluster, about, place, step, guard, state, by: "order" };
}

/** Each lead has an epoch of its own, and a later one a higher. */
function wrongLeads(cluster: string, leads: SubmissionHistory["leads"]): readonly Refusal[] {
  const found: Refusal[] = [];
  const sorted = leads.toSorted((a, b) => Number(BigInt(a.lease) - BigInt(b.lease)));
  for (const [i, lead] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before === undefined) continue;
    const same = before.lease === lead.lease && before.step.sender === lead.step.sender;
    if (same || wasBefore(lead.call, before.call))
      found.push(
        refuse(
          cluster,
          `leader epoch ${lead.lease}`,
          lead.call,
          "each lead gets an epoch that is higher than all before",
          { "epoch given before": before.lease },
        ),
      );
  }
  return found;
}

/** R9 (1): what is sent was stored, and that was known to whoever sent it: by the store's reply, or by reading it back. */
function wrongSends(
  cluster: string,
  sends: readonly CallOf<"chain.send">[],
  byBytes: ReadonlyMap<string, StoredAttempt>,
  sights: readonly Sighting[],
): readonly Refusal[] {
  const readBack = new Map<string, Sighting[]>();
  for (const sighting of sights) {
    if (sighting.sight.what !== "stored") continue;
    const list = readBack.get(sighting.sight.bytes) ?? [];
    readBack.set(sighting.sight.bytes, list);
    list.push(sighting);
  }
  return sends.flatMap(({ call, step }) => {
    const stored = byBytes.get(step.bytes);
    const about = stored === undefined ? "unknown bytes" : `nonce ${stored.nonce}`;
    const own =
      stored?.known === true &&
      stored.call.run === call.run &&
      (stored.call.endedAt ?? Number.POSITIVE_INFINITY) <= call.beganAt;
    const read = (readBack.get(step.bytes) ?? []).some(
      ({ run, at }) => run === call.run && at <= call.beganAt,
    );
    if (stored !== undefined && (own || read)) return [];
    const guard =
      stored === undefined
        ? "only stored bytes are sent, and nobody stored these"
        : "only bytes that are known to be committed are sent: the store had not said so, nor were they read back";
    return [refuse(cluster, about, call, guard)];
  });
}

/** What is marked as included is ours, and its receipt was seen. */
function wrongInclusions(
  cluster: string,
  includes: readonly CallOf<"pg.include">[],
  byHash: ReadonlyMap<string, StoredAttempt>,
  sights: readonly Sighting[],
): readonly Refusal[] {
  const receipts = receiptsByHash(sights);
  return includes.flatMap(({ call, step }) => {
    const about = `nonce ${step.nonce}`;
    if (byHash.get(step.hash)?.nonce !== step.nonce)
      return [
        refuse(cluster, about, call, "an inclusion names an attempt that is stored for its nonce"),
      ];
    const seen = (receipts.get(step.hash) ?? []).some(
      ({ run, at, sight }) =>
        run === call.run &&
        at <= call.beganAt &&
        sight.what === "receipt" &&
        sight.blockHash === step.blockHash,
    );
    return seen
      ? []
      : [refuse(cluster, about, call, "an inclusion rests on a receipt that was seen")];
  });
}

/** Receipts that were seen, by the transaction that they are of. */
export function receiptsByHash(
  sights: readonly Sighting[],
): ReadonlyMap<string, readonly Sighting[]> {
  const receipts = sights.filter(({ sight }) => sight.what === "receipt");
  return groupBy(receipts, ({ sight }) => (sight.what === "receipt" ? sight.hash : ""));
}

/** What is queued was claimed in etcd before: with this value, and at this revision or before it. */
function wrongEnqueues(
  cluster: string,
  enqueues: readonly CallOf<"pg.enqueue">[],
  etcd: EtcdHistory,
): readonly Refusal[] {
  return enqueues.flatMap(({ call, step }) => {
    const commits = etcd.commits.get(step.txId) ?? [];
    const decision = commits.find((commit) => commit.step.decision !== null);
    const state = {
      "decision in etcd":
        decision === undefined
          ? "none"
          : `${decision.step.decision?.kind} ${decision.step.decision?.value ?? decision.step.decision?.reason} at revision ${decision.revision}`,
    };
    const claimed =
      decision?.step.decision?.kind === "SUBMIT" &&
      decision.step.decision.value === step.value &&
      decision.revision <= BigInt(step.decisionRevision) &&
      !wasBefore(call, decision.call);
    return claimed
      ? []
      : [
          refuse(
            cluster,
            step.txId,
            call,
            "only what etcd's write-once decision says is queued, after it and with its value",
            state,
          ),
        ];
  });
}

/** A nonce is taken once. */
function twoSlotsOfOneNonce(cluster: string, calls: readonly Call[]): readonly Refusal[] {
  const taken = new Map<string, Call>();
  const found: Refusal[] = [];
  for (const call of calls) {
    if (call.outcome.kind !== "taken") continue;
    const { nonce } = call.outcome.slot;
    const before = taken.get(nonce);
    if (before !== undefined)
      found.push(
        refuse(cluster, `nonce ${nonce}`, call, "a nonce is taken once", {
          "taken before at": `${before.place.file}:${before.place.line}`,
        }),
      );
    else taken.set(nonce, call);
  }
  return found;
}

import type { EtcdHistory } from "./etcd-history.ts";
import { type Event, inOrder } from "./partial-order.ts";
import type { Call, Sighting } from "./read-runs.ts";
import {
  receiptsByHash,
  type StoredAttempt,
  type SubmissionHistory,
  type TakenSlot,
} from "./submission-history.ts";
import { NONE, type Tla, tlaText } from "./tla-text.ts";
import type { TraceStep } from "./voting-projection.ts";

/** What happened to one result, or to one nonce that carries none, as TraceSubmission follows it. */
export interface SubmissionProjection {
  readonly about: string;
  readonly nonces: number;
  readonly leads: number;
  readonly steps: readonly TraceStep[];
  readonly shape: string;
}

interface Entry extends Event {
  readonly tla: (names: Names) => readonly Readonly<Record<string, Tla>>[];
  readonly restsOn: Entry[];
}

interface Names {
  readonly nonce: (nonce: string) => number;
  readonly leader: (lease: string) => string;
  /** The leader that a process was when it did something without saying so. */
  readonly actor: (call: Call) => string | null;
}

/** Each result that was queued, and each nonce that was filled with nothing, as a trace of its own. */
export function submissionProjections(
  history: SubmissionHistory,
  etcd: EtcdHistory,
  sights: readonly Sighting[],
): readonly SubmissionProjection[] {
  const index = new Index(history, sights);
  const ids = new Set<string>(history.enqueues.keys());
  for (const { items } of history.slots.values()) for (const { txId } of items) ids.add(txId);
  const projections: SubmissionProjection[] = [];
  for (const txId of ids) {
    if (history.beyond.has(txId)) continue;
    const slots = index.slotsOf(txId);
    const entries = entriesOf(txId, slots, index, etcd);
    projections.push(
      projection(
        txId,
        entries,
        slots.map(({ nonce }) => nonce),
        index,
      ),
    );
  }
  for (const nonce of index.fillerNonces()) {
    const entries = nonceEntries(nonce, null, index);
    projections.push(projection(`nonce ${nonce}`, entries, [nonce], index));
  }
  return projections;
}

/** The history by nonce and by result, so that no trace has to look through all of it. */
class Index {
  readonly history: SubmissionHistory;
  readonly #slots = new Map<string, TakenSlot[]>();
  readonly #byNonce = new Map<string, StoredAttempt[]>();
  readonly #steps = new Map<string, { call: Call; kind: "include" | "reorg" | "finalize" }[]>();
  readonly #sends = new Map<string, { call: Call; stored: StoredAttempt }[]>();
  readonly #confirms = new Map<string, Call[]>();
  readonly #aborts = new Map<string, Call[]>();
  readonly #receipts: ReadonlyMap<string, readonly Sighting[]>;
  readonly #counts: readonly Sighting[];
  readonly #leadsByRun = new Map<string, { call: Call; lease: string }[]>();

  constructor(history: SubmissionHistory, sights: readonly Sighting[]) {
    this.history = history;
    this.#receipts = receiptsByHash(sights);
    this.#counts = sights.filter(({ sight }) => sight.what === "count");
    const push = <T>(map: Map<string, T[]>, key: string, item: T): void => {
      const list = map.get(key);
      if (list === undefined) map.set(key, [item]);
      else list.push(item);
    };
    for (const slot of history.slots.values())
      for (const { txId } of slot.items) push(this.#slots, txId, slot);
    for (const list of this.#slots.values())
      list.sort((a, b) => Number(BigInt(a.nonce) - BigInt(b.nonce)));
    for (const attempt of history.attempts) push(this.#byNonce, attempt.nonce, attempt);
    for (const { call, step } of history.includes)
      push(this.#steps, step.nonce, { call, kind: "include" });
    for (const { call, step } of history.reorgs)
      push(this.#steps, step.nonce, { call, kind: "reorg" });
    for (const { call, step } of history.finals)
      push(this.#steps, step.nonce, { call, kind: "finalize" });
    for (const { call, step } of history.sends) {
      const stored = history.attemptsByBytes.get(step.bytes);
      if (stored !== undefined) push(this.#sends, stored.nonce, { call, stored });
    }
    for (const { call, step } of history.confirms)
      for (const txId of step.txIds) push(this.#confirms, txId, call);
    for (const { call } of history.aborts)
      if (call.outcome.kind === "aborted")
        for (const txId of call.outcome.txIds) push(this.#aborts, txId, call);
    for (const { call, lease } of history.leads)
      push(this.#leadsByRun, call.run.file, { call, lease });
  }

  slotsOf = (txId: string): readonly TakenSlot[] => this.#slots.get(txId) ?? [];
  attemptsOf = (nonce: string): readonly StoredAttempt[] => this.#byNonce.get(nonce) ?? [];
  stepsOf = (nonce: string): readonly { call: Call; kind: "include" | "reorg" | "finalize" }[] =>
    this.#steps.get(nonce) ?? [];
  sendsOf = (nonce: string): readonly { call: Call; stored: StoredAttempt }[] =>
    this.#sends.get(nonce) ?? [];
  confirmsOf = (txId: string): readonly Call[] => this.#confirms.get(txId) ?? [];
  abortsOf = (txId: string): readonly Call[] => this.#aborts.get(txId) ?? [];

  fillerNonces(): readonly string[] {
    return [...this.#byNonce.keys()].filter((nonce) => !this.history.slots.has(nonce));
  }

  /** The lease that a run had taken last when it made a call. */
  leaseAt(call: Call): string | null {
    const leads = this.#leadsByRun.get(call.run.file) ?? [];
    return leads.findLast((lead) => lead.call.beganAt <= call.beganAt)?.lease ?? null;
  }

  /** The receipt by which a run knew how a nonce ended. */
  receiptBefore(call: Call, nonce: string, status: "success" | "reverted"): StoredAttempt | null {
    for (const attempt of this.attemptsOf(nonce))
      for (const { run, at, sight } of this.#receipts.get(attempt.attempt.hash) ?? []) {
        if (run !== call.run || at > call.beganAt || sight.what !== "receipt") continue;
        if (sight.agreed && sight.status === status) return attempt;
      }
    return null;
  }

  /** Whether a run had seen that a nonce is used for good. */
  countBefore(call: Call, nonce: string): boolean {
    return this.#counts.some(
      ({ run, at, sight }) =>
        run === call.run &&
        at <= call.beganAt &&
        sight.what === "count" &&
        BigInt(sight.count) > BigInt(nonce),
    );
  }
}

function entriesOf(
  txId: string,
  slots: readonly TakenSlot[],
  index: Index,
  etcd: EtcdHistory,
): readonly Entry[] {
  const { history } = index;
  const entries: Entry[] = [];
  const add = (
    call: Call,
    lease: string | null,
    tla: Entry["tla"],
    restsOn: readonly (Entry | undefined)[] = [],
  ): Entry => {
    const entry: Entry = {
      call,
      lease: lease === null ? null : BigInt(lease),
      tla,
      restsOn: restsOn.flatMap((cause) => (cause === undefined ? [] : [cause])),
    };
    entries.push(entry);
    return entry;
  };
  const commits = etcd.commits.get(txId) ?? [];
  const decision = commits.find(({ step }) => step.decision !== null);
  const word = decision?.step.decision?.kind;
  const rule =
    decision === undefined || word === undefined
      ? undefined
      : add(decision.call, null, () => [{ do: "rule", word }]);
  const queueing = queueingOf(history.enqueues.get(txId)?.map(({ call }) => call) ?? []);
  const enqueue =
    queueing === null ? undefined : add(queueing, null, () => [{ do: "enqueue" }], [rule]);
  for (const call of index.abortsOf(txId))
    if (call.step.op === "pg.abort") {
      const { lease } = call.step;
      add(call, lease, (names) => [{ do: "abort", p: names.leader(lease) }], [enqueue, rule]);
    }
  let before: Entry | undefined = enqueue;
  const finals: Entry[] = [];
  for (const slot of slots) {
    const ofSlot = nonceEntries(slot.nonce, { txId, slot, after: before }, index);
    entries.push(...ofSlot);
    before = ofSlot.findLast(({ call }) => call.step.op === "pg.finalize") ?? before;
    finals.push(...ofSlot.filter(({ call }) => call.step.op === "pg.finalize"));
  }
  const confirmed = commits.find(({ step }) => step.status === "CONFIRMED");
  const confirms = [
    ...(confirmed === undefined ? [] : [confirmed.call]),
    ...index.confirmsOf(txId),
  ];
  for (const call of confirms) add(call, null, () => [{ do: "confirm" }], finals);
  return entries;
}

/** The call that queued it: the one that says so, or one without a reply. */
function queueingOf(calls: readonly Call[]): Call | null {
  const queued = calls.find(
    ({ outcome }) => outcome.kind === "enqueued" && outcome.as === "queued",
  );
  return queued ?? calls.find(({ outcome }) => outcome.kind === "unknown") ?? null;
}

/** All that was done with one nonce. @param carried the result that it is looked at for; null for a nonce that carries none */
function nonceEntries(
  nonce: string,
  carried: {
    readonly txId: string;
    readonly slot: TakenSlot;
    readonly after: Entry | undefined;
  } | null,
  index: Index,
): readonly Entry[] {
  const entries: Entry[] = [];
  const add = (
    call: Call,
    lease: string | null,
    tla: Entry["tla"],
    restsOn: readonly (Entry | undefined)[] = [],
  ): Entry => {
    const causes = restsOn.flatMap((cause) => (cause === undefined ? [] : [cause]));
    const entry = { call, lease: lease === null ? null : BigInt(lease), tla, restsOn: causes };
    entries.push(entry);
    return entry;
  };
  let taken: Entry | undefined;
  if (carried !== null) {
    const { slot, after } = carried;
    const fields = (names: Names): readonly Record<string, Tla>[] => [
      { do: "assign", p: names.leader(slot.lease), n: names.nonce(nonce) },
    ];
    taken = add(slot.call, slot.lease, fields, [after]);
  }
  const stored = new Map<string, Entry | undefined>();
  for (const { attempt, call } of index.attemptsOf(nonce)) {
    stored.set(attempt.bytes, taken);
    if (call.step.op !== "pg.attempt" || attempt.kind === "ORIGINAL") continue;
    const { lease } = call.step;
    // Told with each; that it was skipped counts once, before whichever comes first.
    const skipped = carried === null ? [{ do: "skipped", n: 1 } as const] : [];
    const entry = add(
      call,
      lease,
      (names) => [
        ...skipped,
        { do: "attempt", p: names.leader(lease), n: names.nonce(nonce), kind: attempt.kind },
      ],
      [taken],
    );
    stored.set(attempt.bytes, entry);
    taken ??= entry;
  }
  const sends = index.sendsOf(nonce).map(({ call, stored: { attempt } }) =>
    add(
      call,
      null,
      (names) => {
        const p = names.actor(call);
        return p === null ? [] : [{ do: "send", p, n: names.nonce(nonce), kind: attempt.kind }];
      },
      [stored.get(attempt.bytes)],
    ),
  );
  addMoves(nonce, carried?.txId ?? null, index, [taken, ...sends], add);
  return entries;
}

function addMoves(
  nonce: string,
  txId: string | null,
  index: Index,
  causes: readonly (Entry | undefined)[],
  add: (
    call: Call,
    lease: string | null,
    tla: Entry["tla"],
    restsOn: readonly (Entry | undefined)[],
  ) => Entry,
): void {
  const steps = index.stepsOf(nonce);
  const finalKnown = steps.some(
    ({ call, kind }) => kind === "finalize" && call.outcome.kind === "done",
  );
  for (const { call, kind } of steps) {
    const { step, outcome } = call;
    // Without a reply: an inclusion or a reorg makes no difference to what may follow. An end does, unless it was told again.
    const lost = outcome.kind === "unknown" && kind === "finalize" && !finalKnown;
    if (outcome.kind !== "done" && !lost) continue;
    if (step.op === "pg.include" || step.op === "pg.reorg")
      add(
        call,
        step.lease,
        (names) => [{ do: kind, p: names.leader(step.lease), n: names.nonce(nonce) }],
        causes,
      );
    if (step.op !== "pg.finalize") continue;
    // A lost end counts only where something follows from it.
    if (lost && (txId === null || index.confirmsOf(txId).length === 0)) continue;
    const end = step.items.find((item) => item.txId === txId)?.outcome;
    const row: Tla = end === "finalized" ? "FINALIZED" : end === "requeue" ? "QUEUED" : NONE;
    const status = step.state === "FINALIZED_REVERTED" ? "reverted" : "success";
    const foreign = step.state === "FINALIZED_FOREIGN";
    const mined = foreign ? null : index.receiptBefore(call, nonce, status);
    const counted = foreign && index.countBefore(call, nonce);
    add(
      call,
      step.lease,
      (names) => {
        const n = names.nonce(nonce);
        const chain: Record<string, Tla>[] = counted ? [{ do: "mine foreign", n }] : [];
        if (mined !== null)
          chain.push({ do: "mine", n, kind: mined.attempt.kind, ok: status === "success" });
        if (chain.length > 0) chain.push({ do: "finality", n });
        const p = names.leader(step.lease);
        return [...chain, { do: "finalize", p, n, state: step.state, row }];
      },
      causes,
    );
  }
}

function projection(
  about: string,
  entries: readonly Entry[],
  nonces: readonly string[],
  index: Index,
): SubmissionProjection {
  const all = [...entries];
  for (const lead of relevantLeads(entries, index)) {
    const { call, lease } = lead;
    all.push({
      call,
      lease: BigInt(lease),
      restsOn: [],
      tla: (names) => [{ do: "lead", p: names.leader(lease) }],
    });
  }
  // A lead comes before all that is done under its epoch.
  const ordered = inOrder(withLeadsFirst(all));
  const leaders = new Map<string, string>();
  const names: Names = {
    nonce: (nonce) => nonces.indexOf(nonce) + 1,
    leader: (lease) => {
      const known = leaders.get(lease) ?? `p${leaders.size + 1}`;
      leaders.set(lease, known);
      return known;
    },
    actor: (call) => {
      const lease = index.leaseAt(call);
      return lease === null ? null : names.leader(lease);
    },
  };
  const mined = new Set<string>();
  const steps = ordered.flatMap(({ call, tla }) =>
    tla(names)
      // The chain has it once, however often somebody tells of its end.
      .filter((fields) => isNew(fields, mined))
      .map(
        (fields): TraceStep => ({
          tla: { record: fields },
          place: call.place,
          step: call.step,
        }),
      ),
  );
  return {
    about,
    nonces: Math.max(1, nonces.length),
    leads: Math.max(1, leaders.size),
    steps,
    shape: `<<${steps.map(({ tla }) => tlaText(tla)).join(",\n")}>>`,
  };
}

/** False for what the chain did and was told already. */
function isNew(fields: Readonly<Record<string, Tla>>, seen: Set<string>): boolean {
  const { do: what, n } = fields;
  const chain = what === "mine" || what === "mine foreign";
  if (!chain && what !== "finality" && what !== "skipped") return true;
  const key = `${chain ? "mined" : what} ${JSON.stringify(n)}`;
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

function withLeadsFirst(entries: readonly Entry[]): readonly Entry[] {
  const leads = new Map(
    entries.filter(({ call }) => call.step.op === "pg.lead").map((lead) => [lead.lease, lead]),
  );
  for (const entry of entries) {
    const lead = entry.lease === null ? undefined : leads.get(entry.lease);
    if (lead !== undefined && lead !== entry) entry.restsOn.push(lead);
  }
  return entries;
}

/** The leads under which something of it was done, and one that is known to have ended such a lead too early. */
function relevantLeads(
  entries: readonly Entry[],
  index: Index,
): readonly { readonly call: Call; readonly lease: string }[] {
  const used = new Set<bigint>();
  for (const { call, lease } of entries) {
    if (lease !== null) used.add(lease);
    else if (call.step.op === "chain.send") {
      const at = index.leaseAt(call);
      if (at !== null) used.add(BigInt(at));
    }
  }
  const { leads } = index.history;
  for (const { call, lease } of entries) {
    if (lease === null) continue;
    const deposedBy = leads.find(
      (lead) =>
        BigInt(lead.lease) > lease &&
        lead.call.endedAt !== null &&
        lead.call.endedAt < call.beganAt &&
        lead.call.run.start.boot === call.run.start.boot &&
        call.run.start.boot !== null,
    );
    if (deposedBy !== undefined) used.add(BigInt(deposedBy.lease));
  }
  return leads.filter((lead) => used.has(BigInt(lead.lease)));
}

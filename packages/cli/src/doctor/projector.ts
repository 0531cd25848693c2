import type { AuditLog, Clock, TallyStore } from "@quorate/ports";
import { check, type DoctorCheck, notChecked, type Probe, probe } from "./check.ts";

/** How history stands against etcd. */
export type ProjectorState =
  | { readonly kind: "current"; readonly position: bigint | null }
  /** What came after the position was not taken within the time that was waited. */
  | { readonly kind: "stale"; readonly position: bigint | null; readonly pending: bigint }
  | { readonly kind: "other-etcd" };

/** What comes after the position is told within this, by an etcd that answers. */
const PENDING_WAIT_MS = 1_500;
/** A projector that works takes it within a fraction of this. */
const ADVANCE_WAIT_MS = 5_000;
const POLL_MS = 200;

/** Watches etcd from where history stands, as the projector does, and whether it takes what is there. Writes nothing. */
export async function lookAtProjector(
  tally: Pick<TallyStore, "watch" | "lineage">,
  audit: Pick<AuditLog, "position" | "lineage">,
  clock: Clock,
): Promise<Probe<ProjectorState>> {
  return await probe(async (signal) => {
    const position = await audit.position({ signal });
    const known = await audit.lineage({ signal });
    const { id, revision } = await tally.lineage({ signal });
    if (known.id !== null && (known.id !== id || (position !== null && position > revision)))
      return { kind: "other-etcd" };
    const pending = await firstAfter(tally, position ?? 0n, signal);
    if (pending === null) return { kind: "current", position };
    const until = clock.monotonicMs() + ADVANCE_WAIT_MS;
    for (;;) {
      const now = await audit.position({ signal });
      if (now !== null && now >= pending) return { kind: "current", position: now };
      if (clock.monotonicMs() >= until) return { kind: "stale", position: now, pending };
      await clock.sleep(POLL_MS, { signal });
    }
  });
}

/** The first revision after this one that changed what history is made of; null when none comes. */
async function firstAfter(
  tally: Pick<TallyStore, "watch">,
  after: bigint,
  signal: AbortSignal,
): Promise<bigint | null> {
  const enough = new AbortController();
  let first: bigint | null = null;
  await tally.watch(
    after,
    ({ revision, changes }) => {
      // Who is up and who leads is in no history: that a submitter has stopped is not held against its projector.
      if (changes.every(({ kind }) => kind === "presence")) return;
      first ??= revision;
      enough.abort();
    },
    { signal: AbortSignal.any([signal, enough.signal, AbortSignal.timeout(PENDING_WAIT_MS)]) },
  );
  return first;
}

/** @param leader who leads now; only a leader's process projects */
export function checkProjector(
  state: Probe<ProjectorState>,
  leader: Probe<string | null>,
): DoctorCheck {
  const begin =
    "start a submitter, and see its log; while history stands still nothing is lost, but etcd is not purged";
  if (!state.ok)
    return check(
      "projector",
      "fail",
      `history can't be compared with etcd: ${state.problem}`,
      "see the submitter's log and docs/BACKUP.md",
    );
  const { value } = state;
  if (value.kind === "current")
    return check(
      "projector",
      "ok",
      value.position === null
        ? "nothing to project yet"
        : `history is at revision ${value.position}, with etcd`,
    );
  if (value.kind === "other-etcd")
    return check(
      "projector",
      "warn",
      "history is of another etcd than the one that is there",
      "a submitter that starts begins a new lineage; see docs/BACKUP.md",
    );
  const { position, pending } = value;
  if (!leader.ok) return notChecked("projector", leader.problem);
  if (position === null && leader.value === null)
    return check(
      "projector",
      "warn",
      "no submitter has projected anything yet",
      "start a submitter",
    );
  return check(
    "projector",
    "fail",
    `history stands still at revision ${position ?? 0n}; etcd has changes from ${pending} on${leader.value === null ? ", and no submitter leads" : ""}`,
    leader.value === null
      ? begin
      : `${leader.value} leads and does not project: see its log and PostgreSQL's`,
  );
}

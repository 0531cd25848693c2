import type { Step, StepBan, StepSight } from "@quorate/core";
import type { Call, Place, Run, Sighting } from "./read-runs.ts";
import type { Refusal } from "./refusal.ts";

export type CommitStep = Extract<Step, { readonly op: "etcd.commit" }>;

/** A commit that took effect, in its place. */
export interface Commit {
  readonly call: Call;
  readonly step: CommitStep;
  readonly revision: bigint;
  /** Its reply was lost: that it took effect is known from what came after. */
  readonly inferred: boolean;
}

/** How a revision left a peer: banned, or not any more. */
export interface BanEvent {
  readonly revision: bigint;
  readonly ban: StepBan | null;
  readonly place: Place;
  /** It was there when somebody looked; since when, and who wrote it, nothing tells. */
  readonly listed: boolean;
}

export type TrusteeSetSight = Extract<StepSight, { readonly what: "config" }>;

/** What one cluster's runs did to etcd, in etcd's order. */
export interface EtcdHistory {
  /** By transaction, each list in order of revision. */
  readonly commits: ReadonlyMap<string, readonly Commit[]>;
  readonly bans: ReadonlyMap<string, readonly BanEvent[]>;
  readonly sets: ReadonlyMap<number, TrusteeSetSight>;
  /** Everybody's silent run as each judgement found it, as far as the record tells. */
  readonly runsBefore: ReadonlyMap<Commit, ReadonlyMap<string, number>>;
  /** Violations that are not part of a commit. */
  readonly accusations: readonly Call[];
  readonly refusals: readonly Refusal[];
  readonly counts: EtcdCounts;
}

export interface EtcdCounts {
  readonly commits: number;
  readonly conflicts: number;
  /** Without a reply, and applied, as what follows shows. */
  readonly inferred: number;
  /** Without a reply, and nothing that follows needs them. */
  readonly unresolved: number;
}

/**
 * Puts etcd's writes in order. Revisions give it: a commit that succeeded names its own, and is guarded on the one before
 * it of the same transaction. So each commit must begin where the one before it ended; where it does not, one whose
 * reply was lost stands between, or the record is not whole, or a guard let through what it must not.
 */
export function etcdHistory(cluster: string, runs: readonly Run[]): EtcdHistory {
  const refusals: Refusal[] = [];
  const calls = runs.flatMap((run) => run.calls);
  const sights = runs.flatMap((run) => run.sights);
  const purged = new Set(
    calls.flatMap(({ step }) => (step.op === "etcd.purge" ? [step.txId] : [])),
  );
  const commits = new Map<string, readonly Commit[]>();
  const counts = { commits: 0, conflicts: 0, inferred: 0, unresolved: 0 };
  for (const [txId, attempts] of commitsByTransaction(calls)) {
    const chain = chainOf(cluster, txId, attempts, purged.has(txId), refusals);
    commits.set(txId, chain);
    const inferred = chain.filter((commit) => commit.inferred).length;
    counts.commits += chain.length;
    counts.inferred += inferred;
    counts.conflicts += attempts.filter(({ outcome }) => outcome.kind === "conflict").length;
    counts.unresolved +=
      attempts.filter(({ outcome }) => outcome.kind === "unknown").length - inferred;
  }
  const sets = trusteeSets(sights);
  const inOrder = [...commits.values()].flat();
  const nameOf = (peerId: string): string | undefined =>
    [...sets.values()].flatMap((set) => set.trustees).find((t) => t.peerId === peerId)?.nodeId;
  const silence = followRuns(cluster, inOrder, sights, nameOf);
  refusals.push(...epochRefusals(cluster, inOrder, sights), ...silence.refusals);
  const bans = banEvents(inOrder, sights);
  refusals.push(...unwrittenBans(cluster, bans, inOrder, calls));
  const accusations = calls.filter(
    ({ step, outcome }) => step.op === "etcd.violation" && outcome.kind !== "nothing",
  );
  refusals.push(...wrongAccusations(cluster, accusations));
  const { runsBefore } = silence;
  return { commits, bans, sets, runsBefore, accusations, refusals, counts };
}

interface Attempt extends Call {
  readonly step: CommitStep;
}

const isAttempt = (call: Call): call is Attempt => call.step.op === "etcd.commit";

function commitsByTransaction(calls: readonly Call[]): ReadonlyMap<string, readonly Attempt[]> {
  const byTx = new Map<string, Attempt[]>();
  for (const call of calls) {
    if (!isAttempt(call)) continue;
    const list = byTx.get(call.step.txId);
    if (list === undefined) byTx.set(call.step.txId, [call]);
    else list.push(call);
  }
  return byTx;
}

function refusal(
  cluster: string,
  about: string,
  { place, step }: { readonly place: Place; readonly step: unknown },
  guard: string,
  state: Refusal["state"] = null,
): Refusal {
  return { cluster, about, place, step, guard, state, by: "order" };
}

/** One transaction's commits, each guarded on the one before it. */
function chainOf(
  cluster: string,
  txId: string,
  attempts: readonly Attempt[],
  purged: boolean,
  refusals: Refusal[],
): readonly Commit[] {
  const known = attempts
    .flatMap((call): Commit[] =>
      call.outcome.kind === "committed"
        ? [{ call, step: call.step, revision: BigInt(call.outcome.revision), inferred: false }]
        : [],
    )
    .sort((a, b) => Number(a.revision - b.revision));
  const lost = attempts.filter(({ outcome }) => outcome.kind === "unknown");
  const chain: Commit[] = [];
  const used = new Set<Call>();
  let last = 0n;
  for (const commit of known) {
    const version = BigInt(commit.step.version);
    for (const between of lostBetween(last, version, lost, used)) {
      chain.push(between);
      last = between.revision;
    }
    if (version !== last) {
      const state = { "revision of the status key": String(last) };
      if (version < last)
        refusals.push(
          refusal(
            cluster,
            txId,
            commit.call,
            `the status key's guard: it was committed on revision ${version}, which was no longer the newest`,
            state,
          ),
        );
      else if (!purged)
        refusals.push(
          refusal(
            cluster,
            txId,
            commit.call,
            `a step is missing: nobody recorded what wrote revision ${version} of the status key`,
            state,
          ),
        );
    }
    if (commit.revision <= version)
      refusals.push(
        refusal(
          cluster,
          txId,
          commit.call,
          "a commit's revision is newer than what it was guarded on",
        ),
      );
    chain.push(commit);
    last = commit.revision;
  }
  return chain;
}

/**
 * Commits without a reply that lead from one revision to another. Each revision but the last is known only where
 * another of them was guarded on it.
 */
function lostBetween(
  from: bigint,
  to: bigint,
  lost: readonly Attempt[],
  used: Set<Call>,
): readonly Commit[] {
  if (from >= to) return [];
  for (const call of lost) {
    if (used.has(call) || BigInt(call.step.version) !== from) continue;
    used.add(call);
    const ends = [
      to,
      ...lost.map(({ step }) => BigInt(step.version)).filter((v) => v > from && v < to),
    ];
    for (const end of ends) {
      const commit = { call, step: call.step, revision: end, inferred: true };
      if (end === to) return [commit];
      const rest = lostBetween(end, to, lost, used);
      if (rest.length > 0) return [commit, ...rest];
    }
    used.delete(call);
  }
  return [];
}

function trusteeSets(sights: readonly Sighting[]): ReadonlyMap<number, TrusteeSetSight> {
  const sets = new Map<number, TrusteeSetSight>();
  for (const { sight } of sights) if (sight.what === "config") sets.set(sight.epoch, sight);
  return sets;
}

/** The epoch key's guard: nothing is committed under a set that is no longer in force. */
function epochRefusals(
  cluster: string,
  commits: readonly Commit[],
  sights: readonly Sighting[],
): readonly Refusal[] {
  const versions = [
    ...new Set(
      sights.flatMap(({ sight }) => (sight.what === "config" ? [BigInt(sight.epochVersion)] : [])),
    ),
  ];
  return commits.flatMap(({ call, step, revision }) => {
    const guarded = BigInt(step.epochVersion);
    const newer = versions.find((v) => v > guarded && v < revision);
    return newer === undefined
      ? []
      : [
          refusal(
            cluster,
            step.txId,
            call,
            `the epoch's guard: it was decided under revision ${guarded} of the trustee set, and revision ${newer} was in force`,
          ),
        ];
  });
}

/** Follows the silent runs through all commits: each is guarded on those that it names, and each judgement sees all. */
function followRuns(
  cluster: string,
  commits: readonly Commit[],
  sights: readonly Sighting[],
  nameOf: (peerId: string) => string | undefined,
): Pick<EtcdHistory, "runsBefore" | "refusals"> {
  const runs = new Map<string, number>();
  const runsBefore = new Map<Commit, ReadonlyMap<string, number>>();
  const refusals: Refusal[] = [];
  const lifts = sights
    .flatMap(({ sight }) => (sight.what === "ban" && sight.ban === null ? [sight] : []))
    .map(({ revision, peerId }) => ({ revision: BigInt(revision), nodeId: nameOf(peerId) }))
    .sort((a, b) => Number(a.revision - b.revision));
  let lifted = 0;
  for (const commit of commits.toSorted((a, b) => Number(a.revision - b.revision))) {
    // A lift ends a run; a ban that was struck leaves it. Which it was is not told, so that nothing is known then.
    for (let lift = lifts[lifted]; lift !== undefined && lift.revision < commit.revision; ) {
      if (lift.nodeId !== undefined) runs.delete(lift.nodeId);
      lift = lifts[++lifted];
    }
    const { step } = commit;
    if (step.silence.length > 0 || (step.record?.absent ?? null) !== null)
      runsBefore.set(commit, new Map(runs));
    for (const { nodeId, before, after } of step.silence) {
      const known = runs.get(nodeId);
      if (known !== undefined && known !== before)
        refusals.push(
          refusal(
            cluster,
            step.txId,
            commit.call,
            `the silent runs' guard: ${nodeId} had a run of ${known}, and it was committed on ${before}`,
          ),
        );
      runs.set(nodeId, after);
    }
  }
  return { runsBefore, refusals };
}

function banEvents(
  commits: readonly Commit[],
  sights: readonly Sighting[],
): ReadonlyMap<string, readonly BanEvent[]> {
  const byPeer = new Map<string, Map<bigint, BanEvent>>();
  const add = (peerId: string, event: BanEvent): void => {
    const events = byPeer.get(peerId) ?? new Map<bigint, BanEvent>();
    byPeer.set(peerId, events);
    if (!events.has(event.revision)) events.set(event.revision, event);
  };
  for (const { step, revision, call } of commits)
    for (const ban of step.bans)
      add(ban.peerId, { revision, ban, place: call.place, listed: false });
  for (const { sight, place } of sights)
    if (sight.what === "ban")
      add(sight.peerId, {
        revision: BigInt(sight.revision),
        ban: sight.ban,
        place,
        listed: false,
      });
  // A listing says that there is a ban, and not since when: it counts only where nothing else tells.
  const listings = sights
    .flatMap(({ sight, place }) => (sight.what === "banned" ? [{ ...sight, place }] : []))
    .sort((a, b) => Number(BigInt(a.revision) - BigInt(b.revision)));
  for (const { revision, bans, place } of listings)
    for (const ban of bans) {
      const events = [...(byPeer.get(ban.peerId)?.values() ?? [])];
      if (events.some((e) => e.revision <= BigInt(revision))) continue;
      add(ban.peerId, { revision: BigInt(revision), ban, place, listed: true });
    }
  return new Map(
    [...byPeer].map(([peerId, events]) => [
      peerId,
      [...events.values()].sort((a, b) => Number(a.revision - b.revision)),
    ]),
  );
}

/** Bans that the watch brought and no recorded step wrote. */
function unwrittenBans(
  cluster: string,
  bans: EtcdHistory["bans"],
  commits: readonly Commit[],
  calls: readonly Call[],
): readonly Refusal[] {
  const written = new Set<string>();
  const key = ({ peerId, reason, grade }: StepBan): string => `${peerId}/${reason}/${grade}`;
  for (const { step } of commits) for (const ban of step.bans) written.add(key(ban));
  for (const { step } of calls) {
    if (step.op === "etcd.violation" || step.op === "etcd.ban") written.add(key(step.ban));
    // Of a commit whose reply was lost the ban itself is the sign that it took effect.
    if (step.op === "etcd.commit") for (const ban of step.bans) written.add(key(ban));
  }
  return [...bans].flatMap(([peerId, events]) =>
    events.flatMap(({ ban, place, revision, listed }) =>
      ban === null || listed || written.has(key(ban))
        ? []
        : [
            refusal(
              cluster,
              ban.nodeId ?? peerId,
              { place, step: { ban, revision: String(revision) } },
              "a step is missing: nobody recorded writing this ban",
            ),
          ],
    ),
  );
}

/** A violation and its ban come together, and say the same. */
function wrongAccusations(cluster: string, accusations: readonly Call[]): readonly Refusal[] {
  return accusations.flatMap((call) => {
    const { step } = call;
    if (step.op !== "etcd.violation") return [];
    const { violation, ban } = step;
    const same =
      violation.peerId === ban.peerId &&
      violation.type === ban.reason &&
      violation.grade === "PROOF" &&
      ban.grade === "PROOF";
    return same
      ? []
      : [
          refusal(
            cluster,
            violation.nodeId ?? violation.peerId,
            call,
            "a ban has its own violation, of the same peer and grade",
          ),
        ];
  });
}

import type {
  Ban,
  FinalDecision,
  Step,
  StepBan,
  StepDecision,
  StepOutcome,
  StepRecord,
  StepViolation,
  TxRecord,
} from "@quorate/core";
import type {
  BanEntry,
  ChangeSet,
  CommitOutcome,
  StandaloneViolation,
  StepLog,
  TallyMaintenance,
  TallyStore,
  TxCommit,
} from "@quorate/ports";
import { overriding } from "./port-overrides.ts";
import { recordedCall } from "./recorded-call.ts";

/** The tally with every write of this process on record, and what others did to bans and the trustee set as it was seen. */
export function recordedTally<Store extends TallyStore>(store: Store, log: StepLog): Store {
  let configSeen: bigint | null = null;
  const methods: Partial<TallyStore> = {
    commit: (commits, epochVersion, options) =>
      recordedCall(
        log,
        commits.map((commit) => commitStep(commit, epochVersion)),
        () => store.commit(commits, epochVersion, options),
        (outcomes) => outcomes.map(commitOutcome),
      ),
    recordViolation: (entry, options) =>
      recordedCall(
        log,
        [{ op: "etcd.violation", violation: violationOf(entry.violation), ban: banOf(entry.ban) }],
        () => store.recordViolation(entry, options),
        (written) => [written ? done : nothing("recorded already")],
      ),
    recordBan: (ban, options) =>
      recordedCall(
        log,
        [{ op: "etcd.ban", ban: banOf(ban) }],
        () => store.recordBan(ban, options),
        (written) => [written ? done : nothing("banned already")],
      ),
    liftBan: (lift, options) =>
      recordedCall(
        log,
        [{ op: "etcd.lift", peerId: lift.peerId }],
        () => store.liftBan(lift, options),
        (outcome) => [outcome === "lifted" ? done : nothing(outcome)],
      ),
    strikeBan: (lift, version, options) =>
      recordedCall(
        log,
        [{ op: "etcd.strike", peerId: lift.peerId, version: version.toString() }],
        () => store.strikeBan(lift, version, options),
        (struck) => [struck ? done : nothing("changed or gone")],
      ),
    changeTrustees: (next, epochVersion, options) =>
      recordedCall(
        log,
        [{ op: "etcd.epoch", epoch: next.epoch, epochVersion: epochVersion.toString() }],
        () => store.changeTrustees(next, epochVersion, options),
        (outcome) => [outcome === "changed" ? done : nothing(outcome)],
      ),
    readConfig: async (options) => {
      const config = await store.readConfig(options);
      // Read again at every change and every start; the same one is told once.
      if (config.epochVersion !== configSeen) {
        configSeen = config.epochVersion;
        log.saw({
          what: "config",
          epoch: config.set.epoch,
          epochVersion: config.epochVersion.toString(),
          threshold: config.set.threshold,
          trustees: config.set.trustees.map(({ nodeId, peerId }) => ({ nodeId, peerId })),
        });
      }
      return config;
    },
    readBans: async (options) => {
      const read = await store.readBans(options);
      const bans = [...read.bans.values()].map(banOf);
      log.saw({ what: "banned", revision: read.revision.toString(), bans });
      return read;
    },
    watch: (after, onChanges, options) =>
      store.watch(
        after,
        (set) => {
          sawBans(log, set);
          return onChanges(set);
        },
        options,
      ),
  };
  return overriding<TallyStore>(store, methods) as Store;
}

/** The collector's part of it: what is purged takes no votes any more. */
export function recordedMaintenance<Store extends TallyMaintenance>(
  store: Store,
  log: StepLog,
): Store {
  return overriding<TallyMaintenance>(store, {
    purge: (requests, options) =>
      recordedCall(
        log,
        requests.map(({ txId, level }): Step => ({ op: "etcd.purge", txId, level })),
        () => store.purge(requests, options),
        (outcomes) => outcomes.map((o) => (o === "purged" || o === "freed" ? done : nothing(o))),
      ),
  }) as Store;
}

const done: StepOutcome = { kind: "done" };
const nothing = (why: string): StepOutcome => ({ kind: "nothing", why });

function sawBans(log: StepLog, { revision, changes }: ChangeSet): void {
  for (const change of changes)
    if (change.kind === "ban")
      log.saw({
        what: "ban",
        revision: revision.toString(),
        peerId: change.peerId,
        ban: change.ban === null ? null : banOf(change.ban),
      });
}

function commitStep({ version, writes }: TxCommit, epochVersion: bigint): Step {
  return {
    op: "etcd.commit",
    txId: writes.txId,
    epochVersion: epochVersion.toString(),
    version: version.toString(),
    votes: writes.newVotes.map(({ vote, peerId }) => ({
      nodeId: vote.nodeId,
      peerId,
      epoch: vote.epoch,
      value: vote.value.toString(),
    })),
    counts: [...writes.counts].map(([value, count]) => ({ value: value.toString(), count })),
    status: writes.status,
    record: writes.record === null ? null : recordOf(writes.record),
    decision: writes.decision === null ? null : decisionOf(writes.decision),
    violations: writes.violations.map(violationOf),
    bans: writes.bans.map(banOf),
    silence: [...writes.silenceStreaks].map(([nodeId, { before, after }]) => ({
      nodeId,
      before,
      after,
    })),
  };
}

function commitOutcome(outcome: CommitOutcome): StepOutcome {
  return outcome.kind === "committed"
    ? { kind: "committed", revision: outcome.revision.toString() }
    : { kind: "conflict", version: outcome.fresh.version.toString() };
}

function recordOf(record: TxRecord): StepRecord {
  return {
    epoch: record.epoch,
    policy: record.policy,
    profile: record.profile,
    excluded: record.excluded,
    openedAtMs: record.openedAtMs,
    deadlineAtMs: record.deadlineAtMs,
    value: record.value?.toString() ?? null,
    unanimous: record.unanimous,
    reason: record.reason,
    offenders: record.offenders,
    absent: record.absent,
    txHash: record.chain?.txHash ?? null,
  };
}

function decisionOf(decision: FinalDecision): StepDecision {
  return decision.kind === "SUBMIT"
    ? { kind: "SUBMIT", value: decision.value.toString(), reason: null }
    : { kind: "ABORT", value: null, reason: decision.reason };
}

function violationOf(violation: StandaloneViolation["violation"]): StepViolation {
  const { txId, nodeId, peerId, type, grade } = violation;
  return { txId, nodeId, peerId, type, grade };
}

function banOf({ nodeId, peerId, reason, grade }: BanEntry | Ban): StepBan {
  return { nodeId, peerId, reason, grade };
}

import type {
  Epoch,
  NodeId,
  PeerId,
  TrusteeChange,
  TrusteeSet,
  TxId,
  TxRecord,
  TxSnapshot,
  TxStatus,
} from "@quorate/core";
import {
  type AbortOptions,
  type Clock,
  type ClusterConfig,
  StoreError,
  type TallyStore,
} from "@quorate/ports";

/** What became of a change of the trustees. */
export type ChangeOutcome =
  | { readonly kind: "changed"; readonly before: TrusteeSet; readonly set: TrusteeSet }
  /** Nothing was written. `before` is the set that the objections are about. */
  | {
      readonly kind: "refused";
      readonly before: TrusteeSet;
      readonly problems: readonly string[];
    };

/** Operators who change the trustees at the same moment are few; whoever loses this often meets a program that writes in a loop. */
const LOST_RACES_MAX = 5;
/** Repetitions of a write whose reply was lost, over about a second: an election in etcd takes as long. */
const REPETITIONS_MAX = 3;
const REPETITION_WAIT_MS = 300;

/**
 * Puts the next epoch's set in force. `edit` is applied to the set that stands; when somebody else
 * was first it is applied again, to theirs, so that no change is ever undone by accident.
 * A lost reply is met by the same write again: the epoch's number makes it happen once.
 * @param edit pure; may be called several times
 * @param onLostRace called with the set that was put in force meanwhile
 * @throws StoreError when the store can't be reached; the change may then be in force or not
 * @see spec §16.1, §16.2
 */
export async function changeTrustees(
  edit: (set: TrusteeSet, config: ClusterConfig) => TrusteeChange,
  dependencies: {
    readonly store: Pick<TallyStore, "readConfig" | "changeTrustees">;
    readonly clock: Clock;
    readonly onLostRace?: (now: TrusteeSet) => void;
  },
  options: AbortOptions = {},
): Promise<ChangeOutcome> {
  const { store } = dependencies;
  let config = await store.readConfig(options);
  for (let lost = 0; lost < LOST_RACES_MAX; lost++) {
    const before = config.set;
    const next = edit(before, config);
    if (!next.ok) return { kind: "refused", before, problems: next.error };
    if ((await putInForce(next.value, config.epochVersion, dependencies, options)) === "changed")
      return { kind: "changed", before, set: next.value };
    config = await store.readConfig(options);
    dependencies.onLostRace?.(config.set);
  }
  const problem = `others changed the trustees ${LOST_RACES_MAX} times in the meantime; find out who, and try again`;
  return { kind: "refused", before: config.set, problems: [problem] };
}

async function putInForce(
  next: TrusteeSet,
  epochVersion: bigint,
  { store, clock }: { readonly store: Pick<TallyStore, "changeTrustees">; readonly clock: Clock },
  options: AbortOptions,
): Promise<"changed" | "conflict"> {
  for (let repetition = 0; ; repetition++) {
    try {
      return await store.changeTrustees(next, epochVersion, options);
    } catch (error) {
      const again = error instanceof StoreError && error.retryable && repetition < REPETITIONS_MAX;
      if (!again) throw error;
      await clock.sleep(REPETITION_WAIT_MS, options);
    }
  }
}

/** A trustee that is leaving. */
export interface LeavingTrustee {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
}

const DRAIN_POLL_MS = 500;
const PAGE_SIZE = 1_000;
/** Transactions read at once: etcd answers thousands of reads a second, and the cluster needs it too. */
const READS_AT_ONCE = 32;

/**
 * Waits until no transaction of an earlier epoch needs the trustee any more: none of them still collects votes,
 * and each that is decided has its vote or has passed the deadline until which one is expected. Under
 * another epoch no transaction of an earlier one can open, so once this holds it holds for ever.
 * @param onProgress called with how many are left, at first and whenever that changes
 * @see spec §16.2
 */
export async function drainTrustee(
  trustee: LeavingTrustee,
  dependencies: {
    readonly store: Pick<TallyStore, "readConfig" | "listTransactions" | "read">;
    readonly clock: Clock;
    readonly onProgress?: (open: number) => void;
  },
  options: AbortOptions = {},
): Promise<void> {
  const { clock, onProgress } = dependencies;
  let open = await candidates(trustee, dependencies, options);
  let told = -1;
  for (;;) {
    open = await stillOpen(open, trustee, dependencies, options);
    if (open.length !== told) onProgress?.(open.length);
    told = open.length;
    if (open.length === 0) return;
    await clock.sleep(DRAIN_POLL_MS, options);
  }
}

/** What the list alone does not rule out; it does not show the votes. */
async function candidates(
  trustee: LeavingTrustee,
  {
    store,
    clock,
  }: {
    readonly store: Pick<TallyStore, "readConfig" | "listTransactions">;
    readonly clock: Clock;
  },
  options: AbortOptions,
): Promise<readonly TxId[]> {
  const { sets } = await store.readConfig(options);
  const isItsOwn = (epoch: Epoch): boolean =>
    sets.get(epoch)?.byPeerId.has(trustee.peerId) === true;
  const found: TxId[] = [];
  for (let after: TxId | null = null; ; ) {
    const page = await store.listTransactions({ after, limit: PAGE_SIZE }, options);
    for (const { txId, status, record } of page)
      if (isItsOwn(record.epoch) && mayNeed(status, record, clock.nowMs())) found.push(txId);
    const last = page.at(-1);
    if (last === undefined) return found;
    after = last.txId;
  }
}

async function stillOpen(
  txIds: readonly TxId[],
  { nodeId }: LeavingTrustee,
  { store, clock }: { readonly store: Pick<TallyStore, "read">; readonly clock: Clock },
  options: AbortOptions,
): Promise<readonly TxId[]> {
  const open: TxId[] = [];
  for (let at = 0; at < txIds.length; at += READS_AT_ONCE) {
    const some = txIds.slice(at, at + READS_AT_ONCE);
    const read = await Promise.all(some.map((txId) => store.read(txId, options)));
    for (const { snapshot } of read)
      if (needs(snapshot, nodeId, clock.nowMs())) open.push(snapshot.txId);
  }
  return open;
}

function needs({ status, record, votes }: TxSnapshot, nodeId: NodeId, nowMs: number): boolean {
  if (status === null || record === null || !mayNeed(status, record, nowMs)) return false;
  return status === "COLLECTING" || !votes.has(nodeId);
}

function mayNeed(status: TxStatus, record: TxRecord, nowMs: number): boolean {
  if (status === "COLLECTING") return true;
  // A vote that comes before the deadline still counts as taking part, whatever was decided meanwhile.
  return status !== "ABORTED_BYZANTINE" && record.absent === null && nowMs < record.deadlineAtMs;
}

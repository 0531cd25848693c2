import {
  assert,
  type EvidenceGrade,
  emptySnapshot,
  type FinalDecision,
  isArchived,
  isSettled,
  LIMITS,
  type NodeId,
  type PeerId,
  type SignedVote,
  type TxId,
  type TxRecord,
  type TxStatus,
  type TxWrites,
  type ViolationType,
} from "@quorate/core";
import type { BanEntry, Change, ChangeSet, Presence, VersionedSnapshot } from "@quorate/ports";

interface Entry {
  status: TxStatus | null;
  record: TxRecord | null;
  readonly votes: Map<NodeId, SignedVote>;
  readonly violations: Map<NodeId, Set<ViolationType>>;
  decision: FinalDecision | null;
  version: bigint;
  /** Everything up to this revision is in it. */
  asOf: bigint;
  /** False when the view joined in the middle: then it must not be decided upon. */
  complete: boolean;
}

/**
 * This node's picture of the tally, folded from the store's change stream.
 * It may lag; it never lies about a version: a commit decided on a stale entry
 * fails its guard and comes back with the fresh state.
 */
export class TallyView {
  readonly #entries = new Map<TxId, Entry>();
  readonly #bans = new Map<PeerId, BanEntry>();
  readonly #grades = new Map<PeerId, EvidenceGrade>();
  readonly #presence = new Map<PeerId, Presence>();
  readonly #entriesMax: number;
  #revision = 0n;

  constructor(options: { readonly entriesMax?: number } = {}) {
    this.#entriesMax = options.entriesMax ?? LIMITS.viewTransactionsMax;
  }

  get revision(): bigint {
    return this.#revision;
  }

  get bans(): ReadonlyMap<PeerId, EvidenceGrade> {
    return this.#grades;
  }

  get banRecords(): ReadonlyMap<PeerId, BanEntry> {
    return this.#bans;
  }

  get presence(): ReadonlyMap<PeerId, Presence> {
    return this.#presence;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Ids of the transactions in view with a given status. Linear; for status pages and start-up. */
  withStatus(status: TxStatus): TxId[] {
    return [...this.#entries].filter(([, e]) => e.status === status).map(([txId]) => txId);
  }

  /** The last `limit` transactions that changed, newest first. */
  recent(limit: number): TxId[] {
    return [...this.#entries.keys()].slice(-limit).reverse();
  }

  /** Bans and presence as read at start-up, before the stream begins. */
  load(bans: ReadonlyMap<PeerId, BanEntry>, presence: readonly Presence[]): void {
    for (const [peer, ban] of bans) this.#setBan(peer, ban);
    for (const p of presence) this.#presence.set(p.peerId, p);
  }

  /** A transaction that was there before the stream began: known, but not in full. */
  noteExisting(txId: TxId, status: TxStatus, record: TxRecord): void {
    if (this.#entries.has(txId)) return;
    this.#put(txId, { ...newEntry(), status, record, complete: false });
  }

  status(txId: TxId): TxStatus | null {
    return this.#entries.get(txId)?.status ?? null;
  }

  record(txId: TxId): TxRecord | null {
    return this.#entries.get(txId)?.record ?? null;
  }

  votes(txId: TxId): ReadonlyMap<NodeId, SignedVote> {
    return this.#entries.get(txId)?.votes ?? new Map();
  }

  violations(txId: TxId): ReadonlyMap<NodeId, ReadonlySet<ViolationType>> {
    return this.#entries.get(txId)?.violations ?? new Map();
  }

  /** Whether it is known here that the transaction's votes are archived. */
  isArchived(txId: TxId): boolean {
    const entry = this.#entries.get(txId);
    return entry !== undefined && entry.complete && isArchived(entry);
  }

  /**
   * What to decide on: the snapshot in view, the empty one for a transaction that
   * was never seen, or null when the store must be asked.
   */
  snapshot(txId: TxId): VersionedSnapshot | null {
    const entry = this.#entries.get(txId);
    if (entry === undefined)
      return { snapshot: emptySnapshot(txId), version: 0n, revision: this.#revision };
    if (!entry.complete) return null;
    const { status, record, votes, violations, decision, version } = entry;
    return {
      snapshot: { txId, status, record, votes, violations, decision },
      version,
      revision: this.#revision,
    };
  }

  /** Takes over a state that was read or written directly, if it is newer than what is in view. */
  adopt(fresh: VersionedSnapshot): void {
    const { txId } = fresh.snapshot;
    const entry = this.#entries.get(txId);
    // A read that was overtaken by the stream would hide what the stream has brought since.
    if (entry !== undefined && entry.asOf > fresh.revision) return;
    // Of an archived one there is nothing but its decision, and that must be known: it would look like a new one.
    if (fresh.version === 0n && entry === undefined && !isArchived(fresh.snapshot)) return;
    this.#put(txId, {
      status: fresh.snapshot.status,
      record: fresh.snapshot.record,
      votes: new Map(fresh.snapshot.votes),
      violations: new Map([...fresh.snapshot.violations].map(([n, t]) => [n, new Set(t)])),
      decision: fresh.snapshot.decision,
      version: fresh.version,
      asOf: fresh.revision,
      complete: true,
    });
  }

  /** Takes over this node's own commit before the stream brings it back. */
  adoptCommit(base: VersionedSnapshot, writes: TxWrites, revision: bigint): void {
    const votes = new Map(base.snapshot.votes);
    for (const v of writes.newVotes) votes.set(v.vote.nodeId, v);
    const violations = new Map<NodeId, Set<ViolationType>>(
      [...base.snapshot.violations].map(([n, t]) => [n, new Set(t)]),
    );
    for (const v of writes.violations) addTo(violations, v.nodeId, v.type);
    const { txId } = writes;
    // One that was recorded by itself meanwhile fails no guard of ours, and is not in what we decided on.
    for (const [node, types] of this.violations(txId))
      for (const type of types) addTo(violations, node, type);
    const record = writes.record ?? base.snapshot.record;
    const decision = base.snapshot.decision ?? writes.decision;
    this.adopt({
      snapshot: { txId, status: writes.status, record, votes, violations, decision },
      version: revision,
      revision,
    });
    for (const ban of writes.bans) this.#setBan(ban.peerId, ban);
  }

  /** Takes over a ban that this node has recorded, before the stream brings it back. */
  noteBan(ban: BanEntry): void {
    this.#setBan(ban.peerId, ban);
  }

  /** Makes the view ask the store again before the next decision: a commit's result is unknown. */
  distrust(txId: TxId): void {
    const entry = this.#entries.get(txId) ?? newEntry();
    entry.complete = false;
    this.#put(txId, entry);
  }

  /** Folds one revision in. @returns the transactions that it touched. */
  apply(set: ChangeSet): ReadonlySet<TxId> {
    assert(set.revision > this.#revision, "revisions come in order");
    this.#revision = set.revision;
    const touched = new Set<TxId>();
    // Status first: it says whether the other changes of this revision are news.
    const changes = [...set.changes].sort((a, b) => orderOf(a) - orderOf(b));
    const skip = new Set<TxId>();
    for (const change of changes) {
      if (change.kind === "ban") this.#setBan(change.peerId, change.ban);
      else if (change.kind === "presence") this.#setPresence(change.peerId, change.presence);
      else if ("txId" in change) {
        touched.add(change.txId);
        if (change.kind === "status" && !this.#openOrAdvance(change, set.revision))
          skip.add(change.txId);
        if (!skip.has(change.txId)) this.#applyToEntry(change);
      } else if (change.kind === "violation") {
        const { txId, nodeId, type } = change.violation;
        if (nodeId === null || skip.has(txId)) continue;
        const entry = this.#entries.get(txId);
        if (entry === undefined) this.#foretell(txId, nodeId, type);
        else {
          addTo(entry.violations, nodeId, type);
          // Nothing that was read before it may hide it.
          if (entry.asOf < set.revision) entry.asOf = set.revision;
          // One that is recorded by itself comes without the transaction's status.
          touched.add(txId);
        }
      }
    }
    return touched;
  }

  /** A violation of a transaction that is not open yet, or not in view: whoever decides on it asks the store. */
  #foretell(txId: TxId, nodeId: NodeId, type: ViolationType): void {
    const entry: Entry = { ...newEntry(), complete: false };
    addTo(entry.violations, nodeId, type);
    this.#put(txId, entry);
  }

  /** @returns false when the entry already holds this revision. */
  #openOrAdvance(change: Extract<Change, { kind: "status" }>, revision: bigint): boolean {
    const entry = this.#entries.get(change.txId);
    if (entry !== undefined && entry.complete && entry.asOf >= revision) return false;
    if (change.status === null) {
      // Purged. Kept as what it is now, so that no read that is on its way brings back what it was.
      if (entry === undefined) return false;
      const { decision } = entry;
      const complete = decision !== null;
      this.#put(change.txId, { ...newEntry(), decision, complete, asOf: revision });
      return false;
    }
    const foretold = entry !== undefined && entry.status === null && entry.violations.size > 0;
    if ((change.created && !foretold) || entry === undefined)
      this.#put(change.txId, {
        ...newEntry(),
        complete: change.created,
        version: revision,
        asOf: revision,
      });
    else {
      entry.version = revision;
      entry.asOf = revision;
      // Moved to the end: eviction takes what has been quiet longest.
      this.#entries.delete(change.txId);
      this.#entries.set(change.txId, entry);
    }
    return true;
  }

  #applyToEntry(change: Extract<Change, { txId: TxId }>): void {
    const entry = this.#entries.get(change.txId);
    if (entry === undefined) return;
    if (change.kind === "status") entry.status = change.status;
    else if (change.kind === "record") entry.record = change.record;
    else if (change.kind === "vote") entry.votes.set(change.vote.vote.nodeId, change.vote);
    else if (change.kind === "decision") entry.decision = change.decision;
    // Only what is decided is ever archived, and the decision may be older than this view.
    else if (change.kind === "archived") {
      entry.votes.clear();
      if (entry.decision === null) entry.complete = false;
    }
  }

  #put(txId: TxId, entry: Entry): void {
    this.#entries.delete(txId);
    this.#entries.set(txId, entry);
    if (this.#entries.size <= this.#entriesMax) return;
    // Old settled entries go first. Looking at a bounded number keeps this cheap; when all are open, the oldest is forgotten and asked for again.
    let oldest: TxId | null = null;
    let looked = 0;
    for (const [id, e] of this.#entries) {
      oldest ??= id;
      // Without a status but decided it is what is left of a purged one; one that just opens has neither yet.
      if (isSettled(e.status) || (e.status === null && e.decision !== null)) {
        oldest = id;
        break;
      }
      if (++looked >= 64) break;
    }
    // It may come back. It then looks like a new one, and the guard of its first commit says that it is not.
    if (oldest !== null) this.#entries.delete(oldest);
  }

  #setBan(peer: PeerId, ban: BanEntry | null): void {
    if (ban === null) {
      this.#bans.delete(peer);
      this.#grades.delete(peer);
    } else {
      this.#bans.set(peer, ban);
      this.#grades.set(peer, ban.grade);
    }
  }

  #setPresence(peer: PeerId, presence: Presence | null): void {
    if (presence === null) this.#presence.delete(peer);
    else this.#presence.set(peer, presence);
  }
}

function newEntry(): Entry {
  return {
    status: null,
    record: null,
    votes: new Map(),
    violations: new Map(),
    decision: null,
    version: 0n,
    asOf: 0n,
    complete: true,
  };
}

function addTo(map: Map<NodeId, Set<ViolationType>>, node: NodeId, type: ViolationType): void {
  const types = map.get(node) ?? new Set();
  types.add(type);
  map.set(node, types);
}

function orderOf(change: Change): number {
  return change.kind === "status" ? 0 : 1;
}

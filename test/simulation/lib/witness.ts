import type { TrusteeSet } from "@quorate/core";
import type {
  AuditLog,
  ChangeSet,
  GossipMessage,
  LogFields,
  SubmissionStore,
} from "@quorate/ports";
import type { GossipDelivery, MemoryAuditLog, MemorySubmissionStore } from "@quorate/testkit";
import { describeChanges } from "./describe.ts";
import { ConflictLaw } from "./laws/conflict-law.ts";
import { HistoryLaw } from "./laws/history-law.ts";
import type { Finding, LawName, Roll } from "./laws/law.ts";
import { ReceiptLaw } from "./laws/receipt-law.ts";
import { SubmissionLaw } from "./laws/submission-law.ts";
import { TallyLaw } from "./laws/tally-law.ts";
import type { Plan } from "./plan.ts";
import type { World } from "./world.ts";

/** Findings beyond so many say nothing new. */
const FINDINGS_MAX = 20;

/** Sees everything durable and everything said in the moment in which it happens, and shows it to the laws. */
export class Witness {
  readonly findings: Finding[] = [];
  readonly tally: TallyLaw;
  readonly conflicts: ConflictLaw;
  readonly submissions: SubmissionLaw;
  readonly history: HistoryLaw;
  readonly receipts = new ReceiptLaw();
  readonly #world: World;
  readonly #roll: Roll;
  /** Answers RECORDED, by transaction and trustee. */
  readonly #promised = new Map<string, bigint>();
  #isForging = false;

  constructor(world: World) {
    this.#world = world;
    const { cluster, plan } = world;
    const roll: Roll = {
      clusterId: cluster.set.clusterId,
      epochs: new Map(),
      strictAbort: plan.policy === "strict-abort",
      members: cluster.nodes.map(({ nodeId, peerId, signer: { publicKey } }, i) => ({
        nodeId,
        peerId,
        publicKey,
        isHonest: !plan.byzantine.some(({ index }) => index === i),
      })),
    };
    this.#roll = roll;
    this.epochBegins(cluster.set);
    const accuse = (law: LawName, text: string): void => this.accuse(law, text);
    this.tally = new TallyLaw(roll, accuse);
    this.conflicts = new ConflictLaw(roll, this.tally);
    this.submissions = new SubmissionLaw(this.tally, accuse);
    this.history = new HistoryLaw(this.tally, accuse);
  }

  /** Another trustee set may be in force from now on. */
  epochBegins({ epoch, threshold, trustees }: TrusteeSet): void {
    const nodeIds = new Set<string>(trustees.map(({ nodeId }) => nodeId));
    this.#roll.epochs.set(epoch, { threshold, nodeIds });
  }

  accuse(law: LawName, text: string): void {
    this.#world.trace.note(`VIOLATION ${law}: ${text}`);
    if (this.findings.length < FINDINGS_MAX)
      this.findings.push({ law, text, atMs: this.#world.clock.monotonicMs() });
  }

  /** Whatever is published meanwhile is the intruder's work. */
  forging(work: () => void): void {
    this.#isForging = true;
    work();
    this.#isForging = false;
  }

  published(set: ChangeSet): void {
    const world = this.#world;
    const text = describeChanges(set, (peer) => world.nameOf(peer));
    world.trace.note(`etcd ${set.revision} ${this.#isForging ? "FORGED " : ""}${text}`);
    this.tally.published(set, this.#isForging);
    for (const change of set.changes) {
      if (change.kind === "vote")
        this.conflicts.recorded(change.txId, change.vote.vote.nodeId, change.vote.vote.value);
      if (change.kind === "receipts")
        this.receipts.published(change.receipts, (nodeId, atMs) => this.#processOf(nodeId, atMs));
      if (change.kind === "archived") this.#forgetPromises(change.txId);
    }
  }

  /** A trustee's processes by when they began, by their own clocks. */
  readonly #begun = new Map<string, string>();

  #processOf(nodeId: string, atMs: number): string | null {
    return this.#begun.get(`${nodeId} ${atMs}`) ?? null;
  }

  nodeBegins(nodeId: string, atMs: number, processName: string): void {
    this.#begun.set(`${nodeId} ${atMs}`, processName);
  }

  nodeEnded(processName: string): void {
    this.conflicts.ended(processName);
  }

  /** What an honest process said to a message. */
  judged({ from, to, verdict }: GossipDelivery, message: GossipMessage): void {
    const world = this.#world;
    const place = world.placeOf(to);
    if (world.isByzantine(place)) return;
    const processName = world.processAt(place);
    world.trace.note(
      `gossip ${world.nameOf(message.author)} via ${world.nameOf(from)} to ${world.nameOf(to)}: ${verdict}, ${message.data.length} B`,
    );
    if (processName === null) return;
    this.receipts.judged(processName, message.data, verdict);
    if (verdict === "ACCEPT") this.conflicts.accepted(processName, message.data);
    else if (verdict === "REJECT")
      this.conflicts.rejected(processName, message.author, message.data);
  }

  /** A trustee's own node answered its operator. */
  answered(nodeId: string, txId: string, value: bigint, kind: string): void {
    this.#world.trace.note(`${nodeId} answers ${kind} to ${txId}=${value}`);
    if (kind !== "RECORDED") return;
    const tx = this.tally.transactions.get(txId);
    const recorded = tx?.votes.get(nodeId);
    if (recorded !== value && tx?.isArchived !== true)
      this.accuse(
        "I11 nothing is visible before it is committed",
        `${nodeId} said RECORDED of ${txId}=${value}, and etcd has ${recorded ?? "nothing"}`,
      );
    this.#promised.set(`${txId} ${nodeId}`, value);
  }

  #forgetPromises(txId: string): void {
    for (const key of this.#promised.keys())
      if (key.startsWith(`${txId} `)) this.#promised.delete(key);
  }

  /** What a process logged. Of a bug it tells by an assertion that did not hold, or by what no server's failure explains. */
  logged(processName: string, level: string, message: string, { error }: LogFields): void {
    if (level === "debug" || level === "info") return;
    const cause = error instanceof Error ? `: ${error.name}: ${error.message}` : "";
    this.#world.trace.note(`${processName} logs ${level} ${message}${cause}`);
    if (error instanceof Error && BUGS.has(error.name))
      this.accuse("no assertion fails", `${processName}: ${message}${cause}`);
  }

  sent(raw: Uint8Array): void {
    this.#world.trace.note(`chain gets ${raw.length} B`);
    this.submissions.sent(raw);
  }

  watchingSubmissions(store: MemorySubmissionStore): MemorySubmissionStore {
    return watching(store, (operation, args, result) => {
      if (!QUIET.has(operation))
        this.#world.trace.note(`postgres ${operation} ${outcomeOf(result)}`);
      this.submissions.committed(operation as keyof SubmissionStore, args, result);
    });
  }

  watchingAudit(audit: MemoryAuditLog): MemoryAuditLog {
    return watching(audit, (operation, args, result) => {
      if (operation === "append") this.#world.trace.note(`history append ${outcomeOf(result)}`);
      const { revision } = this.#world.tally;
      this.history.committed(operation as keyof AuditLog, args, result, revision);
    });
  }

  /** Claimed transactions that are not on the chain for good, and what the database does not know of. */
  openSubmissions(): readonly string[] {
    const { chain } = this.#world;
    const open: string[] = [];
    for (const [txId, { decision }] of this.tally.transactions) {
      if (decision?.kind !== "SUBMIT") continue;
      if (!this.#onChain.has(txId)) open.push(`${txId} is claimed and not on the chain`);
    }
    if (chain.poolSize > 0) open.push("the pool is not empty");
    return open;
  }

  #onChain: ReadonlySet<string> = new Set();

  /** All canonical events of the contract, whenever there is a new block. */
  async lookAtChain(): Promise<void> {
    const { chain } = this.#world;
    const recorded = await chain.recordedEvents(0n, chain.tip.number);
    const txIds = [...this.tally.transactions.keys()];
    const named = new Map<string, string>();
    for (const txId of txIds) named.set(chain.keyOf(txId as never), txId);
    this.#onChain = new Set(recorded.flatMap(({ key }) => named.get(key) ?? []));
    this.submissions.onChain(
      recorded.map(({ key, value }) => ({ txId: named.get(key) ?? null, value })),
      chain.duplicates().map((key) => named.get(key) ?? key),
    );
  }

  /** What was promised and is not there. */
  atEnd(): void {
    const { plan } = this.#world;
    if (plan.faults.length === 0 && plan.byzantine.length === 0) this.#atEndOfCalm(plan);
    for (const [key, value] of this.#promised) {
      const [txId = "", nodeId = ""] = key.split(" ");
      if (this.tally.transactions.get(txId)?.votes.get(nodeId) !== value)
        this.accuse("I8 no accepted vote is lost", `${nodeId}'s vote on ${txId} is gone`);
    }
  }

  /** Nothing failed and nobody lied: whatever enough trustees agreed on in time is on the chain. */
  #atEndOfCalm(plan: Plan): void {
    // Who was in the minority of a disputed transaction is out, and no vote of its is missed.
    if (this.tally.bans.size > 0) return;
    for (const { txId, value, atMs } of plan.transactions) {
      const casts = plan.casts.filter((cast) => cast.txId === txId);
      const agree = casts.filter((cast) => cast.value === value);
      const inTime = casts.every((cast) => cast.atMs - atMs < plan.deadlineMs / 2);
      const noSkew = plan.clocks.every(({ skewMs }) => Math.abs(skewMs) < 1_000);
      if (agree.length < casts.length || casts.length < plan.threshold || !inTime || !noSkew)
        continue;
      const status = this.tally.transactions.get(txId)?.status;
      if (status !== "CONFIRMED")
        this.accuse("a calm world confirms everything", `${txId} is ${status ?? "unknown"}`);
    }
  }
}

/** Names of errors that only a mistake in the program makes. */
const BUGS: ReadonlySet<string> = new Set([
  "AssertionError",
  "TypeError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
]);

const QUIET: ReadonlySet<string> = new Set([
  "isLeader",
  "senderState",
  "peekQueued",
  "gaps",
  "liveSlots",
  "strandedSlots",
  "unconfirmed",
  "counts",
  "list",
  "get",
  "detail",
  "noteSent",
]);

function outcomeOf(result: unknown): string {
  if (typeof result === "string") return result;
  const kind: unknown = Reflect.get(Object(result), "kind");
  return typeof kind === "string" ? kind : "";
}

/** The same tables, with every call that came through told of. */
function watching<Port extends object>(
  port: Port,
  told: (operation: string, args: readonly unknown[], result: unknown) => void,
): Port {
  return new Proxy(port, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      return (...args: readonly unknown[]) => {
        const result: unknown = Reflect.apply(member, target, args);
        if (!(result instanceof Promise)) return result;
        return result.then((value: unknown) => {
          told(String(property), args, value);
          return value;
        });
      };
    },
  });
}

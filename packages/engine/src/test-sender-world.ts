import { parseClusterId, parseEpoch, parseEvmAddress, type TxId, unwrap } from "@quorate/core";
import type { ChainSigner, Hex, Sender, SenderLease, Slot } from "@quorate/ports";
import {
  type ChainFault,
  type ChainOperation,
  createMemorySubmissionStore,
  MemoryChain,
  type MemoryLogger,
  type MemoryMetrics,
  type MemorySubmissionStore,
  memoryChainSigner,
  memoryLogger,
  memoryMetrics,
  SimClock,
  txIdOf,
  valueOf,
} from "@quorate/testkit";
import type { AbortGate } from "./abort-gate.ts";
import { submitterMetrics } from "./catalogue.ts";
import { HistoryCheck } from "./history-check.ts";
import { type SenderOptions, SubmissionSender } from "./submission-sender.ts";

export const GWEI = 10n ** 9n;
export const ETHER = 10n ** 18n;
export const FINAL_DEPTH = 2;
const address = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
const epoch = unwrap(parseEpoch(1));

const OPTIONS: SenderOptions = {
  batchMax: 2,
  windowMax: 3,
  finality: { kind: "confirmations", blocks: FINAL_DEPTH },
  resendHeads: 3,
  bumpAfterMs: 10_000,
  cancelAfterMs: 120_000,
  feeCapWei: 100n * GWEI,
  requeuesMax: 2,
};

/** A sender on a chain and a database in memory, with everything that is sent held against what was committed. */
export class SenderWorld {
  readonly clock = new SimClock();
  readonly logger: MemoryLogger = memoryLogger();
  readonly metrics: MemoryMetrics = memoryMetrics();
  readonly signal: AbortSignal = new AbortController().signal;
  readonly chain: MemoryChain;
  readonly sender: Sender;
  submissions: MemorySubmissionStore;
  chainFault: (operation: ChainOperation) => ChainFault | null = () => null;
  storeFault: (operation: string, when: "before" | "after") => void = () => {};
  /** What etcd says ABORT of. */
  readonly aborted: Set<TxId> = new Set();
  readonly aborts: AbortGate = {
    abortedAmong: async (txIds) => new Set(txIds.filter((txId) => this.aborted.has(txId))),
  };
  /** What reached the chain although no committed attempt holds it. */
  uncommitted = 0;

  constructor() {
    this.chain = new MemoryChain(
      {
        clusterId: unwrap(parseClusterId("test")),
        fault: (operation) => this.chainFault(operation),
        onSend: (raw) => this.#judge(raw),
      },
      { clock: this.clock },
    );
    this.sender = { chainId: this.chain.chainId, address };
    this.submissions = this.newStore();
    this.chain.fund(address, ETHER);
  }

  newStore(): MemorySubmissionStore {
    return createMemorySubmissionStore({
      nowMs: () => this.clock.nowMs(),
      faults: {
        before: (operation) => this.storeFault(operation, "before"),
        after: (operation) => this.storeFault(operation, "after"),
      },
    });
  }

  /** Leads with its history checked, as a leader soon is. */
  async lead(floor?: bigint): Promise<SenderLease> {
    const lease = await this.submissions.becomeLeader(
      this.sender,
      floor ?? (await this.chain.nonceFloor(address)),
    );
    await this.submissions.markHistoryChecked(lease);
    return lease;
  }

  senderWith(
    lease: SenderLease,
    changes: Partial<SenderOptions> = {},
    signer: ChainSigner = memoryChainSigner(address),
  ): SubmissionSender {
    const { chain, submissions, clock, logger } = this;
    const metrics = submitterMetrics(this.metrics);
    return new SubmissionSender(
      lease,
      { ...OPTIONS, ...changes },
      { chain, signer, submissions, clock, logger, metrics, aborts: this.aborts },
    );
  }

  history(): HistoryCheck {
    const { chain, submissions, logger } = this;
    const metrics = submitterMetrics(this.metrics);
    return new HistoryCheck(
      this.sender,
      { finality: OPTIONS.finality, deployedAtBlock: 0n },
      { chain, submissions, logger, metrics },
    );
  }

  async queue(...ids: readonly string[]): Promise<void> {
    const rows = ids.map((id) => ({
      txId: txIdOf(id),
      key: this.chain.keyOf(txIdOf(id)),
      value: valueOf(7),
      epoch,
      decisionRevision: 1n,
    }));
    await this.submissions.enqueue(rows, this.sender);
  }

  /** New heads, a second apart, each looked at as the service does it. */
  async heads(sender: SubmissionSender, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.chain.mine();
      await this.clock.advance(1_000);
      await sender.reconcile(this.chain.tip.number, { signal: this.signal });
    }
  }

  async states(...ids: readonly string[]): Promise<readonly (string | undefined)[]> {
    return Promise.all(ids.map(async (id) => (await this.submissions.get(txIdOf(id)))?.state));
  }

  /** The live slots, without faults. */
  async slots(): Promise<readonly Slot[]> {
    const fault = this.storeFault;
    this.storeFault = () => {};
    const slots = await this.submissions.liveSlots(this.sender);
    this.storeFault = fault;
    return slots;
  }

  /** How often the contract was asked to record each id, refused repetitions included, over all blocks. */
  async recorded(txId: TxId): Promise<number> {
    const key: Hex = this.chain.keyOf(txId);
    const events = await this.chain.recordedEvents(0n, this.chain.tip.number);
    return events.filter((event) => event.key === key).length;
  }

  async #judge(raw: Uint8Array): Promise<void> {
    const attempts = (await this.slots()).flatMap((slot) => slot.attempts);
    if (!attempts.some((a) => Buffer.compare(a.raw, raw) === 0)) this.uncommitted++;
  }
}

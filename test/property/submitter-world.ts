import { parseEvmAddress, unwrap } from "@quorate/core";
import { SubmitterService, withFaultPoints } from "@quorate/engine";
import { FaultLoss, type Sender } from "@quorate/ports";
import {
  createMemoryAuditLog,
  createMemorySubmissionStore,
  MemoryChain,
  type MemorySubmissionStore,
  MemoryTallyStore,
  memoryChainSigner,
  memoryLogger,
  memoryMetrics,
  nodeEd25519,
  prng,
  type SeededRandom,
} from "@quorate/testkit";
import type { ClusterWorld } from "./cluster-world.ts";

const GWEI = 10n ** 9n;
const ETHER = 10n ** 18n;
export const FINAL_DEPTH = 3;
const LEASE_TTL_SECONDS = 3;
const BLOCK_MS = 1_000;
const ADDRESS = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));

interface Process {
  readonly store: MemoryTallyStore;
  readonly service: SubmitterService;
  alive: boolean;
}

/** Submitters as they run beside a cluster, on a chain and a database in memory; each can die between any two calls. */
export class SubmitterWorld {
  readonly chain: MemoryChain;
  readonly database: MemorySubmissionStore;
  /** How many calls in a thousand lose their request or their answer. */
  lossPerMille = 0;
  /** What reached the chain although no committed attempt holds it. */
  uncommitted = 0;
  readonly #cluster: ClusterWorld;
  readonly #random: SeededRandom;
  readonly #processes: Process[] = [];
  readonly #sender: Sender;

  constructor(cluster: ClusterWorld, seed: number) {
    const { clock } = cluster;
    this.#cluster = cluster;
    this.#random = prng(seed);
    this.chain = new MemoryChain(
      { clusterId: cluster.cluster.set.clusterId, onSend: (raw) => this.#judge(raw) },
      { clock },
    );
    this.#sender = { chainId: this.chain.chainId, address: ADDRESS };
    this.chain.fund(ADDRESS, ETHER);
    this.database = createMemorySubmissionStore({ nowMs: () => clock.nowMs() });
  }

  /** Starts one more; it leads when no other does. */
  start(): void {
    const { clock, shared } = this.#cluster;
    const store = new MemoryTallyStore(shared, { clock });
    const at = this.#processes.length;
    const ports = withFaultPoints(
      {
        store,
        submissions: this.database,
        chain: this.chain,
        signer: memoryChainSigner(ADDRESS),
      },
      (point) => {
        const isDead = this.#processes[at]?.alive === false;
        if (isDead || this.#random.below(1_000) < this.lossPerMille) throw new FaultLoss(point);
      },
    );
    const service = new SubmitterService(
      {
        candidate: `submitter-${at}`,
        leaseTtlSeconds: LEASE_TTL_SECONDS,
        claims: { settleMs: 200, windowMs: 10, batchMax: 100 },
        sender: {
          batchMax: 2,
          windowMax: 3,
          finality: { kind: "confirmations", blocks: FINAL_DEPTH },
          resendHeads: 2,
          bumpAfterMs: 4_000,
          cancelAfterMs: 30_000,
          feeCapWei: 100n * GWEI,
          requeuesMax: 50,
        },
        history: { deployedAtBlock: 0n },
        batchWindowMs: 50,
      },
      {
        ...ports,
        election: store,
        audit: createMemoryAuditLog(),
        ed25519: nodeEd25519,
        clock,
        logger: memoryLogger(),
        metrics: memoryMetrics(),
        // A supervisor starts it again.
        onFatal: () => {
          const process = this.#processes[at];
          if (process?.alive !== true) return;
          this.#end(process);
          clock.schedule(BLOCK_MS, () => this.start());
        },
      },
    );
    const process: Process = { store, service, alive: true };
    this.#processes.push(process);
    service.start().catch(() => {
      if (!process.alive) return;
      this.#end(process);
      clock.schedule(BLOCK_MS, () => this.start());
    });
  }

  /** The oldest process that lives dies between two calls, whatever it was at. */
  crash(): void {
    const process = this.#processes.find(({ alive }) => alive);
    if (process !== undefined) this.#end(process);
  }

  #end(process: Process): void {
    process.alive = false;
    process.store.crash();
  }

  get living(): number {
    return this.#processes.filter(({ alive }) => alive).length;
  }

  /** Lets time pass, with a block a second. */
  async pass(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += BLOCK_MS) {
      await this.#cluster.clock.advance(BLOCK_MS);
      this.chain.mine();
    }
  }

  async close(): Promise<void> {
    const stopped = this.#processes
      .filter(({ alive }) => alive)
      .map(({ service }) => service.stop());
    await this.#cluster.clock.advance(2 * BLOCK_MS);
    await Promise.all(stopped);
  }

  async #judge(raw: Uint8Array): Promise<void> {
    const slots = await this.database.liveSlots(this.#sender);
    const attempts = slots.flatMap((slot) => slot.attempts);
    if (!attempts.some((attempt) => Buffer.compare(attempt.raw, raw) === 0)) this.uncommitted++;
  }
}

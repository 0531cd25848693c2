import {
  parseEvmAddress,
  type TxRecord,
  type TxStatus,
  unwrap,
  type VerifiedVote,
} from "@quorate/core";
import type { ChangeSet, SenderLease } from "@quorate/ports";
import {
  createMemorySubmissionStore,
  MemoryChain,
  type MemoryLogger,
  type MemoryMetrics,
  type MemorySubmissionStore,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  type TallyFault,
  type TallyOperation,
  valueOf,
  vote,
} from "@quorate/testkit";
import { expect } from "vitest";
import { submitterMetrics } from "./catalogue.ts";
import { SubmissionClaims } from "./submission-claims.ts";
import { SubmissionSpans } from "./submission-spans.ts";
import { TallyView } from "./tally-view.ts";
import { TestTracer } from "./test-tracer.ts";
import { tx, World } from "./test-world.ts";

export const address = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
export const SETTLE_MS = 500;

/** A submitter's claims as `SubmitterService` runs them. */
export interface ClaimsProcess {
  readonly claims: SubmissionClaims;
  readonly view: TallyView;
  readonly queued: string[];
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
  readonly tracer: TestTracer;
  readonly signal: AbortSignal;
  fault: (operation: TallyOperation) => TallyFault | null;
  crash(): void;
}

/** One test's cluster, database and chain, with as many submitters as it starts. */
export class ClaimsStage {
  readonly world: World;
  readonly submissions: MemorySubmissionStore;
  readonly chain: MemoryChain;
  readonly lease: SenderLease;
  readonly #faults: ClaimsFaults;
  readonly #stops: AbortController[] = [];

  private constructor(
    world: World,
    submissions: MemorySubmissionStore,
    chain: MemoryChain,
    lease: SenderLease,
    faults: ClaimsFaults,
  ) {
    this.world = world;
    this.submissions = submissions;
    this.chain = chain;
    this.lease = lease;
    this.#faults = faults;
  }

  static async open(): Promise<ClaimsStage> {
    const world = await World.open({ running: 1 });
    const faults: ClaimsFaults = { store: () => {} };
    const submissions = createMemorySubmissionStore({
      nowMs: () => world.clock.nowMs(),
      faults: {
        before: (operation) => faults.store(operation, "before"),
        after: (operation) => faults.store(operation, "after"),
      },
    });
    const chain = new MemoryChain(
      { clusterId: world.cluster.set.clusterId },
      { clock: world.clock },
    );
    const lease = await submissions.becomeLeader({ chainId: chain.chainId, address }, 0n);
    return new ClaimsStage(world, submissions, chain, lease, faults);
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop.abort(new Error("the test is over"));
    await this.world.close();
  }

  set storeFault(fault: ClaimsFaults["store"]) {
    this.#faults.store = fault;
  }

  /** @param viewEntriesMax how many transactions fit its view */
  async start(viewEntriesMax?: number): Promise<ClaimsProcess> {
    const { world, submissions, chain, lease } = this;
    const stop = new AbortController();
    this.#stops.push(stop);
    const { signal } = stop;
    const view = new TallyView(viewEntriesMax === undefined ? {} : { entriesMax: viewEntriesMax });
    const logger = memoryLogger();
    const metrics = memoryMetrics();
    const queued: string[] = [];
    const tracer = new TestTracer();
    const store = new MemoryTallyStore(
      world.shared,
      { clock: world.clock },
      { fault: ({ operation }) => process.fault(operation) },
    );
    let config = await world.config();
    const claims = new SubmissionClaims(
      { settleMs: SETTLE_MS, windowMs: 10, batchMax: 100 },
      {
        config: () => config,
        verify: world.cluster.verify,
        store,
        view,
        submissions,
        chain,
        lease,
        clock: world.clock,
        logger,
        metrics: submitterMetrics(metrics),
        onQueued: (txIds) => void queued.push(...txIds),
        spans: new SubmissionSpans({ tracer, clock: world.clock }),
      },
    );
    const process: ClaimsProcess = {
      claims,
      view,
      queued,
      logger,
      metrics,
      tracer,
      signal,
      fault: () => null,
      crash: () => stop.abort(new Error("crash")),
    };
    const revision = await store.revision();
    const open = await store.listTransactions({ after: null, limit: 100 });
    for (const { txId, status, record } of open) view.noteExisting(txId, status, record);
    claims.onListed(open);
    const onChanges = async (set: ChangeSet): Promise<void> => {
      if (set.changes.some((change) => change.kind === "config")) config = await store.readConfig();
      claims.onView(view.apply(set));
    };
    void store.watch(revision, onChanges, { signal });
    void claims.run({ signal });
    return process;
  }

  /** Has trustees vote, one after the other, recorded by the one node that runs. */
  async votes(txId: string, values: readonly (number | null)[]): Promise<void> {
    const { world } = this;
    for (const [i, value] of values.entries())
      if (value !== null) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, txId, value));
    await world.clock.advance(20);
  }

  async status(txId: string): Promise<TxStatus | null> {
    return (await this.world.snapshot(txId)).status;
  }

  /** What trustees signed for one transaction, as if it had been for another. */
  copied(from: string, to: string, value: number): readonly VerifiedVote[] {
    return [0, 1, 2, 3].map((i) => {
      const real = vote(this.world.cluster, i, from, value);
      return { ...real, vote: { ...real.vote, txId: tx(to) } };
    });
  }

  /** Writes a state that no rule produced, as somebody with write access to the store could. */
  async forge(
    txId: string,
    to: { readonly status: TxStatus; readonly value: number },
    stolen: readonly VerifiedVote[] = [],
  ): Promise<void> {
    const { world } = this;
    const record: TxRecord = {
      epoch: world.cluster.set.epoch,
      policy: "strict-abort",
      profile: "balanced",
      excluded: [],
      openedAtMs: world.clock.nowMs(),
      deadlineAtMs: world.clock.nowMs() + 30_000,
      value: valueOf(to.value),
      unanimous: true,
      thresholdAtMs: world.clock.nowMs(),
      reason: null,
      offenders: [],
      absent: null,
      chain: null,
    };
    const { version } = await world.store.read(tx(txId));
    const [outcome] = await world.store.commit(
      [
        {
          version,
          writes: {
            txId: tx(txId),
            newVotes: stolen,
            counts: new Map([[valueOf(to.value), 4]]),
            status: to.status,
            record,
            decision: null,
            violations: [],
            bans: [],
            silenceStreaks: new Map(),
          },
        },
      ],
      (await world.config()).epochVersion,
    );
    expect(outcome?.kind).toBe("committed");
  }
}

interface ClaimsFaults {
  store: (operation: string, when: "before" | "after") => void;
}

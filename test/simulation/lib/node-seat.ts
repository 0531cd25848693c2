import { TrusteeNode } from "@quorate/engine";
import type { AccusationJournal, Ed25519, Gossip, TallyStore, VoteJournal } from "@quorate/ports";
import {
  MemoryGossip,
  quietMetrics,
  SimDisk,
  SimLink,
  SimProcess,
  simAccusationJournal,
  simEd25519,
  simTallyClient,
  simVoteJournal,
  type TestNode,
  tallyError,
} from "@quorate/testkit";
import type { NodeMutation } from "./mutants.ts";
import { watchingLogger } from "./watching-logger.ts";
import type { World } from "./world.ts";

/** The trustee's own ports, as a mutant may spoil them. */
export interface NodePorts {
  readonly store: TallyStore;
  readonly gossip: Gossip;
  readonly journal: VoteJournal;
  readonly accusations: AccusationJournal;
  readonly ed25519: Ed25519;
}

const RESTART_MS = 1_200;
const ETCD_TIMEOUT_MS = 2_000;

/** A trustee's place: its identity, its disk and its clock outlive the processes that sit on it. */
export class NodeSeat {
  readonly index: number;
  readonly identity: TestNode;
  readonly disk = new SimDisk();
  skewMs: number;
  process: SimProcess | null = null;
  /** Null while it is down or starting. */
  node: TrusteeNode | null = null;
  /** Counts processes. */
  run = 0;
  readonly #world: World;
  readonly #mutation: NodeMutation | null;
  #armed: { readonly point: string; left: number } | null = null;
  /** Not to be started again before this time of the world's. */
  #downUntilMs = 0;

  constructor(world: World, identity: TestNode, index: number, mutation: NodeMutation | null) {
    this.#world = world;
    this.index = index;
    this.identity = identity;
    this.#mutation = mutation;
    this.skewMs = world.plan.clocks[index]?.skewMs ?? 0;
  }

  get name(): string {
    return this.identity.nodeId;
  }

  start(): void {
    const world = this.#world;
    const { plan, clock } = world;
    this.run++;
    const process = new SimProcess(
      {
        name: `${this.name}#${this.run}`,
        drift: plan.clocks[this.index]?.drift ?? 0,
        skewMs: () => this.skewMs,
      },
      { clock },
    );
    this.process = process;
    const random = world.stream(`etcd/${this.name}`);
    const places = plan.trustees + plan.submitters;
    const link = new SimLink(
      {
        timeoutMs: ETCD_TIMEOUT_MS,
        fate: (operation) => world.weather.etcd(random, this.index, places, operation),
        isCut: () => world.weather.isEtcdCut(this.index, places),
        errorOf: tallyError,
      },
      { clock, process, server: world.etcd },
    );
    const gossip = new MemoryGossip(this.identity, world.network, {
      enter: (work) => process.enter(work),
    });
    process.onEnd(() => gossip.crash());
    const honest: NodePorts = {
      store: simTallyClient(link, { shared: world.tally, server: world.etcdServer }),
      gossip,
      journal: simVoteJournal(this.disk, process),
      accusations: simAccusationJournal(this.disk, process),
      ed25519: simEd25519,
    };
    const ports = this.#mutation === null ? honest : this.#mutation(honest, { world, process });
    world.witness.nodeBegins(this.name, process.clock.nowMs(), process.name);
    const node = new TrusteeNode(
      {
        clusterId: world.cluster.set.clusterId,
        nodeId: this.identity.nodeId,
        protocol: world.protocol,
        pipeline: { windowMs: 4, staggerMs: 150, batchMax: 100, batchesInFlightMax: 4 },
        publisher: { windowMs: 4, intervalMs: 30, frameVotesMax: 256 },
        presenceTtlSeconds: 5,
        apiUrl: null,
        version: "sim",
      },
      {
        ...ports,
        signer: this.identity.signer,
        clock: process.clock,
        logger: watchingLogger((level, message, fields) => {
          // What was on its way when the process died has no say any more.
          if (process.isAlive) world.witness.logged(process.name, level, message, fields);
        }),
        metrics: quietMetrics,
        onFatal: (error) => this.#fall(process, `fatal: ${textOf(error)}`),
        fault: (point) => this.#atPoint(process, point),
      },
    );
    world.trace.note(`${process.name} starts`);
    node.start().then(
      () => {
        if (this.process !== process || !process.isAlive) return;
        world.trace.note(`${process.name} is up`);
        this.node = node;
      },
      (error: unknown) => this.#fall(process, `did not start: ${textOf(error)}`),
    );
  }

  /** Ends the present process, as `kill -9` does, and has the supervisor start the next. @returns whether there was one */
  crash(downMs: number, why: string): boolean {
    this.#downUntilMs = Math.max(this.#downUntilMs, this.#world.clock.monotonicMs() + downMs);
    if (this.process === null) return false;
    this.#fall(this.process, why);
    return true;
  }

  /** The process dies when it passes a point for the nth time. */
  arm(point: string, nth: number): void {
    this.#armed = { point, left: nth };
  }

  disarm(): void {
    this.#armed = null;
  }

  #atPoint(process: SimProcess, point: string): void {
    if (this.#armed === null || this.#armed.point !== point || this.process !== process) return;
    if (--this.#armed.left > 0) return;
    this.#armed = null;
    this.#world.weather.strike("node-crash-at-point");
    this.#fall(process, `killed at ${point}`);
    throw new Error(`killed at ${point}`);
  }

  #fall(process: SimProcess, why: string): void {
    if (!process.isAlive) return;
    const world = this.#world;
    world.trace.note(`${process.name} ends: ${why}`);
    process.kill();
    this.process = null;
    this.node = null;
    world.witness.nodeEnded(process.name);
    const waitMs = Math.max(RESTART_MS, this.#downUntilMs - world.clock.monotonicMs());
    world.clock.schedule(waitMs, () => {
      if (this.process === null) this.start();
    });
  }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

import {
  DEFAULT_PROTOCOL_CONFIG,
  type ProtocolConfig,
  parseEvmAddress,
  unwrap,
} from "@quorate/core";
import {
  createMemoryAuditLog,
  createMemorySubmissionStore,
  type MemoryAuditLog,
  MemoryChain,
  MemoryNetwork,
  type MemorySubmissionStore,
  MemoryTallyStore,
  nodeAt,
  prng,
  type SeededRandom,
  SharedTally,
  SimClock,
  SimServer,
  simVoteSigner,
  type TestCluster,
  testCluster,
} from "@quorate/testkit";
import type { Client } from "./client.ts";
import type { Mutant } from "./mutants.ts";
import type { NodeSeat } from "./node-seat.ts";
import type { Plan } from "./plan.ts";
import type { SubmitterSeat } from "./submitter-seat.ts";
import { Trace } from "./trace.ts";
import { Weather } from "./weather.ts";
import { Witness } from "./witness.ts";

const ETHER = 10n ** 18n;
export const SENDER_ADDRESS = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
/** Blocks after which the submitters take one for final. Reorgs are shallower. */
export const FINAL_DEPTH = 4;

export interface WorldOptions {
  readonly keepLines?: number;
  readonly onLine?: ((line: string) => void) | null;
  readonly mutant?: Mutant | null;
}

/** The servers, the network and the time of one run. Processes are seated around it. */
export class World {
  readonly plan: Plan;
  readonly clock = new SimClock();
  readonly trace: Trace;
  readonly weather = new Weather();
  readonly witness: Witness;
  readonly cluster: TestCluster;
  readonly protocol: ProtocolConfig;
  readonly tally: SharedTally;
  readonly etcd = new SimServer("etcd");
  /** A client without faults, which carries out what arrives at the server. */
  readonly etcdServer: MemoryTallyStore;
  readonly postgres = new SimServer("postgres");
  readonly submissions: MemorySubmissionStore;
  readonly audit: MemoryAuditLog;
  readonly rpc = new SimServer("rpc");
  readonly chain: MemoryChain;
  readonly network: MemoryNetwork;
  /** Who sits where; filled when the run begins. */
  nodes: readonly NodeSeat[] = [];
  submitters: readonly SubmitterSeat[] = [];
  clients: readonly Client[] = [];
  readonly #streams = new Map<string, SeededRandom>();

  constructor(plan: Plan, { keepLines = 0, onLine = null, mutant = null }: WorldOptions = {}) {
    this.plan = plan;
    const { clock } = this;
    this.trace = new Trace(() => clock.monotonicMs(), { keep: keepLines, listener: onLine });
    this.cluster = testCluster({
      trustees: plan.trustees,
      threshold: plan.threshold,
      clusterId: "sim",
      signerOf: simVoteSigner,
    });
    this.protocol = {
      ...DEFAULT_PROTOCOL_CONFIG,
      policy: plan.policy,
      profile: plan.profile,
      deadlineMs: plan.deadlineMs,
    };
    this.witness = new Witness(this);
    const { witness } = this;
    this.tally = new SharedTally({ clock });
    this.tally.observe((set) => witness.published(set));
    this.etcdServer = new MemoryTallyStore(
      this.tally,
      { clock },
      {
        name: "server",
        forgets: new Set(mutant?.forgottenGuards),
      },
    );
    this.submissions = witness.watchingSubmissions(
      createMemorySubmissionStore({
        nowMs: () => clock.nowMs(),
        unfenced: mutant?.isUnfenced ?? false,
      }),
    );
    this.audit = witness.watchingAudit(createMemoryAuditLog());
    this.chain = new MemoryChain(
      {
        clusterId: this.cluster.set.clusterId,
        onSend: (raw) => witness.sent(raw),
        finalizedDepth: 64,
      },
      { clock },
    );
    this.chain.fund(SENDER_ADDRESS, 1_000n * ETHER);
    this.network = new MemoryNetwork(
      { clock },
      {
        forwards: true,
        fault: ({ from, to }) => {
          const random = this.stream(`gossip/${from}/${to}`);
          return this.weather.gossip(random, this.placeOf(from), this.placeOf(to), plan.trustees);
        },
        onVerdict: (delivery, message) => witness.judged(delivery, message),
      },
    );
  }

  /** A stream of draws of its own for each purpose, so that one more draw here changes nothing there. */
  stream(name: string): SeededRandom {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    const made = prng(mix(this.plan.seed, name));
    this.#streams.set(name, made);
    return made;
  }

  placeOf(peer: string): number {
    return this.cluster.nodes.findIndex(({ peerId }) => peerId === peer);
  }

  nameOf(peer: string): string {
    const place = this.placeOf(peer);
    return place < 0 ? peer : nodeAt(this.cluster, place).nodeId;
  }

  /** The process that sits at a trustee's place now. */
  processAt(place: number): string | null {
    return this.nodes.find(({ index }) => index === place)?.process?.name ?? null;
  }

  isByzantine(index: number): boolean {
    return this.plan.byzantine.some((bad) => bad.index === index);
  }
}

/** FNV-1a over the name, mixed with the seed. */
function mix(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) {
    hash ^= name.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}

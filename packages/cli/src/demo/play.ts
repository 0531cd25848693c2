import {
  parseNodeId,
  parseTxId,
  parseValue,
  type TxId,
  type TxStatus,
  unwrap,
} from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  type MisbehavingPeer,
  readEtcdPrefix,
  startMisbehavingPeer,
} from "@quorate/localcluster";
import { createNodeClient, NodeApiError } from "@quorate/localcluster/client";
import { follow } from "../commands/vote.ts";
import { CliError, describeError } from "../failure.ts";
import { paintStatus } from "../render/transaction.ts";
import type { Style } from "../terminal.ts";
import { collectEvidence, type Evidence } from "./evidence.ts";
import { deviations } from "./judge.ts";
import type { Scenario, Stage } from "./scenarios.ts";

export interface ScenarioResult {
  readonly name: string;
  readonly txId: string;
  readonly status: TxStatus | null;
  readonly value: string | null;
  readonly onChainValue: string | null;
  readonly chainTxHash: string | null;
  readonly banned: readonly string[];
  readonly violations: readonly string[];
  /** From the first vote to the final status, in ms. */
  readonly latencyMs: number | null;
  readonly etcd: Evidence["etcd"] | null;
  readonly postgres: Evidence["postgres"] | null;
  readonly deviations: readonly string[];
  readonly ok: boolean;
}

export interface Narrator {
  say(text: string): void;
  readonly style: Style;
}

const END_TIMEOUT_MS = 60_000;
const STEP_TIMEOUT_MS = 30_000;
const POLL_MS = 20;

/** Plays one scenario on a cluster of its own and holds what came of it against what must. */
export async function play(
  scenario: Scenario,
  world: { readonly servers: LocalServers; readonly cluster: LocalCluster },
  narrator: Narrator,
  signal: AbortSignal,
): Promise<ScenarioResult> {
  const txId = unwrap(parseTxId(`${scenario.name}-tx`));
  const scene = new Scene(scenario, { ...world, txId, signal }, narrator);
  try {
    const latencyMs = await scene.run();
    const evidence = await collectEvidence(
      { ...world, txId, signal },
      { aborted: scenario.expected.onChain === null },
    );
    const problems = deviations(scenario.expected, evidence);
    return resultOf(scenario.name, txId, latencyMs, evidence, problems);
  } catch (error) {
    signal.throwIfAborted();
    return failedResult(scenario.name, [describeError(error, { debug: false })]);
  } finally {
    await scene.close();
  }
}

/** A scenario that could not be played. */
export function failedResult(name: string, problems: readonly string[]): ScenarioResult {
  return {
    name,
    txId: `${name}-tx`,
    status: null,
    value: null,
    onChainValue: null,
    chainTxHash: null,
    banned: [],
    violations: [],
    latencyMs: null,
    etcd: null,
    postgres: null,
    deviations: problems,
    ok: false,
  };
}

function resultOf(
  name: string,
  txId: TxId,
  latencyMs: number,
  { chain, etcd, postgres }: Evidence,
  problems: readonly string[],
): ScenarioResult {
  const status = etcd.status;
  return {
    name,
    txId,
    status: isStatus(status) ? status : null,
    value: etcd.value,
    onChainValue: chain.value,
    chainTxHash: chain.txHash,
    banned: etcd.banned,
    violations: etcd.violations,
    latencyMs,
    etcd,
    postgres,
    deviations: problems,
    ok: problems.length === 0,
  };
}

function isStatus(text: string | null): text is TxStatus {
  return (
    text !== null &&
    /^(COLLECTING|THRESHOLD_REACHED|SUBMITTED|CONFIRMED|ABORTED_BYZANTINE)$/.test(text)
  );
}

interface ScenePlace {
  readonly servers: LocalServers;
  readonly cluster: LocalCluster;
  readonly txId: TxId;
  readonly signal: AbortSignal;
}

class Scene implements Stage {
  readonly #scenario: Scenario;
  readonly #place: ScenePlace;
  readonly #narrator: Narrator;
  readonly #ended = new AbortController();
  #peer: MisbehavingPeer | null = null;
  #status: TxStatus | null = null;
  #firstVoteMs: number | null = null;
  #zeroMs = performance.now();

  constructor(scenario: Scenario, place: ScenePlace, narrator: Narrator) {
    this.#scenario = scenario;
    this.#place = place;
    this.#narrator = narrator;
  }

  /** @returns ms from the first vote to the final status */
  async run(): Promise<number> {
    const { cluster, signal, txId } = this.#place;
    const [impostor] = this.#scenario.impostor ? this.#scenario.absent : [];
    if (impostor !== undefined) {
      this.#peer = await startMisbehavingPeer(cluster, unwrap(parseNodeId(impostor)), { signal });
      this.say(`a peer with ${impostor}'s key has joined (process ${this.#peer.pid})`);
    }
    this.#zeroMs = performance.now();
    let endMs = 0;
    const witness = createNodeClient(this.#nodeOf("trustee-1").url);
    const end = follow(witness, txId, {
      timeoutMs: END_TIMEOUT_MS,
      onStatus: (tx) => {
        this.#status = tx.status;
        endMs = performance.now();
        const why = tx.reason === null ? "" : ` (${tx.reason})`;
        this.say(`${paintStatus(tx.status, this.#narrator.style)}${why}`);
      },
      signal: AbortSignal.any([signal, this.#ended.signal]),
    });
    // Awaited below; a failure before that must not count as unhandled.
    end.catch(() => {});
    await this.#scenario.act(this);
    await end;
    await this.#awaitViolations();
    return Math.round(endMs - (this.#firstVoteMs ?? endMs));
  }

  async close(): Promise<void> {
    this.#ended.abort(new Error("the scene is over"));
    await this.#peer?.stop();
  }

  say(text: string): void {
    const seconds = ((performance.now() - this.#zeroMs) / 1_000).toFixed(1);
    this.#narrator.say(`  ${this.#narrator.style.dim(`${seconds.padStart(5)} s`)}  ${text}`);
  }

  async cast(nodeId: string, value: string): Promise<void> {
    const { txId, signal } = this.#place;
    this.#firstVoteMs ??= performance.now();
    try {
      const receipt = await createNodeClient(this.#nodeOf(nodeId).url).vote(txId, value, {
        signal,
      });
      this.say(`${nodeId} votes ${value}: ${receipt.outcome}`);
    } catch (error) {
      if (!(error instanceof NodeApiError) || error.code === "UNREACHABLE") throw error;
      this.say(`${nodeId} votes ${value}: refused, ${error.code}`);
    }
  }

  async publish(nodeId: string, value: string): Promise<void> {
    const peers = await this.#impostor(nodeId).publish(this.#place.txId, unwrap(parseValue(value)));
    this.say(`${nodeId} signs ${value} and publishes it to ${peers} peers`);
  }

  async publishTampered(nodeId: string, value: string): Promise<void> {
    const { txId } = this.#place;
    const peers = await this.#impostor(nodeId).publishTampered(txId, unwrap(parseValue(value)));
    this.say(`${nodeId} publishes ${value} with a spoiled signature to ${peers} peers`);
  }

  async reached(...statuses: readonly TxStatus[]): Promise<void> {
    await this.#until(
      () => this.#status !== null && statuses.includes(this.#status),
      statuses.join(" or "),
    );
  }

  async recorded(nodeId: string): Promise<void> {
    const { txId } = this.#place;
    await this.#until(() => this.#hasKey(`votes/${txId}/${nodeId}`), `the vote of ${nodeId}`);
    this.say(`the vote of ${nodeId} is recorded`);
  }

  async banned(nodeId: string): Promise<void> {
    const peerId = this.#place.cluster.set.trustees.find((t) => t.nodeId === nodeId)?.peerId;
    await this.#until(() => this.#hasKey(`banned/${peerId}`), `the ban of ${nodeId}`);
    this.say(this.#narrator.style.bad(`${nodeId} is banned`));
  }

  /** Silence is judged after the deadline, which may lie behind the end. */
  async #awaitViolations(): Promise<void> {
    const { violations } = this.#scenario.expected;
    for (const type of violations) {
      await this.#until(() => this.#hasViolation(type), `the violation ${type}`);
      this.say(`violation recorded: ${this.#narrator.style.bad(type)}`);
    }
  }

  async #hasViolation(type: string): Promise<boolean> {
    const { cluster, servers, txId, signal } = this.#place;
    const prefix = `/quorate/${cluster.clusterId}/violations/${txId}/`;
    const entries = await readEtcdPrefix(servers.etcd.endpoints[0] ?? "", prefix, { signal });
    return entries.some(({ key }) => key.endsWith(`/${type}`));
  }

  async #hasKey(path: string): Promise<boolean> {
    const { cluster, servers, signal } = this.#place;
    const key = `/quorate/${cluster.clusterId}/${path}`;
    const entries = await readEtcdPrefix(servers.etcd.endpoints[0] ?? "", key, { signal });
    return entries.some((entry) => entry.key === key);
  }

  async #until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const { signal } = this.#place;
    await waitUntil(condition, { timeoutMs: STEP_TIMEOUT_MS, pollMs: POLL_MS, what, signal });
  }

  #nodeOf(nodeId: string) {
    const node = this.#place.cluster.nodes.find((candidate) => candidate.nodeId === nodeId);
    if (node === undefined) throw new CliError(`the cluster has no ${nodeId}`);
    return node;
  }

  #impostor(nodeId: string): MisbehavingPeer {
    if (this.#peer?.nodeId !== nodeId) throw new CliError(`no peer has taken ${nodeId}'s place`);
    return this.#peer;
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { prng, type SeededRandom } from "@quorate/testkit";

/** A node as its trustee's client sees it. */
export interface Ballot {
  readonly name: string;
  readonly url: string;
}

/** A transaction on which every honest trustee votes the same value. */
export interface OfferedTx {
  readonly txId: string;
  readonly value: string;
  /** When its votes were due, by the monotonic clock: latency counts from here, however late they were sent. */
  readonly intendedMs: number;
}

export interface OpenLoadOptions {
  readonly ballots: readonly Ballot[];
  readonly token: string;
  /** Transactions a second. */
  readonly rate: number;
  readonly prefix: string;
  readonly seed: number;
}

interface Due {
  readonly tx: OfferedTx;
  readonly notBeforeMs: number;
}

const TICK_MS = 20;
/** A request that carries more would exceed the API's 64 KiB only with ids longer than ours; the answer would come later. */
const BATCH_MAX = 200;
const REQUESTS_MAX = 256;
const RETRY_MS = 500;
const REQUEST_TIMEOUT_MS = 20_000;

/**
 * Offers transactions at a rate, whether or not earlier ones are decided (an open loop): each trustee's client hands its
 * vote to its own node, and again until the node has answered for good. What was answered RECORDED is kept, and must be
 * found recorded at the end.
 */
export class OpenLoad {
  readonly offered: OfferedTx[] = [];
  /** By `txId/nodeId`, the value that its node called RECORDED. */
  readonly accepted = new Map<string, string>();
  /** Votes that a node refused for good, with its code. */
  readonly refused: { readonly txId: string; readonly node: string; readonly code: string }[] = [];
  /** Requests that found nobody, and answers that promised nothing yet. */
  readonly counts = { requests: 0, unreachable: 0, pending: 0, retryLater: 0 };
  readonly #options: OpenLoadOptions;
  readonly #random: SeededRandom;
  readonly #queues = new Map<string, Due[]>();
  readonly #inFlight = new Map<string, number>();
  /** Clients that cast no votes at present. */
  readonly silent = new Set<string>();
  #offering = false;
  #running = false;
  #loop: Promise<void> = Promise.resolve();
  #startedMs = 0;
  #count = 0;

  constructor(options: OpenLoadOptions) {
    this.#options = options;
    this.#random = prng(options.seed);
    for (const { name } of options.ballots) this.#queues.set(name, []);
  }

  start(): void {
    this.#offering = true;
    this.#running = true;
    this.#startedMs = performance.now();
    this.#count = 0;
    this.#loop = this.#run();
  }

  /** One transaction more, at once, besides the rate. @param voters names; default all */
  offer(txId: string, voters?: readonly string[]): OfferedTx {
    return this.#offer(txId, performance.now(), voters);
  }

  /** Votes of some trustees on a transaction that others have voted on. */
  cast(tx: OfferedTx, voters: readonly string[]): void {
    for (const name of voters) this.#queues.get(name)?.push({ tx, notBeforeMs: 0 });
  }

  /** No more transactions; votes that have no answer yet go on being offered. */
  endOffers(): void {
    this.#offering = false;
  }

  /** Votes without an answer for good. */
  get unanswered(): number {
    let sum = 0;
    for (const queue of this.#queues.values()) sum += queue.length;
    for (const count of this.#inFlight.values()) sum += count;
    return sum;
  }

  async stop(): Promise<void> {
    this.#offering = false;
    this.#running = false;
    await this.#loop;
  }

  #offer(txId: string, intendedMs: number, voters?: readonly string[]): OfferedTx {
    const high = BigInt(this.#random.below(2 ** 32)) << 32n;
    const value = (high | BigInt(this.#random.below(2 ** 32))).toString();
    const tx = { txId, value, intendedMs };
    this.offered.push(tx);
    const names = voters ?? this.#options.ballots.map(({ name }) => name);
    this.cast(
      tx,
      names.filter((name) => !this.silent.has(name)),
    );
    return tx;
  }

  async #run(): Promise<void> {
    const { rate, prefix, ballots } = this.#options;
    while (this.#running) {
      const elapsedMs = performance.now() - this.#startedMs;
      while (this.#offering && rate > 0 && (this.#count * 1_000) / rate <= elapsedMs) {
        const intendedMs = this.#startedMs + (this.#count * 1_000) / rate;
        this.#offer(`${prefix}-${this.#count}`, intendedMs);
        this.#count++;
      }
      for (const ballot of ballots) this.#send(ballot);
      await sleep(TICK_MS);
    }
  }

  #send(ballot: Ballot): void {
    const queue = this.#queues.get(ballot.name) ?? [];
    const flying = this.#inFlight.get(ballot.name) ?? 0;
    if (queue.length === 0 || flying >= REQUESTS_MAX * BATCH_MAX) return;
    const nowMs = performance.now();
    const due = queue.filter(({ notBeforeMs }) => notBeforeMs <= nowMs).slice(0, BATCH_MAX);
    if (due.length === 0) return;
    const taken = new Set(due);
    this.#queues.set(
      ballot.name,
      queue.filter((one) => !taken.has(one)),
    );
    this.#inFlight.set(ballot.name, flying + due.length);
    void this.#request(ballot, due).finally(() => {
      this.#inFlight.set(ballot.name, (this.#inFlight.get(ballot.name) ?? 0) - due.length);
    });
  }

  async #request(ballot: Ballot, due: readonly Due[]): Promise<void> {
    this.counts.requests++;
    let results: readonly Answer[];
    try {
      const response = await fetch(`${ballot.url}/v1/votes/batch`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: `Bearer ${this.#options.token}`,
        },
        body: JSON.stringify({ votes: due.map(({ tx: { txId, value } }) => ({ txId, value })) }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const body = (await response.json()) as { readonly results?: readonly Answer[] };
      if (!response.ok || body.results === undefined) throw new Error(`HTTP ${response.status}`);
      results = body.results;
    } catch {
      this.counts.unreachable += due.length;
      this.#again(ballot, due);
      return;
    }
    for (const [i, one] of due.entries()) this.#take(ballot, one, results[i]);
  }

  #take(ballot: Ballot, due: Due, answer: Answer | undefined): void {
    const { txId, value } = due.tx;
    if (answer?.outcome === "RECORDED") {
      this.accepted.set(`${txId}/${ballot.name}`, value);
      return;
    }
    if (answer?.outcome === "PENDING") this.counts.pending++;
    else if (answer === undefined || answer.httpStatus >= 500 || answer.httpStatus === 429)
      this.counts.retryLater++;
    else {
      this.refused.push({ txId, node: ballot.name, code: answer.error?.code ?? "UNKNOWN" });
      return;
    }
    this.#again(ballot, [due]);
  }

  #again(ballot: Ballot, due: readonly Due[]): void {
    const notBeforeMs = performance.now() + RETRY_MS;
    for (const { tx } of due) this.#queues.get(ballot.name)?.push({ tx, notBeforeMs });
  }
}

interface Answer {
  readonly httpStatus: number;
  readonly outcome?: "RECORDED" | "PENDING";
  readonly error?: { readonly code: string };
}

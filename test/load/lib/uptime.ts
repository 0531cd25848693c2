import { setTimeout as sleep } from "node:timers/promises";

const EVERY_MS = 100;
/** An answer that takes longer is none for whoever depends on it. */
const TIMEOUT_MS = 2_000;

/** What was seen of a cluster's readiness. */
export interface Uptime {
  /** Looks, one each 100 ms: up when at least t nodes and a submitter say that they are ready. */
  readonly looks: number;
  readonly down: number;
  /** Single questions to single processes. */
  readonly probes: number;
  readonly failed: number;
}

/** Asks every process every 100 ms whether it is ready, whatever became of the question before. */
export class UptimeProbe {
  readonly #urls: { readonly nodes: readonly string[]; readonly submitters: readonly string[] };
  readonly #threshold: number;
  readonly #stopping = new AbortController();
  #looks = 0;
  #down = 0;
  #probes = 0;
  #failed = 0;
  readonly #pending = new Set<Promise<void>>();
  readonly #loop: Promise<void>;

  constructor(
    urls: { readonly nodes: readonly string[]; readonly submitters: readonly string[] },
    threshold: number,
  ) {
    this.#urls = urls;
    this.#threshold = threshold;
    this.#loop = this.#run();
  }

  async stop(): Promise<Uptime> {
    this.#stopping.abort();
    await this.#loop;
    await Promise.all(this.#pending);
    return {
      looks: this.#looks,
      down: this.#down,
      probes: this.#probes,
      failed: this.#failed,
    };
  }

  async #run(): Promise<void> {
    const startedMs = performance.now();
    for (let turn = 0; !this.#stopping.signal.aborted; turn++) {
      const look = this.#look().finally(() => this.#pending.delete(look));
      this.#pending.add(look);
      await sleep(Math.max(0, startedMs + (turn + 1) * EVERY_MS - performance.now()));
    }
  }

  async #look(): Promise<void> {
    const [nodes, submitters] = await Promise.all([
      Promise.all(this.#urls.nodes.map((url) => this.#ask(url))),
      Promise.all(this.#urls.submitters.map((url) => this.#ask(url))),
    ]);
    this.#looks++;
    const up = nodes.filter((ready) => ready).length >= this.#threshold;
    if (!up || !submitters.some((ready) => ready)) this.#down++;
  }

  async #ask(url: string): Promise<boolean> {
    const ready = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
      .then(async (response) => {
        await response.arrayBuffer();
        return response.ok;
      })
      .catch(() => false);
    this.#probes++;
    if (!ready) this.#failed++;
    return ready;
  }
}

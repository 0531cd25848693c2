import { SimClock } from "../sim-clock.ts";
import { type CallFate, SimLink, type SimLinkOptions, SimServer } from "./sim-link.ts";
import { SimProcess } from "./sim-process.ts";

/** Longer waits (timeouts, leases) pass only when told to; shorter ones are the links'. */
const LINK_MS_MAX = 20;

/** Simulated time that runs by itself as far as messages need it, for suites that know nothing of simulated time. */
export class RunningWorld {
  readonly clock = new SimClock();
  #tail: Promise<void> = Promise.resolve();
  #over = false;

  constructor() {
    void this.#pump();
  }

  readonly #cut = new Set<SimLink>();

  /** From now on nothing passes. */
  cut(link: SimLink): void {
    this.#cut.add(link);
  }

  /** A process of its own with a link to a server; nothing on it fails unless `fate` says so. */
  link(
    name: string,
    server: SimServer,
    errorOf: SimLinkOptions["errorOf"],
    fate: (operation: string) => CallFate | null = () => null,
  ): SimLink {
    const process = new SimProcess({ name }, { clock: this.clock });
    const link: SimLink = new SimLink(
      {
        timeoutMs: 2_000,
        fate: (operation) => fate(operation) ?? { requestMs: 0, replyMs: 0 },
        isCut: () => this.#cut.has(link),
        errorOf,
      },
      { clock: this.clock, process, server },
    );
    return link;
  }

  pass(ms: number): Promise<void> {
    const passed = this.#tail.then(() => this.clock.advance(ms));
    this.#tail = passed;
    return passed;
  }

  close(): void {
    this.#over = true;
  }

  async #pump(): Promise<void> {
    while (!this.#over) {
      const nextMs = this.clock.untilNextMs;
      if (nextMs !== null && nextMs <= LINK_MS_MAX) await this.pass(nextMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** A server that is up. */
export function steadyServer(): SimServer {
  return new SimServer("steady");
}

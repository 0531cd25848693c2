import type { Clock, TallyStore } from "@quorate/ports";

export interface StoreProbeDependencies {
  readonly store: Pick<TallyStore, "revision">;
  readonly clock: Clock;
}

/** Between two questions, in ms: a read of one header, which costs etcd next to nothing. */
const INTERVAL_MS = 2_000;
/** A leader that is elected anew is no outage yet: as long as commits may fail unnoticed. */
const FAILING_MS = 2_000;
/** Longer than one call to a member that hangs (5 s unless configured), for the next member is asked then. */
const SILENT_MS = 6_000;
const MS_PER_SECOND = 1_000;

/**
 * Asks the store for its revision from time to time, so that a process that has nothing to commit notices when the store
 * is away. The read is linearizable: a member without a quorum behind it does not answer. Bounded by the store's own
 * timeouts; one question at a time.
 */
export class StoreProbe {
  readonly #deps: StoreProbeDependencies;
  #askedAtMs: number | null = null;
  #failingSinceMs: number | null = null;

  constructor(dependencies: StoreProbeDependencies) {
    this.#deps = dependencies;
  }

  /** Resolves when aborted. A store that is away is an answer, not an end. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#deps;
    while (!options.signal.aborted) {
      await this.#ask(options);
      // An abort ends the sleep early, and then the loop.
      await clock.sleep(INTERVAL_MS, options).catch(() => {});
    }
  }

  /** What is wrong, for a person; null while the store answers. */
  get problem(): string | null {
    const nowMs = this.#deps.clock.monotonicMs();
    const failingMs = nowMs - (this.#failingSinceMs ?? nowMs);
    const silentMs = nowMs - (this.#askedAtMs ?? nowMs);
    if (failingMs < FAILING_MS && silentMs < SILENT_MS) return null;
    const seconds = Math.round(Math.max(failingMs, silentMs) / MS_PER_SECOND);
    return `it has not answered for ${seconds} s`;
  }

  /**
   * Why nothing can be seen or recorded at present; null when all is well.
   * @param streaming whether the change stream runs
   * @param failingSinceMs since when commits fail, by the monotonic clock; null while they do not
   */
  trouble(streaming: boolean, failingSinceMs: number | null): string | null {
    if (!streaming) return "the change stream is not running";
    const nowMs = this.#deps.clock.monotonicMs();
    const failingMs = nowMs - (failingSinceMs ?? nowMs);
    if (failingMs < FAILING_MS) return this.problem;
    return `commits have failed for ${Math.round(failingMs / MS_PER_SECOND)} s`;
  }

  async #ask(options: { readonly signal: AbortSignal }): Promise<void> {
    const { store, clock } = this.#deps;
    const askedAtMs = clock.monotonicMs();
    this.#askedAtMs = askedAtMs;
    try {
      await store.revision(options);
      this.#failingSinceMs = null;
    } catch {
      // The store's own log says what it was; here only for how long matters.
      this.#failingSinceMs ??= askedAtMs;
    } finally {
      this.#askedAtMs = null;
    }
  }
}

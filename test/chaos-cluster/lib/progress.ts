import { waitUntil } from "@quorate/devkit";
import { type Change, watchPrefix } from "./etcd-gateway.ts";

/** When each thing was first seen of a transaction, in ms of this process's monotonic clock. */
export interface Course {
  opened?: number;
  decided?: number;
  claimed?: number;
  confirmed?: number;
  aborted?: number;
}

const STEP_OF: Readonly<Record<string, readonly (keyof Course)[]>> = {
  COLLECTING: ["opened"],
  THRESHOLD_REACHED: ["opened", "decided"],
  SUBMITTED: ["opened", "decided", "claimed"],
  CONFIRMED: ["opened", "decided", "claimed", "confirmed"],
  ABORTED_BYZANTINE: ["opened", "aborted"],
};

/** Follows a cluster's statuses and bans as etcd tells them, by a watch of its own. */
export class Progress {
  readonly courses = new Map<string, Course>();
  /** By peer id, first seen. */
  readonly bans = new Map<string, number>();
  readonly #stopping = new AbortController();
  #ended: readonly Promise<void>[] = [];

  static async follow(endpoints: readonly string[], clusterId: string): Promise<Progress> {
    const progress = new Progress();
    const root = `/quorate/${clusterId}/`;
    const { signal } = progress.#stopping;
    const watches = [
      watchPrefix(endpoints, `${root}transaction_status/`, (c) => progress.#status(c), signal),
      watchPrefix(endpoints, `${root}banned/`, (c) => progress.#ban(c), signal),
    ];
    progress.#ended = (await Promise.all(watches)).map(({ ended }) => ended);
    return progress;
  }

  #status({ key, value }: Change): void {
    const nowMs = performance.now();
    const course = this.courses.get(key) ?? {};
    this.courses.set(key, course);
    for (const step of STEP_OF[value ?? ""] ?? []) course[step] ??= nowMs;
  }

  #ban({ key, value }: Change): void {
    if (value !== null && !this.bans.has(key)) this.bans.set(key, performance.now());
  }

  /** Waits until something can be said. @returns it; null when it can't within the time */
  async until<T>(look: () => T | null, timeoutMs: number, what: string): Promise<T | null> {
    let found: T | null = null;
    await waitUntil(
      () => {
        found = look();
        return found !== null;
      },
      { timeoutMs, what },
    ).catch(() => {});
    return found;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#ended);
  }
}

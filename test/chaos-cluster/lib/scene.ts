import { setTimeout as sleep } from "node:timers/promises";
import type { Halves } from "./namespaces.ts";
import type { OfferedTx, OpenLoad } from "./open-load.ts";
import type { Progress } from "./progress.ts";
import type { Rig, RigNode } from "./rig.ts";

const RECOVERY_TIMEOUT_MS = 60_000;

/** One row at work: its cluster, the load on it, and what is noted. */
export class Scene {
  readonly rig: Rig;
  readonly load: OpenLoad;
  readonly progress: Progress;
  /** The network in two, where the row asked for that. */
  readonly halves: Halves | null;
  readonly say: (text: string) => void;
  readonly #pace: number;
  readonly problems: string[] = [];
  readonly remarks: string[] = [];
  /** Parts that the row is for and that can't be played on this machine: the run is then not complete. */
  readonly notRun: string[] = [];
  readonly recovery: Record<string, number> = {};
  readonly figures: Record<string, number | string> = {};
  readonly guilty = new Set<string>();
  readonly excused = new Set<string>();
  readonly mustAbort = new Set<string>();
  readonly mayAbort = new Set<string>();

  constructor(init: {
    readonly rig: Rig;
    readonly load: OpenLoad;
    readonly progress: Progress;
    readonly halves: Halves | null;
    readonly say: (text: string) => void;
    readonly pace: number;
  }) {
    this.rig = init.rig;
    this.load = init.load;
    this.progress = init.progress;
    this.halves = init.halves;
    this.say = init.say;
    this.#pace = init.pace;
  }

  /** A part of the expected behaviour; the row goes on when it is not seen, and has failed. */
  expect(holds: boolean, what: string): void {
    if (!holds) this.problems.push(what);
  }

  node(number: number): RigNode {
    const node = this.rig.nodes[number - 1];
    if (node === undefined) throw new Error(`there is no node ${number}`);
    return node;
  }

  /** Lets the load go on for a while; shorter in a short run. */
  async watch(ms: number): Promise<void> {
    await sleep(ms * this.#pace);
  }

  /** How many transactions became decided in a span of this process's monotonic clock. */
  decidedBetween(fromMs: number, toMs: number): number {
    return [...this.progress.courses.values()].filter(
      ({ decided }) => decided !== undefined && decided >= fromMs && decided < toMs,
    ).length;
  }

  confirmedBetween(fromMs: number, toMs: number): number {
    return [...this.progress.courses.values()].filter(
      ({ confirmed }) => confirmed !== undefined && confirmed >= fromMs && confirmed < toMs,
    ).length;
  }

  /**
   * Notes how long after a moment something came that was offered after it, and until everything offered before it had come.
   * @param step of a transaction's course
   */
  async recovered(
    name: string,
    sinceMs: number,
    step: "decided" | "confirmed" = "decided",
  ): Promise<void> {
    const at = (tx: OfferedTx): number | undefined => {
      const course = this.progress.courses.get(tx.txId);
      return course?.[step] ?? course?.aborted;
    };
    const first = await this.progress.until(
      () => {
        const later = this.load.offered.filter((tx) => tx.intendedMs >= sinceMs);
        const times = later.flatMap((tx) => at(tx) ?? []);
        return times.length === 0 ? null : Math.min(...times);
      },
      RECOVERY_TIMEOUT_MS,
      `the first transaction ${step}`,
    );
    const all = await this.progress.until(
      () => {
        const earlier = this.load.offered.filter((tx) => tx.intendedMs < sinceMs);
        const times = earlier.map(at);
        const done = times.every((time) => time !== undefined);
        return done ? Math.max(sinceMs, ...times.map((time) => time ?? 0)) : null;
      },
      RECOVERY_TIMEOUT_MS,
      `all transactions ${step}`,
    );
    this.expect(first !== null, `nothing new was ${step} within a minute (${name})`);
    this.expect(all !== null, `not all that was offered before was ${step} in a minute (${name})`);
    if (first !== null) this.recovery[`${name}, first ${step}`] = Math.round(first - sinceMs);
    if (all !== null) this.recovery[`${name}, all ${step}`] = Math.round(all - sinceMs);
  }

  /** The longest time without any decision in a span, in ms. */
  longestGap(fromMs: number, toMs: number): number {
    const times = [...this.progress.courses.values()]
      .flatMap(({ decided }) => decided ?? [])
      .filter((time) => time >= fromMs && time < toMs)
      .toSorted((a, b) => a - b);
    let longest = 0;
    let before = fromMs;
    for (const time of [...times, toMs]) {
      longest = Math.max(longest, time - before);
      before = time;
    }
    return Math.round(longest);
  }
}

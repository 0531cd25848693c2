import { Coverage } from "./coverage.ts";
import { caseFromHex, caseToHex, type FuzzCase } from "./fuzz-case.ts";
import { MemoryWatch } from "./memory.ts";
import { Broken, must } from "./oracle.ts";
import { EPOCHS_MAX, ownerOf } from "./people.ts";
import { Source } from "./source.ts";
import { type Sabotage, Stage } from "./stage.ts";
import { COLLECTION_ENTRIES_MAX, tightenLimits } from "./tightened.ts";

export interface FuzzOptions {
  readonly frames: number;
  readonly seed: number;
  readonly sabotage?: Sabotage | undefined;
  readonly say?: (text: string) => void;
}

export interface FuzzFailure {
  /** Which input it was, from 1 up. */
  readonly input: number;
  readonly law: string;
  readonly error: string;
  /** For `--replay`. */
  readonly hex: string;
  /** Whether the input alone, on a fresh node, breaks a law too. */
  readonly alone: boolean;
  /** The inputs of the same node up to and with this one; empty when it fails alone. */
  readonly trail: readonly string[];
}

export interface FuzzReport {
  readonly seed: number;
  /** Inputs run, of the three kinds. */
  readonly frames: number;
  readonly nodes: number;
  readonly epochs: number;
  readonly seconds: number;
  /** Inputs by what was said to them. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** Byzantine trustees that were banned, and honest ones. */
  readonly banned: number;
  readonly honestBanned: number;
  /** Bans by reason. */
  readonly bans: Readonly<Record<string, number>>;
  readonly refusals: number;
  readonly receipts: number;
  /** Refused messages by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Inputs that were guided by coverage. */
  readonly guided: number;
  readonly blocksReached: number;
  readonly blocksKnown: number;
  readonly corpus: number;
  readonly heapGrowthBytes: number;
  readonly largestCollection: number;
  readonly failure: FuzzFailure | null;
}

/** The heap may grow by so much from warmed up to the end: the corpus, the fuzzer's keys and compiled code. */
export const HEAP_GROWTH_BYTES_MAX = 48 * 1_024 * 1_024;
/** Inputs that one node gets: enough to fill every tightened cache, and not all with the same trustees banned. */
const INPUTS_PER_NODE = 2_000;
/** Inputs of one coverage sample. */
const SAMPLE = 20;
/**
 * The first tenth of a run is guided by coverage, and at least so many inputs: counting makes all the rest
 * slower, and by then new blocks have become rare. What was kept is mutated to the end.
 */
const GUIDED_MIN = 600;
const GUIDED_SHARE = 0.1;
/** Inputs after the last Byzantine trustee of an epoch is banned: what comes of the banned is tried as well. */
const AFTER_LAST_BAN = 4;
const CENSUS_EVERY = 4_000;
const PROGRESS_EVERY = 5_000;

/** Fuzzes until an input breaks a law or all are run. Everything random comes from the seed. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const restore = tightenLimits();
  const run = new Run(options);
  try {
    return await run.all();
  } finally {
    await run.end();
    restore();
  }
}

/** Runs inputs that were written down, one after the other on one fresh node. @returns the law that they break, or null */
export async function replay(
  hexes: readonly string[],
  sabotage: Sabotage = {},
): Promise<string | null> {
  const inputs = hexes.map(caseFromHex);
  const [first] = inputs;
  if (first === undefined) return null;
  const restore = tightenLimits();
  let stage: Stage | null = null;
  try {
    stage = await Stage.open({ epoch: first.epoch, startMs: first.atMs, sabotage });
    for (const input of inputs) {
      while (stage.epoch < input.epoch) await stage.nextEpoch();
      const waitMs = input.atMs - stage.clock.nowMs();
      if (waitMs > 0) await stage.settle(waitMs);
      await stage.run(input, 10);
    }
    await stage.close();
    return null;
  } catch (error) {
    return describe(error);
  } finally {
    await stage?.discard();
    restore();
  }
}

function addTo(sums: Record<string, number>, counts: ReadonlyMap<string, number>): void {
  for (const [name, count] of counts) sums[name] = (sums[name] ?? 0) + count;
}

const describe = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

class Run {
  readonly #options: FuzzOptions;
  readonly #source: Source;
  readonly #coverage = new Coverage();
  readonly #memory = new MemoryWatch();
  readonly #verdicts: Record<string, number> = {};
  #stage: Stage | null = null;
  #trail: FuzzCase[] = [];
  #sample: FuzzCase[] = [];
  #sinceLastBan = 0;
  #done = 0;
  #nodes = 0;
  #epochs = 0;
  #banned = 0;
  #honestBanned = 0;
  #refusals = 0;
  #receipts = 0;
  readonly #reasons: Record<string, number> = {};
  readonly #bans: Record<string, number> = {};
  #censusAt = 0;
  #guided = 0;
  #largest = 0;
  #heapAtStart = 0;
  #heapGrowth = 0;

  constructor(options: FuzzOptions) {
    this.#options = options;
    this.#source = new Source(options.seed);
  }

  async all(): Promise<FuzzReport> {
    const startedMs = performance.now();
    await this.#coverage.start();
    await this.#memory.start();
    const failure = await this.#inputs();
    return {
      seed: this.#options.seed,
      frames: this.#done,
      nodes: this.#nodes,
      epochs: this.#epochs,
      seconds: (performance.now() - startedMs) / 1_000,
      verdicts: this.#verdicts,
      banned: this.#banned,
      honestBanned: this.#honestBanned,
      bans: this.#bans,
      refusals: this.#refusals,
      receipts: this.#receipts,
      reasons: this.#reasons,
      guided: this.#guided === 0 ? this.#done : this.#guided,
      blocksReached: this.#coverage.blocks,
      blocksKnown: this.#coverage.blocksKnown,
      corpus: this.#source.corpusSize,
      heapGrowthBytes: this.#heapGrowth,
      largestCollection: this.#largest,
      failure,
    };
  }

  async end(): Promise<void> {
    await this.#stage?.discard();
    await this.#coverage.stop();
    this.#memory.stop();
  }

  async #inputs(): Promise<FuzzFailure | null> {
    const { frames, sabotage, say = () => {} } = this.#options;
    try {
      while (this.#done < frames) {
        const stage = await this.#stageForNext();
        const input = this.#source.next({
          epoch: stage.epoch,
          nowMs: stage.clock.nowMs(),
          atLarge: stage.atLarge,
        });
        this.#done++;
        this.#trail.push(input);
        const verdict = await stage.run(input, this.#source.pauseMs());
        this.#verdicts[verdict] = (this.#verdicts[verdict] ?? 0) + 1;
        if (stage.atLarge.length === 0) this.#sinceLastBan++;
        await this.#note(input);
        if (this.#done % PROGRESS_EVERY === 0)
          say(
            `${this.#done} inputs, ${this.#coverage.blocks} blocks, ${this.#source.corpusSize} kept, ${this.#banned} banned`,
          );
      }
      await this.#closeStage();
      return null;
    } catch (error) {
      if (this.#stage !== null) this.#countBans(this.#stage);
      const hexes = this.#trail.map(caseToHex);
      const hex = hexes.at(-1) ?? "";
      const alone = (await replay([hex], sabotage)) !== null;
      const law = error instanceof Broken ? error.law : "nothing throws";
      const trail = alone ? [] : hexes;
      return { input: this.#done, law, error: describe(error), hex, alone, trail };
    }
  }

  /** Keeps inputs that led to new code. */
  async #note(input: FuzzCase): Promise<void> {
    if (!this.#coverage.counting) return;
    if (input.target === "frame") this.#sample.push(input);
    if (this.#done % SAMPLE !== 0) return;
    if (await this.#coverage.sample())
      for (const { bytes } of this.#sample) this.#source.keep(bytes);
    this.#sample = [];
    if (this.#done < Math.max(GUIDED_MIN, this.#options.frames * GUIDED_SHARE)) return;
    this.#guided = this.#done;
    await this.#coverage.stop();
  }

  async #stageForNext(): Promise<Stage> {
    if (this.#stage !== null && this.#sinceLastBan > AFTER_LAST_BAN) {
      this.#sinceLastBan = 0;
      if (this.#stage.epoch >= EPOCHS_MAX) await this.#closeStage();
      else {
        await this.#stage.nextEpoch();
        this.#epochs++;
      }
    }
    if (this.#trail.length >= INPUTS_PER_NODE) await this.#closeStage();
    return this.#stage ?? (await this.#openStage());
  }

  async #openStage(): Promise<Stage> {
    const stage = await Stage.open({ sabotage: this.#options.sabotage ?? {} });
    this.#stage = stage;
    this.#trail = [];
    this.#sinceLastBan = 0;
    this.#nodes++;
    this.#epochs++;
    this.#source.nextWorld();
    return stage;
  }

  async #closeStage(): Promise<void> {
    const stage = this.#stage;
    if (stage === null) return;
    await stage.settle(5_000);
    if (this.#done >= this.#censusAt) await this.#census(stage);
    await stage.close();
    this.#stage = null;
    this.#countBans(stage);
    this.#refusals += stage.oracle.refusals;
    this.#receipts += stage.oracle.receipts;
    addTo(this.#reasons, stage.oracle.reasons);
    const heap = this.#memory.heapBytes();
    // The first node's life warms everything up.
    if (this.#nodes === 1) this.#heapAtStart = heap;
    this.#heapGrowth = heap - this.#heapAtStart;
    must(
      this.#heapGrowth < HEAP_GROWTH_BYTES_MAX,
      "memory does not grow with what was refused",
      `by ${this.#heapGrowth} bytes`,
    );
  }

  #countBans({ oracle }: Stage): void {
    for (const peer of oracle.banned)
      if (ownerOf(peer)?.kind === "byzantine") this.#banned++;
      else this.#honestBanned++;
    addTo(this.#bans, oracle.bans);
  }

  async #census(stage: Stage): Promise<void> {
    this.#censusAt = this.#done + CENSUS_EVERY;
    this.#memory.exclude(stage.twins());
    const largest = await this.#memory.largestCollection();
    this.#largest = Math.max(this.#largest, largest);
    must(
      largest <= COLLECTION_ENTRIES_MAX,
      "every collection has a bound",
      `one has ${largest} entries`,
    );
  }
}

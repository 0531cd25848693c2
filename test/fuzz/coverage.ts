import { Session } from "node:inspector/promises";

/** Code whose blocks count: what decodes, judges and blames. */
const WATCHED =
  /\/packages\/(?:core\/(?:src|dist)\/(?:vote|vote-json|merkle|ids|bytes|decide|evidence|tally|silence|trustee-set|receipt)|engine\/(?:src|dist)\/(?:admission|accusations|vote-pipeline|ban-court|byzantine-response|tally-view|receipt-book|receipt-budget|refusal|refusal-tally|token-bucket|trustee-node)|network-libp2p\/(?:src|dist)\/(?:router-guard|identity|envelope))\.[jt]s/;

interface Script {
  /** By character: whether it was run. */
  reached: Uint8Array;
  /** Every block that V8 has told of, by where it starts. */
  readonly blocks: Set<number>;
}

/**
 * Which blocks of the watched code have run, by V8's own counters. They count only in functions that are first
 * compiled after the start, and code runs unoptimised, several times slower, until the end.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #scripts = new Map<string, Script>();
  #counting = false;

  get counting(): boolean {
    return this.#counting;
  }

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    this.#counting = true;
    await this.sample();
  }

  /** What was counted stays to be read. */
  async stop(): Promise<void> {
    if (!this.#counting) return;
    this.#counting = false;
    await this.#session.post("Profiler.stopPreciseCoverage");
    await this.#session.post("Profiler.disable");
    this.#session.disconnect();
  }

  /** @returns whether anything ran since the last time that had never run before. */
  async sample(): Promise<boolean> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    let found = false;
    for (const { url, functions } of result) {
      if (!WATCHED.test(url)) continue;
      const script = this.#scripts.get(url) ?? { reached: new Uint8Array(0), blocks: new Set() };
      this.#scripts.set(url, script);
      for (const { ranges } of functions) if (fold(script, ranges)) found = true;
    }
    return found;
  }

  /** Blocks that have run. */
  get blocks(): number {
    let count = 0;
    for (const { reached, blocks } of this.#scripts.values())
      for (const start of blocks) if (reached[start] === 1) count++;
    return count;
  }

  /** Blocks that V8 has told of: those that have run, and those beside them that have not. */
  get blocksKnown(): number {
    let count = 0;
    for (const { blocks } of this.#scripts.values()) count += blocks.size;
    return count;
  }
}

/** Ranges come from the outside in: an inner one overrules what is around it. */
function fold(
  script: Script,
  ranges: readonly { startOffset: number; endOffset: number; count: number }[],
): boolean {
  const [whole] = ranges;
  if (whole === undefined || whole.count === 0) return false;
  const { startOffset: from, endOffset: to } = whole;
  if (script.reached.length < to) {
    const longer = new Uint8Array(to * 2);
    longer.set(script.reached);
    script.reached = longer;
  }
  const ran = new Uint8Array(to - from).fill(1);
  for (const { startOffset, endOffset, count } of ranges) {
    script.blocks.add(startOffset);
    ran.fill(count > 0 ? 1 : 0, startOffset - from, endOffset - from);
  }
  let found = false;
  for (let i = 0; i < ran.length; i++)
    if (ran[i] === 1 && script.reached[from + i] === 0) {
      script.reached[from + i] = 1;
      found = true;
    }
  return found;
}

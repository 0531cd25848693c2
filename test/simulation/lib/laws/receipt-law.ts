import type { Receipt } from "@quorate/core";
import type { GossipVerdict } from "@quorate/ports";
import type { Accuse } from "./law.ts";
import { readFrame } from "./wire-reader.ts";

interface Run {
  readonly seen: Set<string>;
  /** Messages that were refused and are no repetitions. */
  refused: number;
  readonly receipts: Map<number, number>;
}

/** I9: what a process refused it has receipted, each message once, as far as it lived to write that down. */
export class ReceiptLaw {
  /** By trustee and when its process began. */
  readonly #runs = new Map<string, Run>();

  /** One verdict of an honest trustee's process. */
  judged(processName: string, data: Uint8Array, verdict: GossipVerdict): void {
    const run = this.#run(processName);
    const leaves = readFrame(data)?.leaves.map((leaf) => Buffer.from(leaf).toString("latin1"));
    if (verdict === "ACCEPT") {
      for (const leaf of leaves ?? []) run.seen.add(leaf);
      return;
    }
    const isRepetition = leaves !== undefined && leaves.every((leaf) => run.seen.has(leaf));
    if (!isRepetition) run.refused++;
  }

  /** @param processOf names the process of a node's that began at this time of its own clock */
  published(
    receipts: readonly Receipt[],
    processOf: (nodeId: string, atMs: number) => string | null,
  ): void {
    for (const { nodeId, runStartedAtMs, sequence, count } of receipts) {
      const processName = processOf(nodeId, runStartedAtMs);
      if (processName !== null) this.#run(processName).receipts.set(sequence, count);
    }
  }

  #run(processName: string): Run {
    const known = this.#runs.get(processName);
    if (known !== undefined) return known;
    const made: Run = { seen: new Set(), refused: 0, receipts: new Map() };
    this.#runs.set(processName, made);
    return made;
  }

  /** Live processes with refusals that no receipt counts so far. */
  open(alive: readonly string[]): readonly string[] {
    return alive.flatMap((processName) => {
      const run = this.#runs.get(processName);
      if (run === undefined) return [];
      const receipted = [...run.receipts.values()].reduce((sum, count) => sum + count, 0);
      const sequences = [...run.receipts.keys()].sort((a, b) => a - b);
      const gap = sequences.some(
        (sequence, i) => i > 0 && sequence !== (sequences[i - 1] ?? 0) + 1,
      );
      return [
        ...(receipted < run.refused
          ? [`${processName} refused ${run.refused} messages and receipted ${receipted}`]
          : []),
        ...(gap ? [`${processName}'s receipts have a gap`] : []),
      ];
    });
  }

  atEnd(alive: readonly string[], accuse: Accuse): void {
    for (const text of this.open(alive)) accuse("I9 refusals have receipts", text);
  }
}

import type { SeededRandom } from "@quorate/testkit";

export const MODES = ["kill", "stop", "lose"] as const;
export type Mode = (typeof MODES)[number];

export interface Combination {
  readonly point: string;
  readonly mode: Mode;
}

/** Reached only when something else happens first, so it is armed in every process until it was met. */
const RARE = [
  "pg.add-attempt",
  "pg.mark-reorged",
  "pg.reserve",
  "pg.freeze",
  "pg.import-records",
  "chain.events",
];
const isRare = ({ point }: Combination): boolean =>
  RARE.some((name) => point.startsWith(`${name}.`));

/** Combinations of a crash kind that one process is armed with; the first that is passed ends it. */
const CRASHES_ARMED = 3;
/** A loss does not end a process, so it carries more of them. */
const LOSSES_ARMED = 6;
const PASSAGE_MAX = 4;

/** Which fault was met how often, and which to try next. */
export class FaultMatrix {
  readonly #hits = new Map<string, number>();
  readonly #all: readonly Combination[];

  constructor(points: readonly string[], modes: readonly Mode[] = MODES) {
    this.#all = points.flatMap((point) => modes.map((mode) => ({ point, mode })));
    for (const one of this.#all) this.#hits.set(keyOf(one), 0);
  }

  get total(): number {
    return this.#all.length;
  }

  get missing(): readonly Combination[] {
    return this.#all.filter((one) => (this.#hits.get(keyOf(one)) ?? 0) === 0);
  }

  note(one: Combination): void {
    const before = this.#hits.get(keyOf(one));
    if (before !== undefined) this.#hits.set(keyOf(one), before + 1);
  }

  hits(): readonly (Combination & { readonly hits: number })[] {
    return this.#all.map((one) => ({ ...one, hits: this.#hits.get(keyOf(one)) ?? 0 }));
  }

  /** The value of QUORATE_FAULT_POINT for one process: of what was not met yet, else of everything. */
  deal(random: SeededRandom): string {
    const missing = this.missing;
    const crashes = missing.filter(({ mode }) => mode !== "lose");
    const losses = missing.filter(({ mode }) => mode === "lose");
    const all = this.#all.filter((one) => !isRare(one));
    const crashOf = crashes.length > 0 ? crashes : all.filter(({ mode }) => mode !== "lose");
    const lossOf = losses.length > 0 ? losses : all.filter(({ mode }) => mode === "lose");
    const drawn = [
      ...random.shuffled(crashOf.filter((one) => !isRare(one))).slice(0, CRASHES_ARMED),
      ...random.shuffled(lossOf.filter((one) => !isRare(one))).slice(0, LOSSES_ARMED),
      ...random.shuffled(missing.filter(isRare)),
    ];
    // Two ends at one place would hide one another; a loss beside an end comes first.
    const ends = new Set<string>();
    return drawn
      .filter(({ point, mode }) => {
        if (mode === "lose") return true;
        if (ends.has(point)) return false;
        ends.add(point);
        return true;
      })
      .map((one) => {
        const passage = isRare(one) ? 1 : 1 + random.below(PASSAGE_MAX);
        return `${one.point}=${one.mode}@${passage}`;
      })
      .join(",");
  }
}

const keyOf = ({ point, mode }: Combination): string => `${point}=${mode}`;

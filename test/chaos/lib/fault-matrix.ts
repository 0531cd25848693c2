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

/** Reached only by a leader that lives on until something is in a block, and final. */
const LATE = [
  "pg.mark-included",
  "pg.mark-finalized",
  "pg.unconfirmed",
  "pg.mark-confirmed",
  "etcd.confirm",
  "chain.block",
  "chain.receipt",
];
const isLate = ({ point }: Combination): boolean =>
  LATE.some((name) => point.startsWith(`${name}.`));

/** What one process is armed with, and whether it should be left alive until late. */
export interface Dealt {
  /** The value of QUORATE_FAULT_POINT. */
  readonly faults: string;
  readonly late: boolean;
}

/** Combinations of a crash kind that one process is armed with; the first that is passed ends it. */
const CRASHES_ARMED = 6;
/** A loss does not end a process, so it carries more of them. */
const LOSSES_ARMED = 10;
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

  /** For one process: of what was not met yet, else of everything. Every second one lives until late, while that is missing. */
  deal(random: SeededRandom): Dealt {
    const missing = this.missing;
    const late = missing.some((one) => isLate(one) && one.mode !== "lose") && random.below(2) === 0;
    const all = this.#all.filter((one) => !isRare(one));
    const of = (wanted: (one: Combination) => boolean, count: number): readonly Combination[] => {
      const open = missing.filter((one) => !isRare(one) && wanted(one));
      const some = open.length > 0 ? open : all.filter(wanted);
      return random.shuffled(some).slice(0, count);
    };
    const drawn = [
      ...of((one) => one.mode !== "lose" && (!late || isLate(one)), CRASHES_ARMED),
      ...of((one) => one.mode === "lose", LOSSES_ARMED),
      ...random.shuffled(missing.filter(isRare)),
    ];
    // Two ends at one place would hide one another; a loss beside an end comes first.
    const ends = new Set<string>();
    const faults = drawn
      .filter(({ point, mode }) => {
        if (mode === "lose") return true;
        if (ends.has(point)) return false;
        ends.add(point);
        return true;
      })
      .map((one) => {
        // The first passage is met soonest; others are for when every fault was met.
        const passage = missing.length > 0 ? 1 : 1 + random.below(PASSAGE_MAX);
        return `${one.point}=${one.mode}@${passage}`;
      });
    return { faults: faults.join(","), late };
  }
}

const keyOf = ({ point, mode }: Combination): string => `${point}=${mode}`;

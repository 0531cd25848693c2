import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  isBelowBound,
  REPUTATION,
  type ReputationEvent,
  type ReputationState,
  reputationAfter,
  SPOTLESS,
  scoreAt,
} from "./reputation.ts";
import type { ViolationType } from "./violation.ts";

const DAY_MS = 86_400_000;
const T0_MS = Date.parse("2026-01-01T00:00:00Z");

const times = fc.integer({ min: T0_MS, max: T0_MS + 400 * DAY_MS });
const opinions = fc.constantFrom<ViolationType>("MINORITY_VOTE", "SILENT_FAILURE");
const proofs = fc.constantFrom<ViolationType>("DOUBLE_VOTING", "INVALID_SIGNATURE");

function violationOf(types: fc.Arbitrary<ViolationType>): fc.Arbitrary<ReputationEvent> {
  return fc.record({ kind: fc.constant("violation" as const), type: types, atMs: times });
}

const opinionEvents: fc.Arbitrary<ReputationEvent> = fc.oneof(
  violationOf(opinions),
  fc.constant({ kind: "good-conduct" as const }),
  fc.constant({ kind: "ban" as const }),
  fc.record({
    kind: fc.constant("lift" as const),
    liftKind: fc.constantFrom("OPERATOR" as const, "UNPROVEN" as const),
    atMs: times,
  }),
);
const events = fc.oneof(
  { weight: 9, arbitrary: opinionEvents },
  { weight: 1, arbitrary: violationOf(proofs) },
);
const histories = fc.array(events, { maxLength: 60 });

const fold = (
  list: readonly ReputationEvent[],
  from: ReputationState = SPOTLESS,
): ReputationState => list.reduce(reputationAfter, from);

const silence = (atMs: number): ReputationEvent => ({
  kind: "violation",
  type: "SILENT_FAILURE",
  atMs,
});

describe("reputation, whatever happens", () => {
  test("the score is always from 0 to 1", () => {
    fc.assert(
      fc.property(histories, times, (list, nowMs) => {
        const score = scoreAt(fold(list), nowMs);
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(1);
      }),
    );
  });

  test("a proof is for ever: no time, no conduct and no lift brings the score back", () => {
    fc.assert(
      fc.property(histories, violationOf(proofs), histories, times, (before, proof, after, ms) => {
        expect(scoreAt(fold([...before, proof, ...after]), ms + 10_000 * DAY_MS)).toBe(0);
      }),
    );
  });

  test("no violation and no ban ever raises a score, at its time or later", () => {
    const bad = fc.oneof(
      violationOf(opinions),
      violationOf(proofs),
      fc.constant({ kind: "ban" as const }),
    );
    fc.assert(
      fc.property(histories, bad, fc.nat(400 * DAY_MS), (list, event, laterMs) => {
        const state = fold(list);
        const atMs = event.kind === "violation" ? event.atMs : T0_MS;
        const fromMs = Math.max(state.penaltyAtMs, atMs) + laterMs;
        const after = scoreAt(reputationAfter(state, event), fromMs);
        expect(after).toBeLessThanOrEqual(scoreAt(state, fromMs) + 1e-12);
      }),
    );
  });

  test("an opinion leaves a mark: of a score above 0 it takes something", () => {
    fc.assert(
      fc.property(fc.array(opinionEvents, { maxLength: 20 }), violationOf(opinions), (list, e) => {
        const state = fold(list);
        const atMs = Math.max(state.penaltyAtMs, e.kind === "violation" ? e.atMs : 0);
        fc.pre(scoreAt(state, atMs) > 1e-6);
        expect(scoreAt(reputationAfter(state, e), atMs)).toBeLessThan(scoreAt(state, atMs));
      }),
    );
  });

  test("with time alone a score only rises, and a long time makes it whole", () => {
    fc.assert(
      fc.property(fc.array(opinionEvents), times, fc.nat(400 * DAY_MS), (list, ms, laterMs) => {
        const state = fold(list);
        expect(scoreAt(state, ms + laterMs)).toBeGreaterThanOrEqual(scoreAt(state, ms));
        if (!state.banned) expect(scoreAt(state, ms + 4_000 * DAY_MS)).toBeCloseTo(1, 6);
      }),
    );
  });

  test("good conduct never lowers a score", () => {
    fc.assert(
      fc.property(histories, times, (list, ms) => {
        const state = fold(list);
        const after = reputationAfter(state, { kind: "good-conduct" });
        expect(scoreAt(after, ms)).toBeGreaterThanOrEqual(scoreAt(state, ms));
      }),
    );
  });

  test("batches, each from what is stored of the one before, give the same state as one by one", () => {
    fc.assert(
      fc.property(histories, fc.array(fc.nat(60)), (list, cuts) => {
        const bounds = [...new Set(cuts)].sort((a, b) => a - b);
        let stored = SPOTLESS;
        let from = 0;
        for (const to of [...bounds, list.length]) {
          stored = JSON.parse(
            JSON.stringify(fold(list.slice(from, to), stored)),
          ) as ReputationState;
          from = Math.max(from, to);
        }
        expect(stored).toEqual(fold(list));
      }),
    );
  });
});

describe("reputation, in figures", () => {
  test("a minority vote halves the score, a silence takes a tenth, and 0 is the lowest", () => {
    const minority = { kind: "violation", type: "MINORITY_VOTE", atMs: T0_MS } as const;
    expect(scoreAt(fold([minority]), T0_MS)).toBeCloseTo(0.5, 12);
    expect(scoreAt(fold([silence(T0_MS), minority]), T0_MS)).toBeCloseTo(0.45, 12);
    expect(scoreAt(fold(Array.from({ length: 50 }, () => silence(T0_MS))), T0_MS)).toBe(0);
  });

  test("after any number of violations, one half-life later half a score is there", () => {
    const state = fold(Array.from({ length: 10_000 }, () => silence(T0_MS)));
    expect(scoreAt(state, T0_MS + REPUTATION.halfLifeMs)).toBeCloseTo(0.5, 12);
  });

  test("seven silences in a quick row are not below the bound, eight are", () => {
    const seven = fold(Array.from({ length: 7 }, () => silence(T0_MS)));
    expect(isBelowBound(seven, T0_MS)).toBe(false);
    const eight = reputationAfter(seven, silence(T0_MS));
    expect(isBelowBound(eight, T0_MS)).toBe(true);
    expect(isBelowBound(eight, T0_MS + DAY_MS * 2)).toBe(false);
  });

  test("while it is banned the score is 0; a lift gives a half, a strike what there was", () => {
    const banned = fold([silence(T0_MS), { kind: "ban" }]);
    expect(scoreAt(banned, T0_MS)).toBe(0);
    expect(isBelowBound(banned, T0_MS)).toBe(false);
    const atMs = T0_MS + DAY_MS;
    const lift = (liftKind: "OPERATOR" | "UNPROVEN") =>
      scoreAt(reputationAfter(banned, { kind: "lift", liftKind, atMs }), atMs);
    expect(lift("OPERATOR")).toBe(REPUTATION.liftedScore);
    expect(lift("UNPROVEN")).toBe(scoreAt(fold([silence(T0_MS)]), atMs));
  });

  test("with silence in every tenth transaction a trustee ends below the bound, with every twentieth it does not", () => {
    const longRun = (every: number): ReputationState => {
      let state = SPOTLESS;
      for (let i = 1; i <= 2_000; i++)
        state = reputationAfter(state, i % every === 0 ? silence(T0_MS) : { kind: "good-conduct" });
      return state;
    };
    expect(isBelowBound(longRun(10), T0_MS)).toBe(true);
    expect(isBelowBound(longRun(20), T0_MS)).toBe(false);
  });

  test("some 1,400 decided transactions make up for anything that is no proof", () => {
    const worst = fold(Array.from({ length: 20 }, () => silence(T0_MS)));
    const good = Array.from({ length: 1_400 }, () => ({ kind: "good-conduct" as const }));
    expect(fold(good, worst).penalty).toBe(0);
    expect(fold(good.slice(0, 1_300), worst).penalty).toBeGreaterThan(0);
  });

  test("an event that is dated before the last one counts as at the last one", () => {
    const inOrder = fold([silence(T0_MS + DAY_MS), silence(T0_MS + DAY_MS)]);
    expect(fold([silence(T0_MS + DAY_MS), silence(T0_MS)])).toEqual(inOrder);
  });
});

import { readFileSync } from "node:fs";
import {
  isBelowBound,
  REPUTATION,
  type ReputationEvent,
  reputationAfter,
  SPOTLESS,
  scoreAt,
} from "@quorate/core";
import { expect, test } from "vitest";

const DAY_MS = 86_400_000;
const T0_MS = Date.parse("2026-01-01T00:00:00Z");

const silence = (atMs: number): ReputationEvent => ({
  kind: "violation",
  type: "SILENT_FAILURE",
  atMs,
});

/** The events that docs/REPUTATION.md describes in words, by those words. */
const WORDS: Readonly<Record<string, (atMs: number) => readonly ReputationEvent[]>> = {
  "first vote": () => [],
  "silent in one transaction": (atMs) => [silence(atMs)],
  "nothing but time": () => [],
  "100 decided transactions, voted the decided value": () =>
    Array.from({ length: 100 }, () => ({ kind: "good-conduct" as const })),
  "minority vote": (atMs) => [{ kind: "violation", type: "MINORITY_VOTE", atMs }],
  "banned for it": () => [{ kind: "ban" }],
  "ban lifted by an operator": (atMs) => [{ kind: "lift", liftKind: "OPERATOR", atMs }],
  "silent in three transactions": (atMs) => [silence(atMs), silence(atMs), silence(atMs)],
  "double vote": (atMs) => [{ kind: "violation", type: "DOUBLE_VOTING", atMs }],
};

test("the worked example in docs/REPUTATION.md has the figures that the code computes", () => {
  const text = readFileSync(new URL("../../docs/REPUTATION.md", import.meta.url), "utf8");
  const rows = [
    ...text.matchAll(
      /^\| *(\d+) *\| *([^|]+?) *\| *(\d\.\d{3}) *\| *(\d\.\d{3}) *\| *(yes|no) *\|$/gm,
    ),
  ];
  expect(rows).toHaveLength(12);
  let state = SPOTLESS;
  for (const [line, day = "", words = "", penalty, score, banned] of rows) {
    const atMs = T0_MS + Number(day) * DAY_MS;
    const described = WORDS[words];
    expect(described, `the test knows "${words}"`).toBeDefined();
    state = (described?.(atMs) ?? []).reduce(reputationAfter, state);
    const left = state.penalty * 2 ** (-(atMs - state.penaltyAtMs) / REPUTATION.halfLifeMs);
    const computed = [left.toFixed(3), scoreAt(state, atMs).toFixed(3)];
    expect({ line, computed }).toEqual({ line, computed: [penalty, score] });
    expect({ line, below: isBelowBound(state, atMs) ? "yes" : "no" }).toEqual({
      line,
      below: banned,
    });
  }
});

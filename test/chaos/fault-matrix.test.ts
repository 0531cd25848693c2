import { prng } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { FaultMatrix, MODES } from "./lib/fault-matrix.ts";
import { PROVOKED_POINTS } from "./lib/run-chaos.ts";

const dealt = (text: string) =>
  text.split(",").map((fault) => {
    const [, point = "", mode = ""] = /^([a-z.-]+)=(kill|stop|lose)@[1-9]$/.exec(fault) ?? [];
    return { point, mode };
  });

describe("the matrix of faults", () => {
  it("holds every provoked point by each mode, at least 27 operations before and after", () => {
    expect(PROVOKED_POINTS.length).toBeGreaterThanOrEqual(2 * 27);
    expect(new FaultMatrix(PROVOKED_POINTS).total).toBe(PROVOKED_POINTS.length * MODES.length);
  });

  it("deals only points that there are, and never two ends at one place", () => {
    const matrix = new FaultMatrix(PROVOKED_POINTS);
    for (let seed = 0; seed < 50; seed++) {
      const faults = dealt(matrix.deal(prng(seed)).faults);
      expect(faults.filter(({ point }) => !PROVOKED_POINTS.includes(point))).toEqual([]);
      const ends = faults.filter(({ mode }) => mode !== "lose").map(({ point }) => point);
      expect(new Set(ends).size).toBe(ends.length);
    }
  });

  it("deals what was not met until nothing is left, and then everything again", () => {
    const matrix = new FaultMatrix(["a.before", "a.after", "b.before"], ["kill", "lose"]);
    const random = prng(7);
    for (let round = 0; matrix.missing.length > 0; round++) {
      expect(round).toBeLessThan(10);
      for (const fault of dealt(matrix.deal(random).faults)) {
        expect(matrix.missing).toContainEqual(fault);
        if (fault.mode !== "stop") matrix.note({ point: fault.point, mode: fault.mode as "kill" });
      }
    }
    expect(dealt(matrix.deal(random).faults).length).toBeGreaterThan(0);
  });

  it("counts no fault that it does not hold", () => {
    const matrix = new FaultMatrix(["a.before"], ["kill"]);
    matrix.note({ point: "commit.before", mode: "kill" });
    expect(matrix.hits()).toEqual([{ point: "a.before", mode: "kill", hits: 0 }]);
  });
});

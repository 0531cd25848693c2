import { describe, expect, it } from "vitest";
import { AssertionError, assert, assertNever, err, ok, unwrap } from "./result.ts";
import { gradeOf } from "./violation.ts";

describe("Result", () => {
  it("gives its value up only when it is good; a bad one is a bug and says which", () => {
    expect(unwrap(ok(1))).toBe(1);
    expect(() => unwrap(err({ code: "X" }))).toThrow('unwrap of a failed result: {"code":"X"}');
    expect(() => unwrap(err("why"))).toThrow(AssertionError);
  });
});

describe("assert", () => {
  it("throws with its reason when the condition does not hold", () => {
    expect(() => assert(true, "fine")).not.toThrow();
    expect(() => assert(false, "counts are distinct votes")).toThrow("counts are distinct votes");
  });

  it("closes a switch at run time too", () => {
    expect(() => assertNever("surprise" as never)).toThrow('unreachable variant: "surprise"');
  });
});

describe("gradeOf", () => {
  it("calls PROOF only what the offender's own signatures prove", () => {
    expect(
      (["DOUBLE_VOTING", "MINORITY_VOTE", "INVALID_SIGNATURE", "SILENT_FAILURE"] as const).map(
        gradeOf,
      ),
    ).toEqual(["PROOF", "OPINION", "PROOF", "OPINION"]);
  });
});

import { FaultLoss } from "@quorate/ports";
import { describe, expect, it } from "vitest";
import { faultPointFrom } from "./fault-point.ts";

function armed(text: string | undefined) {
  const seen: string[] = [];
  const fault = faultPointFrom(text === undefined ? {} : { QUORATE_FAULT_POINT: text }, {
    signal: (signal) => seen.push(signal),
    say: (line) => seen.push(line),
  });
  return { fault, seen };
}

describe("a fault point", () => {
  it("does nothing where none is named", () => {
    for (const text of [undefined, ""]) {
      const { fault, seen } = armed(text);
      fault("commit.before");
      expect(seen).toEqual([]);
    }
  });

  it("kills at the plain name, at its first passage, and says so first", () => {
    const { fault, seen } = armed("commit.before");
    fault("commit.after");
    fault("commit.before");
    fault("commit.before");
    expect(seen).toEqual(["fault point commit.before=kill@1", "SIGKILL"]);
  });

  it("stops at the passage that is asked for, and only there", () => {
    const { fault, seen } = armed("pg.assign.after=stop@3");
    for (let i = 0; i < 5; i++) fault("pg.assign.after");
    expect(seen).toEqual(["fault point pg.assign.after=stop@3", "SIGSTOP"]);
  });

  it("loses what goes past by throwing, and lets the next one through", () => {
    const { fault, seen } = armed("chain.send.after=lose");
    expect(() => fault("chain.send.after")).toThrow(FaultLoss);
    fault("chain.send.after");
    expect(seen).toEqual(["fault point chain.send.after=lose@1"]);
  });

  it("arms several, also at one place", () => {
    const { fault, seen } = armed("a.after=lose@2, a.after=kill@3,b=stop");
    fault("a.after");
    expect(() => fault("a.after")).toThrow("a.after");
    fault("b");
    fault("a.after");
    expect(seen.filter((line) => line.startsWith("SIG"))).toEqual(["SIGSTOP", "SIGKILL"]);
  });

  it("refuses what it can't read, and names it", () => {
    for (const text of ["pg.assign=burn", "a@0", "a=kill@", "a,,b", "=kill", "A b"])
      expect(() => armed(text)).toThrow(/QUORATE_FAULT_POINT: ".*" is no fault/);
  });
});

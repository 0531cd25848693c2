import { spawnSync } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { checkInstance, moduleOf } from "./lib/check-instance.ts";
import { BREAKS, instanceFiles, twinProblem, twins } from "./lib/instances.ts";
import { loadModule, parseCfg, TLA_DIRECTORY } from "./lib/source.ts";

// All of them take minutes: npm run check:tla. Here are the ones that take seconds.
const SMALL_INSTANCES = [
  "Submission-crash.cfg",
  "Submission-stranger.cfg",
  // The only one of these that has Table 12's Liveness.
  "Voting-undecided.cfg",
];
// About a second each on an idle core; the slowest takes three.
const CHECK_TIMEOUT_MS = 120_000;

const scratch: string[] = [];
afterEach(() => {
  for (const directory of scratch.splice(0)) rmSync(directory, { recursive: true });
});

/** A copy of the model with one file changed. */
function changed(file: string, change: (text: string) => string): string {
  const directory = mkdtempSync(join(tmpdir(), "quorate-tla-"));
  scratch.push(directory);
  cpSync(TLA_DIRECTORY, directory, { recursive: true });
  const path = join(directory, file);
  const before = readFileSync(path, "utf8");
  const after = change(before);
  expect(after).not.toBe(before);
  writeFileSync(path, after);
  return directory;
}

describe("the model", () => {
  it.each(SMALL_INSTANCES)(
    "holds: %s",
    (file) => {
      const report = checkInstance(file);
      expect(report.verdict).toEqual({ kind: "holds" });
      expect(report.states).toBeGreaterThan(100);
    },
    CHECK_TIMEOUT_MS,
  );

  it("has a twin for every planted defect that its modules know, and no other", () => {
    const names = twins().map(({ file }) => file.replace(/^broken\/|\.cfg$/g, ""));
    expect(names).toEqual(Object.keys(BREAKS).sort());
    const modules = ["Voting", "Submission", "Quorate"].map((module) =>
      readFileSync(join(TLA_DIRECTORY, `${module}.tla`), "utf8"),
    );
    const planted = [...modules.join("").matchAll(/Flawed\("([\w-]+)"\)/g)].map(([, name]) => name);
    expect(new Set(planted)).toEqual(new Set(twins().map(({ defect }) => defect)));
    const instances = new Set(instanceFiles());
    expect(twins().filter(({ base }) => !instances.has(base))).toEqual([]);
  });

  it.each(twins().map((twin) => [twin.file, twin.breaks, twin] as const))(
    "notices a planted defect: %s breaks %s",
    (_file, _breaks, twin) => {
      const { verdict } = checkInstance(twin.file);
      expect(twinProblem(twin, verdict)).toBeNull();
      if (verdict.kind !== "broken") return;
      const { steps } = verdict.counterexample;
      expect(steps.length).toBeGreaterThan(0);
      for (const { action, changes } of steps) {
        expect(action).toMatch(/^\w+$/);
        expect(changes.length).toBeGreaterThan(0);
      }
    },
    CHECK_TIMEOUT_MS,
  );

  it.each(globSync("large/*.cfg", { cwd: TLA_DIRECTORY }))(
    "has constants and properties that its module knows: %s",
    (file) => {
      const cfg = parseCfg(readFileSync(join(TLA_DIRECTORY, file), "utf8"), file);
      const source = loadModule(moduleOf(file));
      const constants = [...source.matchAll(/^CONSTANTS\s((?:[ \t]*\w+,?[ \t]*\n)+)/gm)].flatMap(
        ([, names = ""]) => names.match(/\w+/g) ?? [],
      );
      const given = cfg.constants.map((line) => line.split(" = ")[0]);
      expect(new Set(given)).toEqual(new Set(constants));
      const named = [cfg.specification, ...cfg.invariants, ...cfg.properties];
      expect(named.filter((name) => !source.includes(`\n${name} ==`))).toEqual([]);
      expect(cfg.about).toMatch(/^For TLC: /);
      const others = globSync("*.cfg", { cwd: TLA_DIRECTORY }).map(
        (one) => parseCfg(readFileSync(join(TLA_DIRECTORY, one), "utf8"), one).about,
      );
      expect(others).not.toContain(cfg.about.replace("For TLC: hours, not minutes. ", ""));
    },
  );

  it("has all of the specification's Table 12 and of its own invariants in its instances", () => {
    const checked = new Set(
      instanceFiles().flatMap((file) => {
        const cfg = parseCfg(readFileSync(join(TLA_DIRECTORY, file), "utf8"), file);
        return [...cfg.invariants, ...cfg.properties];
      }),
    );
    const table12 = [
      "TypeInvariant",
      "SafetyInvariant",
      "DecisionsStay",
      "NoDuplicateOnChain",
      "ByzantineDetection",
      "MinorityIsCaught",
      "ClaimsAreUniform",
      "Liveness",
      "EveryClaimIsFinalized",
    ];
    expect(table12.filter((name) => !checked.has(name))).toEqual([]);
  });
});

describe("the check", () => {
  it("fails when an invariant does not hold, and names it", () => {
    const directory = changed("Submission.tla", (text) =>
      text.replace("FinalizedIsFinal ==\n", "FinalizedIsFinal ==\n  /\\ epoch < 2\n  /\\\n"),
    );
    const { verdict } = checkInstance("Submission-crash.cfg", directory);
    expect(verdict).toMatchObject({ kind: "broken", property: "FinalizedIsFinal" });
  });

  it("fails when something promised never happens, and shows what goes on instead", () => {
    const directory = changed("Submission.tla", (text) =>
      text.replace("  /\\ WF_submissionVars(Finalize)\n", ""),
    );
    const { verdict } = checkInstance("Submission-crash.cfg", directory);
    expect(verdict).toMatchObject({ kind: "broken", property: "EveryClaimIsFinalized" });
    expect(verdict.kind === "broken" && verdict.counterexample.cycle).not.toBeNull();
  });

  it("does not pass a promise that is made for a while only, for then the checker would not see it", () => {
    for (const left of ["met[tx] /\\ ~due[tx]", 'tally[tx].status = "COLLECTING"']) {
      const directory = changed("Voting.tla", (text) =>
        text.replace("    met[tx] ~>\n", () => `    (${left}) ~>\n`),
      );
      const { verdict } = checkInstance("Voting-undecided.cfg", directory);
      expect(verdict).toMatchObject({ kind: "failed" });
      expect(verdict.kind === "failed" && verdict.message).toMatch(/left of ~> in Liveness/);
    }
  });

  it("does not pass a property whose form it does not know", () => {
    const directory = changed("Submission.tla", (text) =>
      text.replace('ruling[tx] = "SUBMIT" ~> row', '<>(ruling[tx] = "SUBMIT") => <>row'),
    );
    expect(() => checkInstance("Submission-crash.cfg", directory)).toThrow(
      /must be \[\]\[A\]_vars/,
    );
  });

  it("does not take a twin for caught that breaks another property than its own", () => {
    const [twin] = twins();
    if (twin === undefined) throw new Error("there are no twins");
    const counterexample = { steps: [], cycle: null };
    const broken = (property: string) =>
      twinProblem(twin, { kind: "broken", property, counterexample });
    expect(broken(twin.breaks)).toBeNull();
    expect(broken("TypeInvariant")).toMatch(/breaks TypeInvariant, and should break/);
    expect(twinProblem(twin, { kind: "holds" })).toMatch(/not noticed/);
  });

  it.each([["--nonsense"], ["--only", "no-such-instance"], ["--only"]])(
    "takes what it does not know for wrong usage, not for a finding: %s %s",
    (...args) => {
      const main = join(import.meta.dirname, "main.ts");
      const flags = ["--conditions=@quorate/source", main];
      expect(spawnSync(process.execPath, [...flags, ...args]).status).toBe(2);
    },
  );

  it.skipIf(process.platform === "win32")(
    "with TLC: an instance must hold, and a twin must have a counterexample",
    () => {
      const directory = mkdtempSync(join(tmpdir(), "quorate-tla-"));
      scratch.push(directory);
      writeFileSync(join(directory, "java"), '#!/bin/sh\nexit "$TLC_CODE"\n', { mode: 0o755 });
      const run = (file: string, code: number): number | null =>
        spawnSync(join(TLA_DIRECTORY, "check.sh"), [file], {
          env: {
            PATH: `${directory}${delimiter}${process.env["PATH"] ?? ""}`,
            TLA2TOOLS_JAR: "none",
            TLC_CODE: `${code}`,
          },
        }).status;
      // TLC: 11 a deadlock, 12 a broken invariant, 13 broken liveness, 150 it could not read the module.
      const codes = [0, 11, 12, 13, 150];
      expect(codes.map((code) => run("Voting-strict.cfg", code))).toEqual([0, 1, 1, 1, 1]);
      const twin = "broken/Voting-slow--guard-dropped.cfg";
      expect(codes.map((code) => run(twin, code))).toEqual([1, 0, 0, 0, 1]);
    },
  );

  it("fails when the model stands still before it is done", () => {
    const directory = changed("Submission-crash.cfg", (text) =>
      text.replace("MaxEpoch = 2", "MaxEpoch = 0"),
    );
    const { verdict } = checkInstance("Submission-crash.cfg", directory);
    expect(verdict).toMatchObject({ kind: "broken", property: "no deadlock" });
  });

  it("does not pass a module with a mistake in it", () => {
    const directory = changed("Submission.tla", (text) =>
      text.replace("final' = final + 1", "final' = nowhere"),
    );
    expect(checkInstance("Submission-crash.cfg", directory).verdict.kind).toBe("failed");
  });

  it("refuses a twin that differs from its instance in more than the defect", () => {
    const directory = changed("broken/Submission-crash--final-at-inclusion.cfg", (text) =>
      text.replace("MaxNonce = 2", "MaxNonce = 3"),
    );
    expect(() => twins(directory)).toThrow(/must be Submission-crash\.cfg/);
  });

  it("says where a .cfg is wrong", () => {
    expect(() => parseCfg("INVARIANTS\n  A\n", "x.cfg")).toThrow("x.cfg names no SPECIFICATION");
    expect(() => parseCfg("SPECIFICATION S\n", "x.cfg")).toThrow(/CHECK_DEADLOCK TRUE/);
    expect(() => parseCfg("SYMMETRY Q\n", "x.cfg")).toThrow(/belongs to no section/);
  });
});

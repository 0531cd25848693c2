import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { checkInstance } from "./lib/check-instance.ts";
import { instanceFiles, twins } from "./lib/instances.ts";
import { parseCfg, TLA_DIRECTORY } from "./lib/source.ts";

// All of them take minutes: npm run check:tla. Here are the ones that take seconds.
const SMALL_INSTANCES = ["Submission-crash.cfg", "Submission-stranger.cfg"];
/** What each planted defect breaks. */
const BREAKS: Readonly<Record<string, string>> = {
  "Quorate-whole--confirmed-when-sent": "ConfirmedIsFinal",
  "Submission-crash--final-at-inclusion": "FinalizedIsFinal",
  "Submission-crash--queued-before-claim": "NoSubmissionAfterAbort",
  "Submission-crash--resubmit-while-alive": "OneLiveNonce",
  "Submission-crash--send-before-commit": "OnlyCommittedBytesAreSent",
  "Submission-stranger--foreign-at-head": "NoDuplicateOnChain",
  "Submission-two--zombie-not-fenced": "EpochsAscend",
  "Voting-banned--threshold-left-standing": "no deadlock",
  "Voting-forged--named-is-blamed": "NoBanWithoutEvidence",
  "Voting-forged--opinion-over-proof": "ProofStays",
  "Voting-forged--voter-ban-not-guarded": "BansAreLinearizable",
  "Voting-quarantine--equivocator-counts": "ClaimsHaveQuorum",
  "Voting-quarantine--judged-once-only": "no deadlock",
  "Voting-slow--guard-dropped": "CountsAreVotes",
  "Voting-strict--abort-after-claim": "DecisionsStay",
  "Voting-strict--count-before-store": "CountsAreVotes",
  "Voting-strict--dissent-first-missed": "MinorityIsCaught",
  "Voting-strict--settle-ignored": "ClaimsWait",
  "Voting-strict--vote-overwritten": "VotesStay",
};
// About a second each on an idle core; the slowest takes three.
const TWIN_TIMEOUT_MS = 120_000;

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
  it.each(SMALL_INSTANCES)("holds: %s", (file) => {
    const report = checkInstance(file);
    expect(report.verdict).toEqual({ kind: "holds" });
    expect(report.states).toBeGreaterThan(100);
  });

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

  it.each(Object.entries(BREAKS))(
    "notices a planted defect: %s breaks %s",
    (name, broken) => {
      const { verdict } = checkInstance(`broken/${name}.cfg`);
      expect(verdict).toMatchObject({ kind: "broken", property: broken });
      if (verdict.kind !== "broken") return;
      const { steps } = verdict.counterexample;
      expect(steps.length).toBeGreaterThan(0);
      for (const { action, changes } of steps) {
        expect(action).toMatch(/^\w+$/);
        expect(changes.length).toBeGreaterThan(0);
      }
    },
    TWIN_TIMEOUT_MS,
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

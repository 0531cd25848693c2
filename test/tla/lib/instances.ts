import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Verdict } from "./check-instance.ts";
import { TLA_DIRECTORY } from "./source.ts";

/** The instances that must hold, from `tla/`. */
export function instanceFiles(directory: string = TLA_DIRECTORY): readonly string[] {
  return globSync("*.cfg", { cwd: directory }).sort();
}

/** A twin of an instance with one planted defect, which must have a counterexample. */
export interface Twin {
  readonly file: string;
  /** The instance it is a twin of. */
  readonly base: string;
  readonly defect: string;
  /** The invariant or property that the defect must break, or "no deadlock". */
  readonly breaks: string;
}

/** What each planted defect breaks, by the name of its twin. Anything else that broke would be another mistake. */
export const BREAKS: Readonly<Record<string, string>> = {
  "Quorate-whole--confirmed-when-sent": "ConfirmedIsFinal",
  "Submission-crash--final-at-inclusion": "FinalizedIsFinal",
  "Submission-crash--queued-before-claim": "NoSubmissionAfterAbort",
  "Submission-crash--resubmit-while-alive": "OneLiveNonce",
  "Submission-crash--send-before-commit": "OnlyCommittedBytesAreSent",
  "Submission-stranger--foreign-at-head": "NoDuplicateOnChain",
  "Submission-two--zombie-not-fenced": "EpochsAscend",
  "Voting-banned--refused-unheeded": "ByzantineDetection",
  "Voting-banned--threshold-left-standing": "no deadlock",
  "Voting-forged--named-is-blamed": "NoBanWithoutEvidence",
  "Voting-forged--opinion-over-proof": "ProofStays",
  "Voting-forged--voter-ban-not-guarded": "BansAreLinearizable",
  "Voting-late--settle-restarts": "EveryTransactionEnds",
  "Voting-quarantine--equivocator-counts": "ClaimsHaveQuorum",
  "Voting-quarantine--judged-once-only": "no deadlock",
  "Voting-slow--guard-dropped": "CountsAreVotes",
  "Voting-strict--abort-after-claim": "DecisionsStay",
  "Voting-strict--count-before-store": "CountsAreVotes",
  "Voting-strict--dissent-first-missed": "MinorityIsCaught",
  "Voting-strict--settle-ignored": "ClaimsWait",
  "Voting-strict--vote-overwritten": "VotesStay",
  "Voting-undecided--given-up-too-soon": "Liveness",
};

const NO_DEFECT = "  Defects = {}\n";

/** The twins, from `tla/broken`. Throws when one differs from its instance in anything but the defect: then it would show nothing; and when it is not said what it breaks. */
export function twins(directory: string = TLA_DIRECTORY): readonly Twin[] {
  return globSync("broken/*.cfg", { cwd: directory })
    .map((file) => file.replaceAll("\\", "/"))
    .sort()
    .map((file) => {
      const [stem, defect] = basename(file, ".cfg").split("--");
      const base = `${stem}.cfg`;
      const expected = readFileSync(join(directory, base), "utf8").replace(
        NO_DEFECT,
        `  Defects = {"${defect}"}\n`,
      );
      if (defect === undefined || expected !== readFileSync(join(directory, file), "utf8"))
        throw new Error(`${file} must be ${base} with the one defect that its name says`);
      const breaks = BREAKS[`${stem}--${defect}`];
      if (breaks === undefined)
        throw new Error(`BREAKS does not say which property ${file} breaks`);
      return { file, base, defect, breaks };
    });
}

/** What is wrong with a twin's verdict, in words; null when it broke what it must. */
export function twinProblem({ file, breaks }: Twin, verdict: Verdict): string | null {
  switch (verdict.kind) {
    case "holds":
      return `${file}: the defect was not noticed`;
    case "failed":
      return `${file} was not checked: ${verdict.message}`;
    case "broken":
      return verdict.property === breaks
        ? null
        : `${file} breaks ${verdict.property}, and should break ${breaks}`;
  }
}

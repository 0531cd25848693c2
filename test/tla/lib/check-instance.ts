import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import * as checker from "tla-checker";
import { type Counterexample, counterexampleOf } from "./counterexample.ts";
import { instanceOf, parseCfg, TLA_DIRECTORY } from "./source.ts";

/** Far above the largest instance: to run into it is an error, never a pass. */
const STATES_MAX = 200_000;
const DEPTH_MAX = 10_000;

export type Verdict =
  | { readonly kind: "holds" }
  | {
      readonly kind: "broken";
      /** The invariant or property, or "no deadlock". */
      readonly property: string;
      readonly counterexample: Counterexample;
    }
  /** The checker could not say: a mistake in the module, or too many states. */
  | { readonly kind: "failed"; readonly message: string };

export interface InstanceReport {
  /** The .cfg file, from `tla/`. */
  readonly file: string;
  readonly about: string;
  readonly verdict: Verdict;
  /** Distinct states found. */
  readonly states: number;
  readonly durationMs: number;
  /** What was checked. */
  readonly properties: readonly string[];
}

interface CheckerAnswer {
  readonly success: boolean;
  readonly error_type: string | null;
  readonly error_message: string | null;
  readonly states_explored: number;
  readonly trace: readonly string[] | null;
}

let ready = false;

function started(): typeof checker {
  if (!ready) {
    const path = createRequire(import.meta.url).resolve("tla-checker/tla_checker_bg.wasm");
    checker.initSync({ module: readFileSync(path) });
    ready = true;
  }
  return checker;
}

/** The module that an instance is of: the part of its file's name before the first "-". */
export function moduleOf(file: string): string {
  return basename(file).split("-")[0] ?? "";
}

/**
 * Explores every reachable state of one instance and checks all that its .cfg names.
 * @param file the .cfg, from `tla/`
 */
export function checkInstance(file: string, directory: string = TLA_DIRECTORY): InstanceReport {
  const startedMs = performance.now();
  const cfg = parseCfg(readFileSync(join(directory, file), "utf8"), file);
  const instance = instanceOf(moduleOf(file), cfg, directory);
  const engine = started();
  const run = (source: string, cfgSource: string): CheckerAnswer =>
    JSON.parse(
      engine.check_spec_with_options(
        source,
        JSON.stringify({
          cfg_source: cfgSource,
          max_states: STATES_MAX,
          max_depth: DEPTH_MAX,
          allow_deadlock: false,
        }),
      ),
    ) as CheckerAnswer;
  const answer = run(instance.source, instance.cfg);
  let broken = brokenProperty(answer, cfg.invariants);
  // The checker says which formula fails, not its name: each is asked for by itself, and the last one only if it is the only one.
  // (What is asserted of steps has held on all of them by then.)
  if (answer.error_type === "LivenessViolation")
    broken =
      instance.temporal
        .slice(0, -1)
        .find((name) => !run(instance.plainSource, instance.cfgOf([name])).success) ??
      instance.temporal.at(-1) ??
      "a liveness property";
  let verdict: Verdict = { kind: "failed", message: answer.error_message ?? "no reason given" };
  const unstable = broken === null ? undefined : instance.stability.get(broken);
  if (answer.success) verdict = { kind: "holds" };
  else if (unstable !== undefined)
    verdict = {
      kind: "failed",
      message: `what is left of ~> in ${unstable} does not stay true until what is right of it: the checker would not see it (tla/README.md)`,
    };
  else if (broken !== null) {
    const step = instance.steps.has(broken) ? broken : null;
    const counterexample = counterexampleOf(engine, instance, answer.trace ?? [], step);
    verdict = { kind: "broken", property: broken, counterexample };
  }
  return {
    file,
    about: cfg.about,
    verdict,
    states: answer.states_explored,
    durationMs: performance.now() - startedMs,
    properties: [...cfg.invariants, ...cfg.properties, "no deadlock"],
  };
}

function brokenProperty(
  { error_type, error_message }: CheckerAnswer,
  invariants: readonly string[],
): string | null {
  const message = error_message ?? "";
  switch (error_type ?? "") {
    case "InvariantViolation":
      // The checker counts them, from 0.
      return invariants[Number(/^Invariant (\d+) violated/.exec(message)?.[1])] ?? message;
    case "Deadlock":
      return "no deadlock";
    case "NextError":
      return /^Assertion failed: "(\w+)"/.exec(message)?.[1] ?? null;
    default:
      return null;
  }
}

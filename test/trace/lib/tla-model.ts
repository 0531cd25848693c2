import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as checker from "tla-checker";
import { type Tla, tlaText } from "./tla-text.ts";

/** A module with those it extends in one text, as the checker wants it, and its constants. */
export interface Model {
  readonly source: string;
  readonly cfg: string;
}

export type CheckOutcome =
  | { readonly kind: "accepted"; readonly states: number }
  /** No step leads on from this state. */
  | { readonly kind: "stuck"; readonly state: string; readonly states: number };

let ready = false;

function started(): typeof checker {
  if (!ready) {
    const path = createRequire(import.meta.url).resolve("tla-checker/tla_checker_bg.wasm");
    checker.initSync({ module: readFileSync(path) });
    ready = true;
  }
  return checker;
}

export function cfgOf(constants: Readonly<Record<string, Tla>>): string {
  const lines = Object.entries(constants).map(([name, value]) => `  ${name} = ${tlaText(value)}`);
  return ["INIT TraceInit", "NEXT TraceNext", "CONSTANTS", ...lines, ""].join("\n");
}

/** Follows all traces at once. Each state has one successor at most, so that a state without one is a step refused. */
export function checkTraces({ source, cfg }: Model): CheckOutcome {
  const options = {
    cfg_source: cfg,
    max_states: 10_000_000,
    max_depth: 10_000_000,
    allow_deadlock: false,
  };
  const result: unknown = JSON.parse(
    started().check_spec_with_options(source, JSON.stringify(options)),
  );
  const { success, error_type, error_message, states_explored, trace } = result as {
    success: boolean;
    error_type: string | null;
    error_message: string | null;
    states_explored: number;
    trace: readonly string[] | null;
  };
  if (success) return { kind: "accepted", states: states_explored };
  const last = trace?.at(-1);
  if (error_type !== "Deadlock" || last === undefined)
    throw new Error(`the model can't be checked: ${error_type}: ${error_message}`);
  return { kind: "stuck", state: last, states: states_explored };
}

/** A state of a model, which only the checker reads. */
export type ModelState = unknown;

interface Explored {
  readonly ok: boolean;
  readonly error?: string;
}

/** The states that one trace goes through, from the first to the one it can't leave. */
export function walkTrace({ source, cfg }: Model): readonly ModelState[] {
  const explored = (text: string): Explored & Record<string, unknown> => {
    const read: Explored & Record<string, unknown> = JSON.parse(text);
    if (!read.ok) throw new Error(`the model can't be explored: ${read.error}`);
    return read;
  };
  const first = explored(started().explore_init(source, cfg, "{}"))["states"] as {
    json: ModelState;
  }[];
  const states: ModelState[] = first.slice(0, 1).map(({ json }) => json);
  for (;;) {
    const here = states.at(-1);
    const { transitions } = explored(
      started().explore_next(source, cfg, "{}", JSON.stringify(here)),
    ) as unknown as { transitions: { state: { json: ModelState } }[] };
    const next = transitions[0]?.state.json;
    if (next === undefined || JSON.stringify(next) === JSON.stringify(here)) return states;
    states.push(next);
  }
}

/** The value of an expression in a state, as TLA+ writes it; what went wrong when it has none. */
export function evaluate({ source, cfg }: Model, state: ModelState, expression: string): string {
  const text = started().explore_eval(source, cfg, "{}", JSON.stringify(state), expression);
  const read: { ok: boolean; value?: string; error?: string } = JSON.parse(text);
  return read.ok ? (read.value ?? "") : `no value: ${read.error}`;
}

import type * as Checker from "tla-checker";
import type { Instance } from "./source.ts";

/** One step of a counterexample: the action, and what it changed. */
export interface TraceStep {
  readonly action: string;
  readonly changes: readonly string[];
}

export interface Counterexample {
  readonly steps: readonly TraceStep[];
  /** Of a broken liveness property: what goes on for ever after those steps. Empty: nothing happens any more. */
  readonly cycle: readonly TraceStep[] | null;
}

type Explorer = Pick<typeof Checker, "explore_init" | "explore_next">;

interface ExploredState {
  readonly json: Readonly<Record<string, unknown>>;
  readonly display: Readonly<Record<string, string>>;
}
interface Transition {
  readonly action: string | null;
  readonly state: ExploredState;
}

/** The states of one of the checker's printed traces, each as one text that two equal states share. */
function printedStates(text: string | undefined): readonly string[] {
  if (text === undefined) return [];
  return text
    .split(/^State \d+.*$/m)
    .slice(1)
    .map((state) =>
      state
        .trim()
        .split("\n")
        .map((line) => line.trim())
        .sort()
        .join("\n"),
    );
}

const textOf = (state: ExploredState): string =>
  Object.entries(state.display)
    .map(([name, value]) => `${name} = ${value}`)
    .sort()
    .join("\n");

/** Walks the checker's states again, to name the action of each step. */
export function counterexampleOf(
  explorer: Explorer,
  instance: Instance,
  printed: readonly string[],
  brokenStep: string | null,
): Counterexample {
  const prefix = printedStates(printed[0]);
  const initial = JSON.parse(
    explorer.explore_init(instance.plainSource, instance.plainCfg, "{}"),
  ) as { readonly states: readonly ExploredState[] };
  let at = initial.states.find((state) => textOf(state) === prefix[0]);
  const walk = (states: readonly string[]): TraceStep[] => {
    const steps: TraceStep[] = [];
    for (const text of states) {
      if (at === undefined) break;
      const taken = successors(explorer, instance, at).find((t) => textOf(t.state) === text);
      if (taken !== undefined) steps.push(stepOf(at, taken));
      else if (textOf(at) !== text) steps.push({ action: "?", changes: [] });
      at = taken?.state ?? at;
    }
    return steps;
  };
  const steps = walk(prefix.slice(1));
  if (brokenStep !== null && at !== undefined) {
    const culprit = offending(explorer, instance, at, brokenStep);
    if (culprit !== null) steps.push(stepOf(at, culprit));
  }
  const loop = printed[1] === undefined ? null : walk(printedStates(printed[1]).slice(1));
  return { steps, cycle: loop };
}

function successors(
  explorer: Explorer,
  { plainSource, plainCfg }: Pick<Instance, "plainSource" | "plainCfg">,
  from: ExploredState,
): readonly Transition[] {
  const answer = JSON.parse(
    explorer.explore_next(plainSource, plainCfg, "{}", JSON.stringify(from.json)),
  ) as { readonly transitions?: readonly Transition[] };
  return answer.transitions ?? [];
}

/** The step from a state that the property forbids: one that is gone when the property is made a condition of every step. */
function offending(
  explorer: Explorer,
  instance: Instance,
  from: ExploredState,
  property: string,
): Transition | null {
  const box = instance.steps.get(property);
  if (box === undefined) return null;
  const conditioned = instance.source.replaceAll(/^ {2}\/\\ Assert\((\w+), "\w+"\)$/gm, (_, a) =>
    a === box ? `  /\\ ${box}` : "  /\\ TRUE",
  );
  const allowed = successors(explorer, { ...instance, plainSource: conditioned }, from);
  const texts = new Set(allowed.map((t) => textOf(t.state)));
  return successors(explorer, instance, from).find((t) => !texts.has(textOf(t.state))) ?? null;
}

function stepOf(before: ExploredState, taken: Transition): TraceStep {
  const changes: string[] = [];
  for (const name of Object.keys(taken.state.json))
    differences(name, before.json[name], taken.state.json[name], changes);
  return { action: taken.action ?? "?", changes };
}

/** What differs between two values, each place by its path. */
function differences(path: string, before: unknown, after: unknown, into: string[]): void {
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  const [a, b] = [entriesOf(before), entriesOf(after)];
  if (a !== null && b !== null && [...a.keys()].join() === [...b.keys()].join()) {
    for (const [key, value] of a) differences(`${path}${key}`, value, b.get(key), into);
  } else if (Array.isArray(before) && Array.isArray(after)) {
    const had = new Set(before.map((one) => JSON.stringify(one)));
    const has = new Set(after.map((one) => JSON.stringify(one)));
    const added = after.filter((one) => !had.has(JSON.stringify(one)));
    const gone = before.filter((one) => !has.has(JSON.stringify(one)));
    for (const one of added) into.push(`${path} gets ${valueText(one)}`);
    for (const one of gone) into.push(`${path} loses ${valueText(one)}`);
  } else into.push(`${path} becomes ${valueText(after)}`);
}

/** A function's, record's or tuple's parts; null for anything else. */
function entriesOf(value: unknown): ReadonlyMap<string, unknown> | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const special = value as { __fn?: [unknown, unknown][]; __tuple?: unknown[]; __model?: string };
  if (special.__model !== undefined) return null;
  if (special.__fn !== undefined)
    return new Map(special.__fn.map(([key, of]) => [`[${valueText(key)}]`, of]));
  if (special.__tuple !== undefined)
    return new Map(special.__tuple.map((one, i) => [`[${i + 1}]`, one]));
  return new Map(Object.entries(value).map(([key, of]) => [`.${key}`, of]));
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(valueText).join(", ")}}`;
  if (typeof value !== "object" || value === null) return String(value);
  const special = value as { __tuple?: unknown[]; __model?: string };
  if (special.__model !== undefined) return special.__model;
  if (special.__tuple !== undefined) return `<<${special.__tuple.map(valueText).join(", ")}>>`;
  const parts = [...(entriesOf(value) ?? [])].map(
    ([key, of]) => `${key.replace(/^\./, "")}: ${valueText(of)}`,
  );
  return `[${parts.join(", ")}]`;
}

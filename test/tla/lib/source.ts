import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { leadsTo } from "./leads-to.ts";

export const TLA_DIRECTORY = join(import.meta.dirname, "..", "..", "..", "tla");

/**
 * A module of `tla/` with those it extends in front, as one text: the checker takes one module, and knows one declaration of
 * variables. TLC reads the files as they are.
 * @param left what the module leaves to be given: becomes a constant of its own
 */
export function loadModule(
  name: string,
  directory: string = TLA_DIRECTORY,
  left: readonly string[] = [],
): string {
  const standard = new Set<string>(["TLC"]);
  const variables: string[] = [];
  const bodies: string[] = [];
  const seen = new Set<string>();
  const load = (module: string): void => {
    if (seen.has(module)) return;
    seen.add(module);
    const file = join(directory, `${module}.tla`);
    if (!existsSync(file)) {
      standard.add(module);
      return;
    }
    const text = withoutComments(readFileSync(file, "utf8"));
    for (const one of /^EXTENDS\s+([^\n]+)$/m.exec(text)?.[1]?.split(",") ?? []) load(one.trim());
    bodies.push(
      text
        .replace(/^[\s\S]*?-+ MODULE [^\n]*\n/, "")
        .replace(/^={4,}[\s\S]*$/m, "")
        .replace(/^EXTENDS[^\n]*\n/m, "")
        .replace(/^VARIABLES?\s+((?:\w+\s*,\s*)*\w+)[ \t]*$/gm, (_, names: string) => {
          variables.push(...names.split(",").map((n) => n.trim()));
          return "";
        }),
    );
  };
  load(name);
  const head = [`---- MODULE ${name} ----`, `EXTENDS ${[...standard].join(", ")}`];
  head.push(`VARIABLES ${variables.join(", ")}`);
  if (left.length > 0) head.push(`CONSTANTS ${left.join(", ")}`);
  return [...head, ...bodies, "====", ""].join("\n");
}

function withoutComments(text: string): string {
  return text.replace(/\(\*[\s\S]*?\*\)/g, "").replace(/\\\*.*$/gm, "");
}

/** What a .cfg file says, as far as it matters here. */
export interface Cfg {
  /** The first comment: what the instance is for. */
  readonly about: string;
  readonly specification: string;
  readonly constants: readonly string[];
  readonly invariants: readonly string[];
  readonly properties: readonly string[];
}

/** Reads the part of TLC's .cfg language that the files of `tla/` use; anything else is an error. */
export function parseCfg(text: string, file: string): Cfg {
  const lists: Record<string, string[]> = {};
  let section: string | undefined;
  const about = /^\\\*\s*(.+)$/m.exec(text)?.[1] ?? "";
  for (const line of text.replace(/\\\*.*$/gm, "").split("\n")) {
    const [, keyword, rest] =
      /^(SPECIFICATION|CONSTANTS|INVARIANTS|PROPERTIES|CHECK_DEADLOCK)\b(.*)$/.exec(line) ?? [];
    if (keyword !== undefined) section = keyword;
    const content = (keyword === undefined ? line : (rest ?? "")).trim();
    if (content === "") continue;
    if (section === undefined) throw new Error(`${file}: ${content} belongs to no section`);
    (lists[section] ??= []).push(content);
  }
  const specification = lists["SPECIFICATION"]?.[0];
  if (specification === undefined) throw new Error(`${file} names no SPECIFICATION`);
  if (lists["CHECK_DEADLOCK"]?.[0] !== "TRUE")
    throw new Error(`${file} must say CHECK_DEADLOCK TRUE: a state without a step is a finding`);
  return {
    about,
    specification,
    constants: lists["CONSTANTS"] ?? [],
    invariants: lists["INVARIANTS"] ?? [],
    properties: lists["PROPERTIES"] ?? [],
  };
}

/** What the checker is given for one instance. */
export interface Instance {
  readonly source: string;
  /** The same without the checks of steps: to find out which step it was. */
  readonly plainSource: string;
  readonly cfg: string;
  /** The same with these temporal properties only, and nothing else to check. */
  readonly cfgOf: (temporal: readonly string[]) => string;
  readonly plainCfg: string;
  /** Properties of whole behaviours. */
  readonly temporal: readonly string[];
  /** Properties of single steps, by name, with what they say of the step. */
  readonly steps: ReadonlyMap<string, string>;
  /** What is asserted of every step so that a property of whole behaviours can be checked at all, with that property's name. */
  readonly stability: ReadonlyMap<string, string>;
}

/**
 * TLC checks a property `P == [][A]_v` as it stands. tla-checker knows temporal properties of states only, so such a P
 * becomes an assertion in the next-state relation here, which is evaluated for every step that is found: the same thing. Of a
 * property `P ~> Q` it is asserted there that P stays true until Q is (see leadsTo).
 */
export function instanceOf(module: string, cfg: Cfg, directory?: string): Instance {
  const plainSource = loadModule(module, directory);
  const steps = new Map<string, string>();
  const temporal: string[] = [];
  const stability = new Map<string, string>();
  const added = new Set<string>();
  for (const property of cfg.properties) {
    const box = new RegExp(`^${property} == \\[\\]\\[(\\w+)\\]_\\w+$`, "m").exec(plainSource)?.[1];
    if (box !== undefined) {
      steps.set(property, box);
      continue;
    }
    temporal.push(property);
    const { stays, definitions } = leadsTo(property, plainSource);
    stability.set(stays, property);
    for (const definition of definitions) added.add(definition);
  }
  const specification = new RegExp(`^${cfg.specification} == .*\\[\\]\\[(\\w+)\\]_`, "m");
  const next = specification.exec(plainSource)?.[1];
  if (next === undefined) throw new Error(`${module} does not define ${cfg.specification}`);
  const asserted = [
    ...[...steps].map(([name, box]) => `  /\\ Assert(${box}, "${name}")`),
    ...[...stability.keys()].map((stays) => `  /\\ Assert(${stays}, "${stays}")`),
  ];
  const source =
    asserted.length === 0
      ? plainSource
      : plainSource.replace(specification, (line) =>
          [
            ...added,
            `${next}Asserted ==`,
            `  /\\ ${next}`,
            ...asserted,
            "",
            line.replace(`[][${next}]`, `[][${next}Asserted]`),
          ].join("\n"),
        );
  const constants = ["CONSTANTS", ...cfg.constants.map((line) => `  ${line}`)];
  const head = [`SPECIFICATION ${cfg.specification}`, ...constants];
  const cfgWith = (invariants: readonly string[], properties: readonly string[]): string =>
    [
      ...head,
      ...invariants.map((name) => `INVARIANT ${name}`),
      ...properties.map((name) => `PROPERTY ${name}`),
      "",
    ].join("\n");
  return {
    source,
    plainSource,
    cfg: cfgWith(cfg.invariants, temporal),
    cfgOf: (some) => cfgWith([], some),
    plainCfg: cfgWith([], []),
    temporal,
    steps,
    stability,
  };
}

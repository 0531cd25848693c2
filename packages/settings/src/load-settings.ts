import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { err, ok, type Result } from "@quorate/core";
import { z } from "zod";
import { didYouMean, unknownVariables } from "./environment.ts";
import { NODE_SETTINGS, SUBMITTER_SETTINGS } from "./setting-lists.ts";
import { envNameOf } from "./setting-names.ts";

/** One setting that may also come from the environment or a flag. */
export interface Setting {
  /** Where it stands in the file, with dots: `etcd.hosts`. */
  readonly path: string;
  readonly kind: "text" | "number" | "list";
  /** The flag without dashes, when it has one of its own; any setting can be given by `--set path=value`. */
  readonly flag?: string;
  readonly help: string;
}

export interface Problem {
  /** Which setting, as a path. */
  readonly path: string;
  /** Which of the three it came from: a file's path, an environment variable, a flag, or nothing at all. */
  readonly source: string;
  readonly message: string;
}

export interface LoadRequest<Schema extends z.ZodType> {
  readonly schema: Schema;
  readonly settings: readonly Setting[];
  readonly file: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Flag name to its text. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  /** `path=value` texts of `--set`. */
  readonly set: readonly string[];
}

type Tree = { [key: string]: unknown };

/**
 * Reads a configuration: flag over environment over file. Gives all that is wrong
 * at once, each with the place it came from; nothing is opened or started.
 */
export function loadSettings<Schema extends z.ZodType>(
  request: LoadRequest<Schema>,
): Result<z.output<Schema>, readonly Problem[]> {
  const problems: Problem[] = [];
  const sources = new Map<string, string>();
  const tree = request.file === null ? {} : readFile(request.file, problems);
  const give = (setting: Setting, text: string, source: string): void => {
    const value = convert(setting, text);
    sources.set(setting.path, source);
    if (value === undefined)
      problems.push({
        path: setting.path,
        source,
        message: `must be a number, but is ${JSON.stringify(text)}`,
      });
    else put(tree, setting.path, value);
  };
  for (const setting of request.settings) {
    const name = envNameOf(setting.path);
    const text = request.env[name];
    if (text !== undefined) give(setting, text, name);
  }
  problems.push(...unknownVariables(request.env, [NODE_SETTINGS, SUBMITTER_SETTINGS]));
  for (const setting of request.settings) {
    const text = setting.flag === undefined ? undefined : request.flags[setting.flag];
    if (text !== undefined) give(setting, text, `--${setting.flag}`);
  }
  for (const pair of request.set) {
    const [path, text] = splitPair(pair);
    const setting = request.settings.find((s) => s.path === path);
    if (setting === undefined || text === undefined)
      problems.push({
        path: path ?? pair,
        source: `--set ${pair}`,
        message: `is not a setting of this program; use --set path=value${suggestionFor(path ?? pair, request.settings)}`,
      });
    else give(setting, text, `--set ${path}`);
  }
  const parsed = request.schema.safeParse(tree);
  if (!parsed.success) problems.push(...fromZod(parsed.error, sources, request));
  if (!parsed.success || problems.length > 0) return err(unique(problems));
  return ok(parsed.data);
}

function splitPair(pair: string): readonly [string | undefined, string | undefined] {
  const at = pair.indexOf("=");
  return at < 0 ? [pair, undefined] : [pair.slice(0, at), pair.slice(at + 1)];
}

function readFile(file: string, problems: Problem[]): Tree {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    problems.push({
      path: "(file)",
      source: file,
      message: `can't be read: ${why === "ENOENT" ? "there is no such file" : why}`,
    });
    return {};
  }
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Tree;
    problems.push({ path: "(file)", source: file, message: "must hold one JSON object" });
  } catch (error) {
    problems.push({
      path: "(file)",
      source: file,
      message: `is not valid JSON: ${(error as Error).message}`,
    });
  }
  return {};
}

function convert(setting: Setting, text: string): unknown {
  if (setting.kind === "list")
    return text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  if (setting.kind === "text") return text;
  return /^-?[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : undefined;
}

function put(tree: Tree, path: string, value: unknown): void {
  const keys = path.split(".");
  const last = keys.pop() ?? path;
  let at = tree;
  for (const key of keys) {
    const next = at[key];
    const child: Tree =
      typeof next === "object" && next !== null && !Array.isArray(next) ? (next as Tree) : {};
    at[key] = child;
    at = child;
  }
  at[last] = value;
}

function fromZod(
  error: z.ZodError,
  sources: ReadonlyMap<string, string>,
  { settings, file }: Pick<LoadRequest<z.ZodType>, "settings" | "file">,
): Problem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.join(".");
    const keys = issue.code === "unrecognized_keys" ? issue.keys : null;
    if (keys !== null)
      return keys.map((key) => {
        const whole = path === "" ? key : `${path}.${key}`;
        const message = `is not a setting of this program${suggestionFor(whole, settings)}`;
        return { path: whole, source: file ?? "configuration", message };
      });
    const source = [...sources].find(([p]) => path === p || path.startsWith(`${p}.`))?.[1];
    const missing = issue.code === "invalid_type" && issue.message.includes("received undefined");
    return [
      {
        path,
        source: source ?? file ?? "configuration",
        message: missing ? missingMessage(path, settings) : issue.message,
      },
    ];
  });
}

function suggestionFor(path: string, settings: readonly Setting[]): string {
  return didYouMean(
    path,
    settings.map((setting) => setting.path),
  );
}

/** A whole group may be missing; then its settings are named, for a group has no variable of its own. */
function missingMessage(path: string, settings: readonly Setting[]): string {
  const names = settings
    .filter((s) => s.path === path || s.path.startsWith(`${path}.`))
    .map((s) => envNameOf(s.path));
  return names.length === 0 ? "is missing" : `is missing (also settable by ${names.join(", ")})`;
}

function unique(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Set<string>();
  return problems.filter((p) => {
    // A setting that could not be converted is missing from the tree too; the first report says more.
    if (seen.has(p.path)) return false;
    seen.add(p.path);
    return true;
  });
}

/** The problems as a person reads them, a line each. */
export function describeProblems(problems: readonly Problem[]): string {
  const lines = problems.map((p) => `  ${p.path}: ${p.message} (from ${p.source})`);
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return `the configuration has ${count}:\n${lines.join("\n")}`;
}

/** A path in the configuration, relative to the file that names it. */
export function pathBeside(file: string | null, path: string): string {
  return resolve(file === null ? "." : dirname(file), path);
}

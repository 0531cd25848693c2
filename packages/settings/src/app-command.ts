import { Command } from "commander";
import type { z } from "zod";
import { describeProblems, loadSettings, type Setting } from "./load-settings.ts";
import { envNameOf } from "./setting-names.ts";

export interface AppCommand<Schema extends z.ZodType> {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly schema: Schema;
  readonly settings: readonly Setting[];
}

export type CommandLine<Settings> =
  | { readonly kind: "run"; readonly settings: Settings; readonly file: string | null }
  /** Help or version was printed, or the command line is wrong and that was said. */
  | { readonly kind: "exit"; readonly code: number };

/** Reads an app's command line and configuration. Prints what is wrong to stderr; throws nothing. */
export function readCommandLine<Schema extends z.ZodType>(
  app: AppCommand<Schema>,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): CommandLine<z.output<Schema>> {
  const command = new Command(app.name)
    .description(app.description)
    .version(app.version)
    .option("-c, --config <file>", "configuration file (JSON)")
    .option("--set <path=value>", "any setting by its path; repeatable", collect, [])
    .showSuggestionAfterError()
    .exitOverride();
  for (const s of app.settings)
    if (s.flag !== undefined)
      command.option(`--${s.flag} <${s.kind}>`, `${s.help} [${envNameOf(s.path)}]`);
  command.addHelpText(
    "after",
    `\nA flag wins over the environment, and the environment over the file.\nFurther settings, by --set or environment:\n${app.settings
      .filter((s) => s.flag === undefined)
      .map((s) => `  ${s.path.padEnd(30)} ${s.help} [${envNameOf(s.path)}]`)
      .join("\n")}`,
  );
  try {
    command.parse([...argv], { from: "user" });
  } catch (error) {
    // Commander has printed it; help and version end with 0.
    const code = error instanceof Error && "exitCode" in error ? Number(error.exitCode) : 2;
    return { kind: "exit", code: code === 0 ? 0 : 2 };
  }
  const options = command.opts<Record<string, unknown>>();
  const flags: Record<string, string | undefined> = {};
  for (const s of app.settings) {
    if (s.flag === undefined) continue;
    const value = options[camel(s.flag)];
    if (typeof value === "string") flags[s.flag] = value;
  }
  const file =
    typeof options["config"] === "string" ? options["config"] : (env["QUORATE_CONFIG"] ?? null);
  const set = Array.isArray(options["set"]) ? options["set"].map(String) : [];
  const loaded = loadSettings({
    schema: app.schema,
    settings: app.settings,
    file,
    env,
    flags,
    set,
  });
  if (loaded.ok) return { kind: "run", settings: loaded.value, file };
  process.stderr.write(`${app.name}: ${describeProblems(loaded.error)}\n`);
  return { kind: "exit", code: 2 };
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function camel(flag: string): string {
  return flag.replace(/-([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}

import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The programs of which a cluster consists. */
export type AppName = "@quorate/node" | "@quorate/submitter";

/** Whether this very module runs from its TypeScript source; the programs it starts then do too. */
const FROM_SOURCE = import.meta.url.endsWith(".ts");

/** The arguments that make this Node run an app: its options, then the app's entry module. */
export function appCommand(app: AppName): readonly string[] {
  const manifestPath = findPackageJSON(app, import.meta.url);
  if (manifestPath === undefined) throw new Error(`${app} is not installed`);
  const manifest: unknown = JSON.parse(readFileSync(manifestPath, "utf8"));
  const entry = entryOf(manifest, FROM_SOURCE ? "@quorate/source" : "default");
  if (entry === null) throw new Error(`${app} exports no "./main"`);
  return [...sourceOptions(), join(dirname(manifestPath), entry)];
}

/** The same for a program of this package. @param url of the module. */
export function ownProgram(url: URL): readonly string[] {
  return [...sourceOptions(), fileURLToPath(url)];
}

/** Node's options without which the workspace's source can't be resolved. */
function sourceOptions(): readonly string[] {
  return FROM_SOURCE ? ["--conditions=@quorate/source"] : [];
}

function entryOf(manifest: unknown, condition: string): string | null {
  const at = (value: unknown, key: string): unknown =>
    typeof value === "object" && value !== null && Object.hasOwn(value, key)
      ? Reflect.get(value, key)
      : undefined;
  const entry = at(at(at(manifest, "exports"), "./main"), condition);
  return typeof entry === "string" ? entry : null;
}

// A node loads about 1,500 modules; compiled code that is kept takes a third off its start.
const COMPILE_CACHE = FROM_SOURCE
  ? { NODE_COMPILE_CACHE: join(import.meta.dirname, "..", "..", "..", ".cache", "compile") }
  : {};

/** Names the folder where every app that is started from here records its steps, whichever cluster it is of. */
const STEPS_DIRECTORY = "QUORATE_STEPS_DIRECTORY";

/** The environment without our settings, which would win over a configuration file; but with the one that has a run recorded. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      (!name.startsWith("QUORATE_") || name === STEPS_DIRECTORY) && name !== "NODE_OPTIONS",
  );
  return { ...COMPILE_CACHE, ...Object.fromEntries(kept) };
}

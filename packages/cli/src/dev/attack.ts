import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { runNodeAttached } from "../commands/app.ts";
import { CliError, usageError } from "../failure.ts";

export interface DevAttackOptions {
  readonly list?: true;
  readonly all?: true;
  readonly short?: true;
  readonly json?: true;
  readonly dir?: string;
}

const KIT = join("test", "attacks", "main.ts");

/** Rehearses attacks against a cluster that is started for it and thrown away. */
export async function devAttack(
  names: readonly string[],
  options: DevAttackOptions,
): Promise<number> {
  const { list, all, short, json, dir } = options;
  if (names.length === 0 && list !== true && all !== true && short !== true)
    throw usageError("name an attack, or give --all, --short or --list");
  const flags = [
    ...(list === true ? ["--list"] : []),
    ...(short === true ? ["--short"] : []),
    ...(json === true ? ["--json"] : []),
    ...(dir === undefined ? [] : ["--dir", dir]),
  ];
  // The kit is run as it lies in the checkout and is never built.
  return runNodeAttached([
    "--conditions=@quorate/source",
    locateKit(import.meta.dirname),
    ...flags,
    "--",
    ...names,
  ]);
}

/** The attack kit's program in the checkout that a folder belongs to. @throws CliError when there is none */
export function locateKit(start: string): string {
  for (let directory = start; ; directory = dirname(directory)) {
    const kit = join(directory, KIT);
    if (existsSync(join(directory, "pnpm-workspace.yaml")) && existsSync(kit)) return kit;
    if (directory === dirname(directory)) break;
  }
  throw new CliError(
    `the attack kit (${KIT}) is not here: it comes with the project's checkout and is in no installed package`,
  );
}

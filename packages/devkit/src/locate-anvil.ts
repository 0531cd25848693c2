import { chmod } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { DevkitError } from "./errors.ts";
import { findOnPath, isExecutable } from "./run-program.ts";

/**
 * Finds the Anvil binary itself, not its launcher script: signals must reach the server.
 *
 * Order: `QUORATE_ANVIL`, the npm platform package, PATH.
 *
 * @throws DevkitError `ANVIL_NOT_FOUND`.
 */
export async function locateAnvil({
  env = process.env,
}: {
  signal?: AbortSignal | undefined;
  env?: NodeJS.ProcessEnv;
} = {}): Promise<string> {
  const override = env["QUORATE_ANVIL"];
  if (override !== undefined && override !== "") {
    if (await isExecutable(override)) return override;
    throw new DevkitError("ANVIL_NOT_FOUND", `QUORATE_ANVIL is not executable: ${override}`);
  }
  const found = (await fromPackage()) ?? (await findOnPath("anvil", env["PATH"]));
  if (found !== null) return found;
  throw new DevkitError(
    "ANVIL_NOT_FOUND",
    `Anvil was not found for ${process.platform} ${process.arch}. Install the packages again ` +
      "(npm run setup), or set QUORATE_ANVIL to the path of an anvil binary.",
  );
}

async function fromPackage(): Promise<string | null> {
  const arch = process.arch === "x64" ? "amd64" : process.arch;
  try {
    const wrapper = createRequire(import.meta.url).resolve("@foundry-rs/anvil/package.json");
    // The strict node_modules layout shows the platform package only to its wrapper.
    const platform = createRequire(wrapper).resolve(
      `@foundry-rs/anvil-${process.platform}-${arch}/package.json`,
    );
    const binary = join(dirname(platform), "bin", "anvil");
    if (!(await isExecutable(binary))) await chmod(binary, 0o755);
    return binary;
  } catch {
    return null;
  }
}

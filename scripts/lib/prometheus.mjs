import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

import { fetchFromDebian } from "./debian.mjs";
import { capture } from "./exec.mjs";
import { SetupError } from "./log.mjs";
import { PROMETHEUS_CACHE_BIN } from "./paths.mjs";

// amtool checks Alertmanager's configuration and comes with it.
const PACKAGES = ["prometheus", "prometheus-alertmanager"];
const PROGRAMS = ["prometheus", "promtool"];

/** Whether Prometheus and its promtool are here: on PATH or in the project's cache. */
export function prometheusIsPresent() {
  const directories = [PROMETHEUS_CACHE_BIN, ...(process.env.PATH ?? "").split(delimiter)];
  return PROGRAMS.every((program) =>
    directories.some((directory) => directory !== "" && existsSync(join(directory, program))),
  );
}

/** Unpacks Debian's Prometheus and Alertmanager into the project's cache. */
export async function fetchPrometheus() {
  const reason = await fetchFromDebian({
    packages: PACKAGES,
    name: "prometheus",
    check: async (bin) => {
      const { code, output } = await capture(join(bin, "promtool"), ["--version"]);
      return code === 0 ? null : `does not run: ${output.trim()}`;
    },
  });
  if (reason === null) return;
  throw new SetupError(
    [
      `Prometheus could not be fetched (${reason}).`,
      "Install it (Debian, Ubuntu: sudo apt-get install -y prometheus; macOS: brew install prometheus)",
      "so that prometheus and promtool are on PATH, and run this again.",
    ].join("\n"),
  );
}

import { buildDashboard } from "./build-dashboard.ts";
import { DASHBOARDS } from "./dashboards/all.ts";
import { metricsPage } from "./metrics-page.ts";

/** Every generated file with its text, by its path from the repository's root. */
export async function generatedFiles(): Promise<ReadonlyMap<string, string>> {
  const files = new Map([["docs/METRICS.md", await metricsPage()]]);
  for (const [name, spec] of Object.entries(DASHBOARDS))
    files.set(
      `deploy/grafana/dashboards/${name}.json`,
      `${JSON.stringify(buildDashboard(spec), null, 2)}\n`,
    );
  return files;
}

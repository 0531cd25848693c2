import { existsSync } from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, spawnLogged } from "@quorate/devkit";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const POLL_MS = 250;
const SCRAPED_WITHIN_MS = 30_000;

/** A real Prometheus over some processes, with the alert rules that operators get. */
export interface Alerts {
  /** Waits until an alert of that name fires. @returns whether it did in time */
  fires(name: string, timeoutMs: number): Promise<boolean>;
  stop(): Promise<void>;
}

/** @returns null when there is no Prometheus here; `npm test` fetches one */
export async function watchAlerts(
  directory: string,
  targets: readonly string[],
): Promise<Alerts | null> {
  const places = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    join(ROOT, ".cache/prometheus/usr/bin"),
  ];
  const place = places.find((one) => one !== "" && existsSync(join(one, "prometheus")));
  if (place === undefined) return null;
  await mkdir(directory, { recursive: true });
  await cp(join(ROOT, "deploy/prometheus/rules"), join(directory, "rules"), { recursive: true });
  // JSON is YAML too.
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: ["rules/*.yml"],
    scrape_configs: [{ job_name: "quorate-node", static_configs: [{ targets }] }],
  };
  await writeFile(join(directory, "prometheus.yml"), JSON.stringify(config));
  const port = await freePort();
  const server = await spawnLogged({
    name: "prometheus",
    command: join(place, "prometheus"),
    args: [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    logFile: join(directory, "prometheus.log"),
  });
  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    return await response.json();
  };
  const scraped = async (): Promise<boolean> => {
    const body = (await ask("targets")) as { data: { activeTargets: { health: string }[] } };
    return (
      body.data.activeTargets.filter(({ health }) => health === "up").length === targets.length
    );
  };
  // An increase is only seen of what was seen before it.
  const all = await until(scraped, SCRAPED_WITHIN_MS);
  if (!all) {
    await server.stop();
    throw new Error("Prometheus does not scrape the nodes");
  }
  const firing = async (): Promise<readonly string[]> => {
    const body = (await ask("alerts")) as {
      data: { alerts: { state: string; labels: { alertname: string } }[] };
    };
    return body.data.alerts.filter((a) => a.state === "firing").map((a) => a.labels.alertname);
  };
  return {
    fires: (name, timeoutMs) => until(async () => (await firing()).includes(name), timeoutMs),
    stop: () => server.stop(),
  };
}

/** @returns false when it does not hold in time; what fails counts as not yet */
async function until(holds: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const sinceMs = performance.now();
  while (performance.now() - sinceMs < timeoutMs) {
    if (await holds().catch(() => false)) return true;
    await sleep(POLL_MS);
  }
  return false;
}

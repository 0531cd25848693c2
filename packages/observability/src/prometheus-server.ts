import { existsSync } from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { freePort, spawnLogged, waitUntil } from "@quorate/devkit";
import type { AbortOptions } from "@quorate/ports";
import { stringify } from "yaml";
import { ROOT } from "./root.ts";

/** One series' answer to an instant query. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface RuleState {
  readonly name: string;
  readonly health: string;
  readonly lastError: string;
  /** "pending" while its condition holds and has not for long enough. */
  readonly state: string;
}

/** A Prometheus that scrapes what it was told, with the alert rules of this checkout. */
export interface PrometheusServer {
  readonly url: string;
  /** @throws Error with Prometheus' own words when it can't evaluate the expression */
  query(expr: string, options?: AbortOptions): Promise<readonly Sample[]>;
  rules(options?: AbortOptions): Promise<readonly RuleState[]>;
  metricNames(options?: AbortOptions): Promise<ReadonlySet<string>>;
  stop(): Promise<void>;
}

export interface StartPrometheusParameters {
  readonly directory: string;
  /** Host and port, by job. */
  readonly targets: Readonly<Record<string, readonly string[]>>;
}

const START_TIMEOUT_MS = 30_000;
// Short, so that a check of a minute sees what takes a quarter of an hour in production.
const SCRAPE_INTERVAL = "2s";

/** Finds a program of Prometheus on PATH or in the project's cache; null when there is none. */
export function locateTool(name: "prometheus" | "promtool" | "amtool"): string | null {
  const directories = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    join(ROOT, ".cache/prometheus/usr/bin"),
  ];
  const found = directories.find((dir) => dir !== "" && existsSync(join(dir, name)));
  return found === undefined ? null : join(found, name);
}

/** @throws Error when there is no Prometheus, or it does not start */
export async function startPrometheus({
  directory,
  targets,
}: StartPrometheusParameters): Promise<PrometheusServer> {
  const command = locateTool("prometheus");
  if (command === null) throw new Error("no prometheus on PATH or in .cache/prometheus");
  await mkdir(directory, { recursive: true });
  await cp(join(ROOT, "deploy/prometheus/rules"), join(directory, "rules"), { recursive: true });
  const config = {
    global: { scrape_interval: SCRAPE_INTERVAL, evaluation_interval: SCRAPE_INTERVAL },
    rule_files: ["rules/*.yml"],
    scrape_configs: Object.entries(targets).map(([job, hosts]) => ({
      job_name: job,
      static_configs: [{ targets: hosts }],
    })),
  };
  await writeFile(join(directory, "prometheus.yml"), stringify(config));
  const port = await freePort();
  const server = await spawnLogged({
    name: "prometheus",
    command,
    args: [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    logFile: join(directory, "prometheus.log"),
  });
  const url = `http://127.0.0.1:${port}`;
  await waitUntil(async () => (await fetch(`${url}/-/ready`).catch(() => null))?.ok === true, {
    timeoutMs: START_TIMEOUT_MS,
    what: "Prometheus",
  });
  return {
    url,
    query: async (expr, options = {}) => {
      const data = await ask<{
        readonly resultType: string;
        readonly result:
          | readonly [number, string]
          | readonly {
              readonly metric: Readonly<Record<string, string>>;
              readonly value: readonly [number, string];
            }[];
      }>(`${url}/api/v1/query?${new URLSearchParams({ query: expr }).toString()}`, options);
      if (data.resultType === "scalar") return [{ metric: {}, value: Number(data.result[1]) }];
      return (
        data.result as readonly {
          readonly metric: Readonly<Record<string, string>>;
          readonly value: readonly [number, string];
        }[]
      ).map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    rules: async (options = {}) => {
      const { groups } = await ask<{
        readonly groups: readonly {
          readonly rules: readonly {
            readonly name: string;
            readonly health: string;
            readonly lastError?: string;
            readonly state?: string;
          }[];
        }[];
      }>(`${url}/api/v1/rules`, options);
      return groups.flatMap(({ rules }) =>
        rules.map(({ name, health, lastError = "", state = "unknown" }) => ({
          name,
          health,
          lastError,
          state,
        })),
      );
    },
    metricNames: async (options = {}) =>
      new Set(await ask<readonly string[]>(`${url}/api/v1/label/__name__/values`, options)),
    stop: () => server.stop(),
  };
}

async function ask<T>(url: string, { signal }: AbortOptions): Promise<T> {
  const response = await fetch(url, signal === undefined ? {} : { signal });
  const answer = (await response.json()) as {
    readonly status: string;
    readonly error?: string;
    readonly data: T;
  };
  if (answer.status !== "success") throw new Error(answer.error ?? `HTTP ${response.status}`);
  return answer.data;
}

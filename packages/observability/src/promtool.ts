import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { locateTool } from "./prometheus-server.ts";
import { ROOT } from "./root.ts";

export interface ToolRun {
  readonly command: string;
  /** Null when the tool is not on this machine. */
  readonly ok: boolean | null;
  readonly output: string;
}

const filesIn = (directory: string): readonly string[] =>
  readdirSync(join(ROOT, directory))
    .filter((name) => name.endsWith(".yml"))
    .sort()
    .map((name) => join(directory, name));

/** Has Prometheus' and Alertmanager's own tools check the files in deploy/, and runs the tests of the alerts. */
export async function runTools(): Promise<readonly ToolRun[]> {
  return [
    await run("promtool", ["check", "rules", ...filesIn("deploy/prometheus/rules")]),
    await run("promtool", ["check", "config", "deploy/prometheus/prometheus.yml"]),
    await run("promtool", ["test", "rules", ...filesIn("deploy/prometheus/tests")]),
    await run("amtool", ["check-config", "deploy/alertmanager/alertmanager.yml"]),
  ];
}

function run(tool: "promtool" | "amtool", args: readonly string[]): Promise<ToolRun> {
  const command = `${tool} ${args.slice(0, 2).join(" ")}`;
  const file = locateTool(tool);
  if (file === null) return Promise.resolve({ command, ok: null, output: `there is no ${tool}` });
  return new Promise((resolve) => {
    execFile(file, args, { cwd: ROOT }, (error, stdout, stderr) =>
      resolve({ command, ok: error === null, output: `${stdout}${stderr}`.trim() }),
    );
  });
}

import { expect, test } from "vitest";
import { locateTool } from "./prometheus-server.ts";
import { runTools } from "./promtool.ts";

test.skipIf(locateTool("promtool") === null)(
  "Prometheus and Alertmanager accept what is in deploy/, and each alert fires where it must and nowhere else",
  async () => {
    const runs = await runTools();
    expect(runs.filter(({ ok }) => ok === false)).toEqual([]);
    expect(runs.filter(({ ok }) => ok === true).length).toBeGreaterThanOrEqual(3);
  },
);

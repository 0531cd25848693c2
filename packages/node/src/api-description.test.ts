import { createMetrics, createOpsServer } from "@quorate/telemetry";
import { memoryLogger } from "@quorate/testkit";
import { expect, it } from "vitest";
import { nodeApi } from "./api-description.ts";
import { addRoutes, type RouteContext } from "./routes.ts";
import { addSubmitterRoutes, type SubmitterLinkContext } from "./submitter-routes.ts";

it("docs/openapi.json says what the node serves, each route in words, and nothing that it does not serve", async () => {
  const description = nodeApi("1");
  const server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics({}),
    logger: memoryLogger(),
    health: () => ({ status: "ok", uptimeSeconds: 1, version: "0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 1,
    description,
  });
  // Nothing is asked of it: only which routes there are is looked at.
  server.addRoutes((app) => {
    addRoutes(app, {} as RouteContext);
    addSubmitterRoutes(app, {} as SubmitterLinkContext);
  });
  const document = (await server.app.inject("/v1/openapi.json")).json<{
    paths: Record<string, Record<string, { summary?: string }>>;
  }>();
  const served = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { summary }]) => ({
      route: `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`,
      summary,
    })),
  );
  expect(served.filter(({ summary }) => summary === undefined)).toEqual([]);
  const described = Object.keys(description.routes);
  expect(served.map(({ route }) => route).sort()).toEqual(described.sort());
  const text = `${JSON.stringify(document, null, 2)}\n`;
  // After a change of the API: vitest run -u on this file.
  await expect(text).toMatchFileSnapshot("../../../docs/openapi.json");
});

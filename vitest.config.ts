import { defineConfig } from "vitest/config";

// Workspace packages resolve to their TypeScript source, so tests never run
// against a stale build.
const conditions = ["@quorate/source"];
const resolve = { conditions };
const ssr = { resolve: { conditions, externalConditions: conditions } };

export default defineConfig({
  resolve,
  ssr,
  test: {
    projects: [
      {
        resolve,
        ssr,
        test: {
          name: "unit",
          include: [
            "packages/*/src/**/*.test.ts",
            "test/{architecture,chaos,chaos-cluster,compose,fuzz,load,property,simulation,tla,trace}/**/*.test.ts",
          ],
          exclude: ["**/*.integration.test.ts", "**/node_modules/**", "**/dist/**"],
          testTimeout: 30_000,
        },
      },
      {
        resolve,
        ssr,
        test: {
          name: "integration",
          include: [
            "packages/*/src/**/*.integration.test.ts",
            "test/integration/**/*.test.ts",
            "test/{attacks,chaos,chaos-cluster,load,property,trace}/**/*.integration.test.ts",
          ],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Each file starts its own servers and processes: two cores carry no more than one at a time.
          maxWorkers: 1,
        },
      },
      {
        resolve,
        ssr,
        test: {
          // Apart, because it has the machine to itself: engine, images and a whole stack.
          name: "containers",
          include: ["test/compose/**/*.integration.test.ts"],
          maxWorkers: 1,
        },
      },
    ],
  },
});

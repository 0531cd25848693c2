import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EtcdCluster, startEtcd } from "@quorate/devkit";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import {
  MemoryTallyStore,
  memoryLogger,
  SharedTally,
  SimClock,
  TallyFixture,
  testClusterId,
} from "@quorate/testkit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { realClock } from "./real-clock.ts";
import { lateSteps, TALLY_TRUSTEES, tallyCommands } from "./tally-commands.ts";
import { TallyDriver } from "./tally-driver.ts";
import { runTally } from "./tally-run.ts";

let dataDir: string;
let etcd: EtcdCluster;
let clusters = 0;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-tally-model-"));
  etcd = await startEtcd({ dataDir, members: 1 });
});

afterAll(async () => {
  await etcd.stop();
  await rm(dataDir, { recursive: true, force: true });
});

describe("the tally in etcd and the one in memory, over random commands", () => {
  it(
    "answer and hold after each step what the port promises, and show watchers the same",
    async () => {
      await fc.assert(
        fc.asyncProperty(tallyCommands, lateSteps, async (commands, late) => {
          // A cluster of its own for each run, so that a failing history can be shrunk.
          clusters += 1;
          const clusterId = testClusterId(`model-${clusters}`);
          const fixture = new TallyFixture(clusterId, TALLY_TRUSTEES);
          const clock = new SimClock();
          const memory = new MemoryTallyStore(new SharedTally({ clock }), { clock });
          const real = createEtcdTallyStore(
            { hosts: etcd.endpoints, clusterId, requestTimeoutMs: 5_000, dialTimeoutMs: 10_000 },
            { clock: realClock, logger: memoryLogger() },
          );
          await real.start();
          try {
            const drivers = [
              new TallyDriver("memory", memory, fixture),
              new TallyDriver("etcd", real, fixture),
            ];
            for (const driver of drivers) await driver.open();
            await runTally(drivers, commands, late);
          } finally {
            await real.stop();
          }
        }),
        budget("tally model, etcd", 40),
      );
    },
    patience(),
  );
});

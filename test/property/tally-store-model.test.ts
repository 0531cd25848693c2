import {
  MemoryTallyStore,
  SharedTally,
  SimClock,
  TallyFixture,
  testClusterId,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { lateSteps, TALLY_TRUSTEES, tallyCommands } from "./tally-commands.ts";
import { TallyDriver } from "./tally-driver.ts";
import { runTally } from "./tally-run.ts";

const fixture = new TallyFixture(testClusterId("model"), TALLY_TRUSTEES);

async function memoryDriver(): Promise<TallyDriver> {
  const clock = new SimClock();
  const store = new MemoryTallyStore(new SharedTally({ clock }), { clock });
  const driver = new TallyDriver("memory", store, fixture);
  await driver.open();
  return driver;
}

describe("the tally in memory, over random commands", () => {
  it(
    "answers and holds after each step what the port promises",
    async () => {
      await fc.assert(
        fc.asyncProperty(tallyCommands, lateSteps, async (commands, late) => {
          await runTally([await memoryDriver()], commands, late);
        }),
        budget("tally model, memory", 300),
      );
    },
    patience(),
  );
});

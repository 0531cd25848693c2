import { stopAll } from "@quorate/devkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ComposeOutcome, LAST_STEP, runCompose } from "./run-compose.ts";
import { STEPS } from "./scenario.ts";

/** Builds of a Debian and of our images included, on a machine that does other things too. */
const RUN_MS = 600_000;
const TAKE_DOWN_MS = 120_000;

const stopped = new AbortController();
let outcome: ComposeOutcome | null = null;

beforeAll(async () => {
  // A machine of CI is there for this; on a person's own nothing is installed unasked.
  const install = process.env["CI"] !== undefined;
  outcome = await runCompose({
    keep: false,
    pull: false,
    install,
    say: (line) => void process.stderr.write(`${line}\n`),
    signal: stopped.signal,
  });
}, RUN_MS);

afterAll(async () => {
  stopped.abort(new Error("the tests have ended"));
  await stopAll();
}, TAKE_DOWN_MS);

describe("docker-compose.yml on a container engine", () => {
  for (const name of [...STEPS.map((step) => step.name), LAST_STEP])
    it(name, (context) => {
      if (outcome?.kind === "unavailable") return context.skip(outcome.reason);
      const step = outcome?.report.steps.find((one) => one.name === name);
      expect(step, "the step was reached").toBeDefined();
      expect(step?.ok, step?.detail).toBe(true);
    });
});

import fc from "fast-check";
import { describe, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { memorySubmissionDriver } from "./memory-submission-world.ts";
import { submissionCommands } from "./submission-commands.ts";
import { runSubmissions } from "./submission-run.ts";

describe("the submitter's memory, over random commands", () => {
  it(
    "answers and holds after each step what the port promises, with one live nonce an id",
    async () => {
      await fc.assert(
        fc.asyncProperty(submissionCommands, async (commands) => {
          await runSubmissions([memorySubmissionDriver()], commands);
        }),
        budget("submission model, memory", 300),
      );
    },
    patience(),
  );
});

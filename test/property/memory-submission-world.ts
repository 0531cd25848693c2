import { createMemorySubmissionStore } from "@quorate/testkit";
import { SubmissionDriver } from "./submission-driver.ts";

/** A database in memory whose clock moves once a call, as PostgreSQL's now() does. */
export function memorySubmissionDriver(): SubmissionDriver {
  let nowMs = 1_000;
  const tick = (): void => {
    nowMs += 1;
  };
  const store = createMemorySubmissionStore({ nowMs: () => nowMs, faults: { before: tick } });
  return new SubmissionDriver({
    name: "memory",
    store,
    archive: async (txId) => store.archive(txId),
    operatorLog: async () => store.operatorLog(),
  });
}

import { parseEvmAddress, unwrap } from "@quorate/core";
import { StoreError } from "@quorate/ports";
import { expect, test } from "vitest";

import { submissionStoreContract } from "./contracts/submission-store.contract.ts";
import { createMemorySubmissionStore } from "./memory-submission-store.ts";

submissionStoreContract("memory", async () => {
  let nowMs = 1_000;
  let losing = false;
  const store = createMemorySubmissionStore({
    nowMs: () => nowMs++,
    faults: {
      after: () => {
        if (!losing) return;
        losing = false;
        throw new StoreError("UNAVAILABLE", "reply lost", { retryable: true });
      },
    },
  });
  return {
    store,
    other: store,
    lossy: store,
    loseNextReply: () => {
      losing = true;
    },
    archive: async (txId) => store.archive(txId),
    operatorLog: async () => store.operatorLog(),
    close: async () => undefined,
  };
});

test("a fault before a call leaves nothing, a fault after it leaves all", async () => {
  const sender = { chainId: 1, address: unwrap(parseEvmAddress(`0x${"00".repeat(20)}`)) };
  const lost = new StoreError("TIMEOUT", "reply lost", { retryable: true });
  let at: "before" | "after" | "never" = "before";
  const failAt = (point: "before" | "after") => (): void => {
    if (at === point) throw lost;
  };
  const store = createMemorySubmissionStore({
    nowMs: () => 0,
    faults: { before: failAt("before"), after: failAt("after") },
  });
  await expect(store.becomeLeader(sender, 0n)).rejects.toBe(lost);
  at = "after";
  await expect(store.becomeLeader(sender, 0n)).rejects.toBe(lost);
  at = "never";
  expect((await store.becomeLeader(sender, 0n)).leaderEpoch).toBe(2n);
});

import { retentionContract } from "./contracts/retention.contract.ts";
import { createMemoryRetentionStore } from "./memory-retention-store.ts";

retentionContract("memory", async () => {
  const store = createMemoryRetentionStore();
  let nowMs = 1_000;
  return {
    store,
    other: store,
    transaction: async (txId, status) => {
      if (status !== "SUBMITTED") store.settle(txId, status, ++nowMs);
    },
    submission: async (txId, stage) => {
      store.submit({ txId, confirmedAtMs: stage === "confirmed" ? ++nowMs : null });
    },
    vote: async (txId) => store.recordVote(txId, ++nowMs),
    nowMs: async () => ++nowMs,
    rows: async () => {
      const { active, archived, votes, archivedVotes } = store;
      return { active, archived, votes, archivedVotes };
    },
    close: async () => {},
  };
});

import { retentionContract } from "./contracts/retention.contract.ts";
import { createMemoryRetentionStore } from "./memory-retention-store.ts";

retentionContract("memory", async () => {
  let nowMs = 1_000;
  const store = createMemoryRetentionStore({ clock: { nowMs: () => ++nowMs } });
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
    age: async (ms) => {
      nowMs += ms;
    },
    rows: async () => {
      const { active, archived, votes, archivedVotes } = store;
      return { active, archived, votes, archivedVotes };
    },
    close: async () => {},
  };
});
